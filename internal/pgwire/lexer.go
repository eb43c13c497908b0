package pgwire

import (
	"bytes"
	"unicode/utf8"

	"holdfast/internal/fault"
)

// lexer reads one query string from left to right. What it returns are slices
// of src wherever the text needs no rewriting.
type lexer struct {
	src     []byte
	pos     int
	unended int // 1 + the offset of a comment without an end; 0: none
}

const (
	isSpace = 1 << iota
	isIdentStart
	isIdentPart
	isDigit
	isOperator
)

var class = func() (t [256]byte) {
	for _, c := range []byte(" \t\n\r\f\v") {
		t[c] |= isSpace
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= isIdentStart | isIdentPart
		t[c-'a'+'A'] |= isIdentStart | isIdentPart
	}
	for c := '0'; c <= '9'; c++ {
		t[c] |= isDigit | isIdentPart
	}
	for c := 0x80; c <= 0xff; c++ {
		t[c] |= isIdentStart | isIdentPart
	}
	t['_'] |= isIdentStart | isIdentPart
	t['$'] |= isIdentPart
	for _, c := range []byte("+-*/<>=~!@#%^&|`?[:") {
		t[c] |= isOperator
	}
	return t
}()

// space moves over blanks and comments. Comments nest, as in PostgreSQL.
func (l *lexer) space() {
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		switch {
		case class[c]&isSpace != 0:
			l.pos++
		case c == '-' && l.at(1) == '-':
			n := bytes.IndexAny(l.src[l.pos:], "\n\r")
			if n < 0 {
				l.pos = len(l.src)
				return
			}
			l.pos += n + 1
		case c == '/' && l.at(1) == '*':
			l.comment()
		default:
			return
		}
	}
}

func (l *lexer) comment() {
	start, depth := l.pos, 0
	for l.pos < len(l.src) {
		switch {
		case l.src[l.pos] == '/' && l.at(1) == '*':
			depth++
			l.pos += 2
		case l.src[l.pos] == '*' && l.at(1) == '/':
			depth--
			l.pos += 2
			if depth == 0 {
				return
			}
		default:
			l.pos++
		}
	}
	l.unended = start + 1
}

// at returns the byte n places ahead, 0 behind the end.
func (l *lexer) at(n int) byte {
	if l.pos+n < len(l.src) {
		return l.src[l.pos+n]
	}
	return 0
}

// word returns the unquoted word that comes next, nil where none does, and
// leaves it in place.
func (l *lexer) word() []byte {
	l.space()
	if l.pos >= len(l.src) || class[l.src[l.pos]]&isIdentStart == 0 {
		return nil
	}
	end := l.pos + 1
	for end < len(l.src) && class[l.src[end]]&isIdentPart != 0 {
		end++
	}
	return l.src[l.pos:end]
}

// keyword takes the word kw, which is lower-case, if it comes next.
func (l *lexer) keyword(kw string) bool {
	if w := l.word(); fold(w, kw) {
		l.pos += len(w)
		return true
	}
	return false
}

// keywords takes all of kws, or nothing.
func (l *lexer) keywords(kws ...string) bool {
	at := l.pos
	for _, kw := range kws {
		if !l.keyword(kw) {
			l.pos = at
			return false
		}
	}
	return true
}

// punct takes the byte c if it comes next.
func (l *lexer) punct(c byte) bool {
	l.space()
	if l.pos < len(l.src) && l.src[l.pos] == c {
		l.pos++
		return true
	}
	return false
}

// end reports whether the statement ends here, and takes its semicolon.
func (l *lexer) end() bool {
	return l.punct(';') || (l.pos >= len(l.src) && l.unended == 0)
}

// want takes c or returns a syntax error.
func (l *lexer) want(c byte) error {
	if !l.punct(c) {
		return l.syntax()
	}
	return nil
}

// wantEnd takes the end of the statement or returns a syntax error.
func (l *lexer) wantEnd() error {
	if !l.end() {
		return l.syntax()
	}
	return nil
}

