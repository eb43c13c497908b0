package mywire

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"holdfast/internal/fault"
)

// lexer reads one statement. After every word and sign it stands at the next
// one.
type lexer struct {
	src []byte
	pos int
}

const (
	maxName    = 64 // characters, as in MySQL
	maxColumns = 4096
)

// at returns the byte n behind, 0 where there is none.
func (l *lexer) at(n int) byte {
	if l.pos+n < len(l.src) {
		return l.src[l.pos+n]
	}
	return 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isWord tells whether c can stand in a name without quotes.
func isWord(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == '$' || c >= 0x80
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// space skips white space and comments.
func (l *lexer) space() error {
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		switch {
		case isSpace(c):
			l.pos++
		case c == '#', c == '-' && l.at(1) == '-' && (l.at(2) <= ' '):
			n := bytes.IndexByte(l.src[l.pos:], '\n')
			if n < 0 {
				l.pos = len(l.src)
				return nil
			}
			l.pos += n + 1
		case c == '/' && l.at(1) == '*':
			if l.at(2) == '!' || l.at(2) == 'M' && l.at(3) == '!' {
				return notYet("a comment that is run, /*! */, is not taken within a statement", "leave it out")
			}
			n := bytes.Index(l.src[l.pos+2:], []byte("*/"))
			if n < 0 {
				return l.syntax()
			}
			l.pos += 2 + n + 2
		default:
			return nil
		}
	}
	return nil
}

// syntax is MySQL's error for what is not understood.
func (l *lexer) syntax() error {
	near := l.src[min(l.pos, len(l.src)):]
	if len(near) > 80 {
		near = near[:80]
	}
	return refuse(erParse, "42000", "You have an error in your SQL syntax near '%s' (hint: Holdfast takes INSERT with literals, and the little that clients ask around it)",
		strings.ToValidUTF8(string(near), "?"))
}

// word returns the word that comes next, which it does not skip; nil where
// something else comes.
func (l *lexer) word() []byte {
	if c := l.at(0); isDigit(c) || !isWord(c) {
		return nil
	}
	end := l.pos
	for end < len(l.src) && isWord(l.src[end]) {
		end++
	}
	return l.src[l.pos:end]
}

// fold compares a word with one in lower case.
func fold(w []byte, lower string) bool {
	return len(w) == len(lower) && strings.EqualFold(string(w), lower)
}

// keyword skips the word, if it comes next. What follows it must be readable:
// an error of white space comes again with the next thing that is read.
func (l *lexer) keyword(lower string) bool {
	w := l.word()
	if !fold(w, lower) {
		return false
	}
	l.pos += len(w)
	l.skip()
	return true
}

// skip is space, whose error is found again by whatever is read next, because
// no statement has a slash there.
func (l *lexer) skip() { _ = l.space() }

// keywords skips all words, or none.
func (l *lexer) keywords(words ...string) bool {
	at := l.pos
	for _, w := range words {
		if !l.keyword(w) {
			l.pos = at
			return false
		}
	}
	return true
}

// punct skips a sign, if it comes next.
func (l *lexer) punct(c byte) bool {
	if l.pos >= len(l.src) || l.src[l.pos] != c {
		return false
	}
	l.pos++
	l.skip()
	return true
}

// end holds that nothing but one semicolon comes.
func (l *lexer) end() error {
	again := l.punct(';')
	if err := l.space(); err != nil {
		return err
	}
	if l.pos < len(l.src) {
		if again {
			return notYet("more than one statement in one query is not taken", "send them one by one")
		}
		return l.syntax()
	}
	return nil
}

// name reads a name, with or without quotes.
func (l *lexer) name() (string, error) {
	var n string
	if l.at(0) == '`' {
		at := l.pos
		var b []byte
		for l.pos++; ; l.pos++ {
			if l.pos >= len(l.src) {
				l.pos = at
				return "", l.syntax()
			}
			if l.src[l.pos] == '`' {
				if l.at(1) != '`' {
					break
				}
				l.pos++
			}
			b = append(b, l.src[l.pos])
		}
		l.pos++
		n = string(b)
	} else {
		end := l.pos
		for end < len(l.src) && isWord(l.src[end]) {
			end++
		}
		n = string(l.src[l.pos:end])
		if n == "" || strings.Trim(n, "0123456789") == "" {
			return "", l.syntax()
		}
		l.pos = end
	}
	switch {
	case n == "" || strings.IndexByte(n, 0) >= 0 || !utf8.ValidString(n) || strings.HasSuffix(n, " "):
		return "", fault.New(fault.InvalidName, "incorrect name %q", n)
	case utf8.RuneCountInString(n) > maxName:
		return "", fault.New(fault.NameTooLong, "identifier name '%s' is too long", n).WithHint("at most %d characters", maxName)
	}
	return n, l.space()
}
