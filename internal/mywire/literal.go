package mywire

import (
	"bytes"
	"unicode/utf8"

	"holdfast/internal/fault"
)

// quoted reads a string in either quotes, and those that follow it, which MySQL
// joins. The text is a slice of src, or of *scratch where it had to be
// rewritten.
func (l *lexer) quoted(scratch *[]byte) ([]byte, error) {
	text, err := l.oneQuoted(scratch)
	if err != nil {
		return nil, err
	}
	if err := l.space(); err != nil {
		return nil, err
	}
	mark, joined := len(*scratch), false
	for l.at(0) == '\'' || l.at(0) == '"' {
		if !joined {
			joined, *scratch = true, append(*scratch, text...)
		}
		before := len(*scratch)
		more, err := l.oneQuoted(scratch)
		if err != nil {
			return nil, err
		}
		if len(*scratch) == before { // else it was rewritten, to this very place
			*scratch = append(*scratch, more...)
		}
		if err := l.space(); err != nil {
			return nil, err
		}
	}
	if joined {
		text = (*scratch)[mark:len(*scratch):len(*scratch)]
	}
	return text, nil
}

func (l *lexer) oneQuoted(scratch *[]byte) ([]byte, error) {
	at, quote := l.pos, l.src[l.pos]
	start := at + 1
	for i := start; i < len(l.src); i++ {
		switch c := l.src[i]; {
		case c == '\\', c == quote && i+1 < len(l.src) && l.src[i+1] == quote:
			return l.rewritten(scratch, start, i)
		case c == quote:
			l.pos = i + 1
			return l.src[start:i:i], nil
		}
	}
	l.pos = at
	return nil, l.syntax()
}

// rewritten decodes a string whose first escape stands at i.
func (l *lexer) rewritten(scratch *[]byte, start, i int) ([]byte, error) {
	quote, mark := l.src[start-1], len(*scratch)
	dst := append(*scratch, l.src[start:i]...)
	for ; i < len(l.src); i++ {
		c := l.src[i]
		switch {
		case c == quote && i+1 < len(l.src) && l.src[i+1] == quote:
			i++
			dst = append(dst, quote)
		case c == quote:
			l.pos, *scratch = i+1, dst
			return dst[mark:len(dst):len(dst)], nil
		case c == '\\' && i+1 < len(l.src):
			i++
			dst = unescape(dst, l.src[i])
		default:
			dst = append(dst, c)
		}
	}
	l.pos, *scratch = start-1, dst[:mark]
	return nil, l.syntax()
}

// unescape appends what a backslash and c mean.
func unescape(dst []byte, c byte) []byte {
	switch c {
	case '0':
		return append(dst, 0)
	case 'b':
		return append(dst, '\b')
	case 'n':
		return append(dst, '\n')
	case 'r':
		return append(dst, '\r')
	case 't':
		return append(dst, '\t')
	case 'Z':
		return append(dst, 0x1a)
	case '%', '_': // for LIKE, which everything else takes as it stands
		return append(dst, '\\', c)
	}
	return append(dst, c)
}

// hex reads 0x41 and X'41', whose bytes they are.
func (l *lexer) hex(scratch *[]byte) ([]byte, error) {
	at := l.pos
	quoted := l.at(1) == '\''
	start := at + 2
	end := start
	for end < len(l.src) && hexDigit(l.src[end]) >= 0 {
		end++
	}
	digits := l.src[start:end]
	if quoted {
		if end >= len(l.src) || l.src[end] != '\'' || len(digits)%2 != 0 {
			return nil, l.syntax()
		}
		end++
	} else if len(digits) == 0 || end < len(l.src) && isWord(l.src[end]) {
		return nil, l.syntax()
	}
	mark := len(*scratch)
	half := len(digits) % 2 // 0xabc is 0x0abc
	for i := -half; i < len(digits); i += 2 {
		var high int
		if i >= 0 {
			high = hexDigit(digits[i])
		}
		*scratch = append(*scratch, byte(high<<4|hexDigit(digits[i+1])))
	}
	l.pos = end
	return (*scratch)[mark:len(*scratch):len(*scratch)], l.space()
}

func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// maxExponent is how many digits an exponent may have.
const maxExponent = 3

// number reads a number with its sign: 1, 1.5, .5, 1., 1e3.
func (l *lexer) number() ([]byte, error) {
	at := l.pos
	if c := l.at(0); c == '-' || c == '+' {
		l.pos++
	}
	count := func() (n int) {
		for isDigit(l.at(0)) {
			l.pos++
			n++
		}
		return n
	}
	n := count()
	if l.at(0) == '.' {
		l.pos++
		n += count()
	}
	if n > 0 && l.at(0)|0x20 == 'e' {
		l.pos++
		if c := l.at(0); c == '-' || c == '+' {
			l.pos++
		}
		if e := count(); e == 0 || e > maxExponent {
			n = 0
		}
	}
	if c := l.at(0); n == 0 || isWord(c) || c == '.' {
		l.pos = at
		return nil, l.syntax()
	}
	text := l.src[at:l.pos:l.pos]
	return bytes.TrimPrefix(text, []byte("+")), l.space()
}

// checkText returns what makes b no text: a NUL byte, or bytes that are not
// UTF-8.
func checkText(b []byte, column string) error {
	if bytes.IndexByte(b, 0) >= 0 {
		return fault.New(fault.CharacterNotInRepertoire, "incorrect string value: '\\x00' for column '%s'", column).
			WithHint("text cannot hold a NUL byte here; use a bytea (BLOB) column")
	}
	if utf8.Valid(b) {
		return nil
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			break
		}
		b = b[n:]
	}
	return fault.New(fault.CharacterNotInRepertoire, "incorrect string value: '\\x%02X' for column '%s'", b[0], column).
		WithHint("text is taken as UTF-8 only: connect with utf8mb4 and convert in the client")
}