// fold reports whether w is kw in any case of ASCII letters.
func fold(w []byte, kw string) bool {
	if len(w) != len(kw) {
		return false
	}
	for i := range w {
		c := w[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != kw[i] {
			return false
		}
	}
	return true
}

// lower folds ASCII letters, as PostgreSQL does in an UTF-8 database.
func lower(w []byte) string {
	b := make([]byte, len(w))
	for i, c := range w {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b[i] = c
	}
	return string(b)
}

// maxName is PostgreSQL's NAMEDATALEN - 1. PostgreSQL truncates longer names;
// here that could make two columns one, so they are refused.
const maxName = 63

// name reads an identifier: unquoted and folded, or quoted.
func (l *lexer) name() (string, error) {
	if w := l.word(); w != nil {
		if fold(w, "u") && l.at(1) == '&' && l.at(2) == '"' {
			return "", l.refuse("identifiers with Unicode escapes are not taken", "write the name in UTF-8")
		}
		n := lower(w)
		if reserved[n] {
			return "", l.syntax()
		}
		at := l.pos
		l.pos += len(w)
		return n, l.checkName(n, at)
	}
	if l.pos >= len(l.src) || l.src[l.pos] != '"' {
		return "", l.syntax()
	}
	at := l.pos
	raw, err := l.quoted('"', "quoted identifier")
	if err != nil {
		return "", err
	}
	if len(raw) == 0 {
		return "", place(fault.New(fault.SyntaxError, "zero-length delimited identifier"), l.src, at)
	}
	n := string(bytes.ReplaceAll(raw, []byte(`""`), []byte(`"`)))
	return n, l.checkName(n, at)
}

func (l *lexer) checkName(n string, at int) error {
	if len(n) > maxName {
		return place(fault.New(fault.NameTooLong, "name %q is too long: %d bytes", n, len(n)).
			WithHint("names have at most %d bytes", maxName), l.src, at)
	}
	return nil
}

// quoted takes what stands between two q, doubled ones left as they are.
func (l *lexer) quoted(q byte, what string) ([]byte, error) {
	at := l.pos
	for i := at + 1; ; i += 2 {
		n := bytes.IndexByte(l.src[i:], q)
		if n < 0 {
			return nil, place(fault.New(fault.SyntaxError, "unterminated %s", what), l.src, at)
		}
		i += n
		if i+1 >= len(l.src) || l.src[i+1] != q {
			l.pos = i + 1
			return l.src[at+1 : i], nil
		}
	}
}

// skip takes one token of any kind; it serves to step over what is not read.
func (l *lexer) skip() error {
	l.space()
	if l.pos >= len(l.src) {
		return l.syntax()
	}
	c := l.src[l.pos]
	switch {
	case c == '"':
		_, err := l.quoted('"', "quoted identifier")
		return err
	case stringAhead(l):
		var scratch []byte
		_, _, err := l.literal(&scratch)
		return err
	case class[c]&isIdentStart != 0:
		l.pos += len(l.word())
	default:
		l.pos++
	}
	return nil
}

// skipParens takes everything up to the parenthesis that closes the next one.
func (l *lexer) skipParens() error {
	for depth := 0; ; {
		l.space()
		switch l.at(0) {
		case '(':
			depth++
		case ')':
			depth--
		}
		if err := l.skip(); err != nil {
			return err
		}
		if depth <= 0 {
			return nil
		}
	}
}

// syntax returns a syntax error at the next token.
func (l *lexer) syntax() error {
	l.space()
	if l.unended > 0 {
		return place(fault.New(fault.SyntaxError, "unterminated /* comment"), l.src, l.unended-1)
	}
	if l.pos >= len(l.src) {
		return place(fault.New(fault.SyntaxError, "syntax error at end of input"), l.src, len(l.src))
	}
	return place(fault.New(fault.SyntaxError, "syntax error at or near %q", l.token()), l.src, l.pos)
}

// refuse returns a refusal of what comes next.
func (l *lexer) refuse(message, hint string) error {
	return place(fault.New(fault.FeatureNotSupported, "%s", message).WithHint("%s", hint), l.src, l.pos)
}

// token returns what comes next, for messages: at most 64 bytes, whole runes.
func (l *lexer) token() string {
	t := l.word()
	if t == nil {
		_, n := utf8.DecodeRune(l.src[l.pos:])
		t = l.src[l.pos : l.pos+n]
	}
	if n := 64; len(t) > n {
		for !utf8.RuneStart(t[n]) { // a rune has at most four bytes
			n--
		}
		t = t[:n]
	}
	return string(t)
}

// reserved are the words that PostgreSQL 15 takes neither as a table's nor as a
// column's name unless they are quoted.
var reserved = func() map[string]bool {
	m := make(map[string]bool)
	for _, w := range bytes.Fields([]byte(`all analyse analyze and any array as asc asymmetric both case cast
		check collate column constraint create current_catalog current_date current_role current_time
		current_timestamp current_user default deferrable desc distinct do else end except false fetch for
		foreign from grant group having in initially intersect into lateral leading limit localtime
		localtimestamp not null offset on only or order placing primary references returning select
		session_user some symmetric table then to trailing true union unique user using variadic when
		where window with
		authorization binary collation concurrently cross current_schema freeze full ilike inner is isnull
		join left like natural notnull outer overlaps right similar tablesample verbose`)) {
		m[string(w)] = true
	}
	return m
}()
