package pgwire

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"holdfast/internal/fault"
)

// stringAhead reports whether a string literal of any form comes next.
func stringAhead(l *lexer) bool {
	switch c := l.at(0); c {
	case '\'':
		return true
	case '$':
		return class[l.at(1)]&isDigit == 0
	case 'e', 'E', 'b', 'B', 'x', 'X', 'n', 'N':
		return l.at(1) == '\''
	case 'u', 'U':
		return l.at(1) == '&' && l.at(2) == '\''
	}
	return false
}

// literal reads a string literal of any form. The text is a slice of src, or of
// *scratch where it had to be rewritten; bits is set for B” and X”.
func (l *lexer) literal(scratch *[]byte) (text []byte, bits bool, err error) {
	switch l.src[l.pos] {
	case '$':
		text, err = l.dollar()
		return text, false, err
	case '\'':
		text, err = l.plain(scratch)
		return text, false, err
	case 'e', 'E':
		l.pos++
		text, err = l.rewritten(scratch, 'e')
		return text, false, err
	case 'u', 'U':
		l.pos += 2
		text, err = l.rewritten(scratch, 'u')
		return text, false, err
	case 'n', 'N':
		l.pos++
		text, err = l.plain(scratch)
		return text, false, err
	}
	hex := l.src[l.pos]|0x20 == 'x'
	at := l.pos
	l.pos++
	raw, err := l.plain(scratch)
	if err != nil {
		return nil, false, err
	}
	mark := len(*scratch)
	for _, c := range raw {
		d := hexDigit(c)
		if d < 0 || (!hex && d > 1) {
			return nil, false, place(fault.New(fault.SyntaxError, "%q is not a valid bit string digit", string(rune(c))), l.src, at)
		}
		if !hex {
			*scratch = append(*scratch, c)
			continue
		}
		*scratch = append(*scratch, '0'+byte(d>>3&1), '0'+byte(d>>2&1), '0'+byte(d>>1&1), '0'+byte(d&1))
	}
	return (*scratch)[mark:len(*scratch):len(*scratch)], true, nil
}

// plain reads '...', in which only the quote itself is doubled. Backslashes
// are data, because standard_conforming_strings is always on.
func (l *lexer) plain(scratch *[]byte) ([]byte, error) {
	start := l.pos + 1
	n := bytes.IndexByte(l.src[start:], '\'')
	if n >= 0 {
		end := start + n
		l.pos = end + 1
		if c := l.at(0); c != '\'' && (class[c]&isSpace == 0 && c != '-' || !l.continued()) {
			return l.src[start:end], nil
		}
	}
	l.pos = start - 1
	return l.rewritten(scratch, 0)
}

// continued reports whether the literal goes on in another one: PostgreSQL
// joins two literals with a newline between them. It moves to the second one,
// or not at all.
func (l *lexer) continued() bool {
	at, newline := l.pos, false
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		switch {
		case c == '\n' || c == '\r':
			newline = true
			l.pos++
		case class[c]&isSpace != 0:
			l.pos++
		case c == '-' && l.at(1) == '-':
			if n := bytes.IndexAny(l.src[l.pos:], "\n\r"); n >= 0 {
				l.pos += n
			} else {
				l.pos = len(l.src)
			}
		case newline && c == '\'':
			return true
		default:
			l.pos = at
			return false
		}
	}
	l.pos = at
	return false
}

// rewritten reads a literal piece by piece into scratch: form 'e' with C's
// escapes, 'u' with Unicode escapes, 0 with none.
func (l *lexer) rewritten(scratch *[]byte, form byte) ([]byte, error) {
	at, mark, mask, behind := l.pos, len(*scratch), byte('\\'), 0
	if form == 'u' {
		var err error
		if mask, behind, err = l.uescape(); err != nil {
			return nil, err
		}
		l.pos = at
	}
	for {
		piece := l.pos
		err := l.closing(form == 'e', at)
		if err != nil {
			return nil, err
		}
		raw := l.src[piece+1 : l.pos-1]
		switch form {
		case 'e':
			*scratch, err = l.unescape(*scratch, raw, piece+1)
		case 'u':
			*scratch, err = l.unescapeUnicode(*scratch, raw, mask, piece+1)
		default:
			*scratch = undouble(*scratch, raw)
		}
		if err != nil {
			return nil, err
		}
		if !l.continued() {
			break
		}
	}
	l.pos = max(l.pos, behind)
	text := (*scratch)[mark:len(*scratch):len(*scratch)]
	if form != 0 {
		if err := checkText(text); err != nil {
			return nil, place(err, l.src, at)
		}
	}
	return text, nil
}

// uescape looks behind the literal that comes next for UESCAPE, and returns the
// character that escapes, and where UESCAPE ends.
func (l *lexer) uescape() (mask byte, behind int, err error) {
	at := l.pos
	for more := true; more; more = l.continued() {
		if err := l.closing(false, at); err != nil {
			return 0, 0, err
		}
	}
	if !l.keyword("uescape") {
		return '\\', 0, nil
	}
	l.space()
	if b := l.at(1); l.at(0) != '\'' || l.at(2) != '\'' || l.at(3) == '\'' || hexDigit(b) >= 0 || class[b]&isSpace != 0 || b == '+' || b == '"' || b == '\'' || b >= utf8.RuneSelf {
		return 0, 0, place(fault.New(fault.SyntaxError, "invalid Unicode escape character").
			WithHint("write one character in single quotes: no hexadecimal digit, plus sign, quote or blank"), l.src, l.pos)
	}
	mask = l.at(1)
	l.pos += 3
	behind = l.pos
	if l.continued() {
		return 0, 0, l.syntax()
	}
	return mask, behind, nil
}

// closing moves behind the quote that ends the piece which starts at pos.
func (l *lexer) closing(escapes bool, at int) error {
	for i := l.pos + 1; i < len(l.src); i++ {
		switch {
		case l.src[i] == '\\' && escapes:
			i++
		case l.src[i] != '\'':
		case i+1 < len(l.src) && l.src[i+1] == '\'':
			i++
		default:
			l.pos = i + 1
			return nil
		}
	}
	return place(fault.New(fault.SyntaxError, "unterminated quoted string"), l.src, at)
}

func undouble(dst, raw []byte) []byte {
	for {
		n := bytes.IndexByte(raw, '\'')
		if n < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:n+1]...)
		raw = raw[n+2:]
	}
}

// unicodeSize is the number of digits behind \u and \U.
var unicodeSize = map[byte]int{'u': 4, 'U': 8}

// unescape decodes E”. A backslash before a quote escapes it, so the piece may
// contain a single quote.
func (l *lexer) unescape(dst, raw []byte, at int) ([]byte, error) {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '\'' {
			i++ // closing made sure that it is doubled
		}
		if c != '\\' {
			dst = append(dst, c)
			continue
		}
		i++
		if i >= len(raw) {
			return dst, place(fault.New(fault.SyntaxError, "invalid escape at the end of a string"), l.src, at)
		}
		switch c = raw[i]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case '0', '1', '2', '3', '4', '5', '6', '7':
			v, n := digits(raw[i:], 3, 8)
			dst = append(dst, byte(v))
			i += n - 1
		case 'x':
			v, n := digits(raw[i+1:], 2, 16)
			if n == 0 {
				dst = append(dst, c)
				continue
			}
			dst = append(dst, byte(v))
			i += n
		case 'u', 'U':
			r, n, ok := escapedRune(raw[i+1:], unicodeSize[c], raw[i-1:i+1])
			if !ok {
				return dst, place(fault.New(fault.SyntaxError, "invalid Unicode escape").
					WithHint(`Unicode escapes are \uXXXX or \UXXXXXXXX, surrogates in pairs, and never zero`), l.src, at+i)
			}
			dst = utf8.AppendRune(dst, r)
			i += n
		case 'v':
			return dst, place(fault.New(fault.FeatureNotSupported, `the escape \v is not taken`).
				WithHint(`it means "v" up to PostgreSQL 15, and a vertical tab from 16 on: write "v", or \x0b`), l.src, at+i)
		default:
			dst = append(dst, c)
		}
	}
	return dst, nil
}

// unescapeUnicode decodes U&”: \XXXX and \+XXXXXX, or with mask for the
// backslash.
func (l *lexer) unescapeUnicode(dst, raw []byte, mask byte, at int) ([]byte, error) {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '\'' {
			i++
		}
		if c != mask {
			dst = append(dst, c)
			continue
		}
		if i+1 < len(raw) && raw[i+1] == mask {
			dst = append(dst, mask)
			i++
			continue
		}
		prefix, size := raw[i:i+1], 4
		if i+1 < len(raw) && raw[i+1] == '+' {
			prefix, size = raw[i:i+2], 6
		}
		r, n, ok := escapedRune(raw[i+len(prefix):], size, raw[i:i+1])
		if !ok {
			return dst, place(fault.New(fault.SyntaxError, "invalid Unicode escape").
				WithHint(`Unicode escapes are \XXXX or \+XXXXXX, surrogates in pairs, and never zero`), l.src, at+i)
		}
		dst = utf8.AppendRune(dst, r)
		i += len(prefix) + n - 1
	}
	return dst, nil
}

// escapedRune reads size hexadecimal digits, and, after the first half of a
// surrogate pair, again prefix or a longer form of it and the second half.
func escapedRune(b []byte, size int, prefix []byte) (r rune, n int, ok bool) {
	v, n := digits(b, size, 16)
	if n != size || v == 0 || v > utf8.MaxRune {
		return 0, 0, false
	}
	r = rune(v)
	if !utf16.IsSurrogate(r) {
		return r, n, true
	}
	rest := b[n:]
	if !bytes.HasPrefix(rest, prefix) {
		return 0, 0, false
	}
	low, m := digits(rest[len(prefix):], size, 16)
	if r = utf16.DecodeRune(r, rune(low)); m != size || r == utf8.RuneError {
		return 0, 0, false
	}
	return r, n + len(prefix) + m, true
}

// digits reads at most most digits of base.
func digits(b []byte, most, base int) (v, n int) {
	for n < most && n < len(b) {
		d := hexDigit(b[n])
		if d < 0 || d >= base {
			break
		}
		v = v*base + d
		n++
	}
	return v, n
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// dollar reads $tag$...$tag$.
func (l *lexer) dollar() ([]byte, error) {
	at, end := l.pos, l.pos+1
	for end < len(l.src) && class[l.src[end]]&isIdentPart != 0 && l.src[end] != '$' {
		end++
	}
	if end >= len(l.src) || l.src[end] != '$' {
		return nil, l.syntax()
	}
	tag := l.src[at : end+1]
	n := bytes.Index(l.src[end+1:], tag)
	if n < 0 {
		return nil, place(fault.New(fault.SyntaxError, "unterminated dollar-quoted string"), l.src, at)
	}
	l.pos = end + 1 + n + len(tag)
	return l.src[end+1 : end+1+n], nil
}

// maxExponent is how many digits an exponent has; PostgreSQL's numeric ends at
// 1e131072.
const maxExponent = 6

// number reads an unsigned number by PostgreSQL 15's strict grammar.
func (l *lexer) number() ([]byte, error) {
	at := l.pos
	count := func() (n int) {
		for class[l.at(0)]&isDigit != 0 {
			l.pos++
			n++
		}
		return n
	}
	whole, part := count(), 0
	if l.at(0) == '.' && l.at(1) != '.' {
		l.pos++
		part = count()
	}
	if whole+part == 0 {
		l.pos = at
		return nil, l.syntax()
	}
	if l.at(0)|0x20 == 'e' {
		l.pos++
		if c := l.at(0); c == '+' || c == '-' {
			l.pos++
		}
		if n := count(); n == 0 {
			return nil, l.junk(at)
		} else if n > maxExponent {
			return nil, place(fault.New(fault.NumberOutOfRange, "value overflows numeric format"), l.src, at)
		}
	}
	if c := l.at(0); class[c]&isIdentPart != 0 || c == '.' {
		return nil, l.junk(at)
	}
	return l.src[at:l.pos], nil
}

func (l *lexer) junk(at int) error {
	return place(fault.New(fault.SyntaxError, "trailing junk after numeric literal"), l.src, at)
}

// checkText returns what makes b no text: a NUL byte, or bytes that are not UTF-8.
func checkText(b []byte) error {
	if bytes.IndexByte(b, 0) >= 0 {
		return fault.New(fault.CharacterNotInRepertoire, `invalid byte sequence for encoding "UTF8": 0x00`).
			WithHint("text cannot hold a NUL byte; use a bytea column")
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
	return fault.New(fault.CharacterNotInRepertoire, `invalid byte sequence for encoding "UTF8": 0x%02x`, b[0]).
		WithHint("text is taken as UTF-8 only; convert it on the client's side")
}
