package typing

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"holdfast/internal/fault"
)

// booleans are the words of which a beginning will do, with the shortest one
// that is no other's too.
var booleans = []struct {
	word  string
	least int
}{{"true", 1}, {"false", 1}, {"yes", 1}, {"no", 1}, {"on", 2}, {"off", 2}}

func (j *Judge) boolean(text []byte) *fault.Error {
	t := trim(text)
	if len(t) == 1 && (t[0] == '0' || t[0] == '1') {
		return nil
	}
	for _, b := range booleans {
		if len(t) >= b.least && len(t) <= len(b.word) && equalFold(t, b.word[:len(t)]) {
			return nil
		}
	}
	return j.syntax(text)
}

// characters counts characters, not bytes. Blanks beyond the length are cut by
// PostgreSQL, so they do not count.
func (j *Judge) characters(text []byte) *fault.Error {
	if len(text) <= j.length || utf8.RuneCount(text) <= j.length {
		return nil
	}
	if t := bytes.TrimRight(text, " "); len(t) <= j.length || utf8.RuneCount(t) <= j.length {
		return nil
	}
	return fault.New(fault.StringTooLong, "value too long for type %s", j.name)
}

// uuid takes 32 hexadecimal digits, a hyphen after any four of them but the
// last, and braces around the whole.
func (j *Judge) uuid(text []byte) *fault.Error {
	t := text
	if len(t) > 0 && t[0] == '{' {
		if t[len(t)-1] != '}' || len(t) < 2 {
			return j.syntax(text)
		}
		t = t[1 : len(t)-1]
	}
	digits := 0
	for i, c := range t {
		switch {
		case isHex(c):
			digits++
		case c == '-' && digits > 0 && digits < 32 && digits%4 == 0 && t[i-1] != '-':
		default:
			return j.syntax(text)
		}
	}
	if digits != 32 {
		return j.syntax(text)
	}
	return nil
}

// bytea takes \x with pairs of hexadecimal digits, or text in which each
// backslash is doubled or followed by three octal digits.
func (j *Judge) bytea(text []byte) *fault.Error {
	t, isHexForm := bytes.CutPrefix(text, []byte(`\x`))
	if !isHexForm {
		return j.escaped(text)
	}
	for i := 0; i < len(t); i++ {
		if c := t[i]; c == ' ' || c == '\n' || c == '\t' || c == '\r' {
			continue
		}
		if !isHex(t[i]) {
			return notHex(t[i:])
		}
		if i++; i == len(t) {
			return fault.New(fault.InvalidParameterValue, "invalid hexadecimal data: odd number of digits")
		}
		if !isHex(t[i]) {
			return notHex(t[i:])
		}
	}
	return nil
}

func notHex(t []byte) *fault.Error {
	_, n := utf8.DecodeRune(t)
	return fault.New(fault.InvalidParameterValue, `invalid hexadecimal digit: "%s"`, t[:n])
}

func (j *Judge) escaped(t []byte) *fault.Error {
	for i := bytes.IndexByte(t, '\\'); i >= 0; i = bytes.IndexByte(t, '\\') {
		t = t[i+1:]
		switch {
		case len(t) > 0 && t[0] == '\\':
			t = t[1:]
		case len(t) > 2 && t[0]-'0' < 4 && t[1]-'0' < 8 && t[2]-'0' < 8:
			t = t[3:]
		default:
			return fault.New(fault.InvalidTextRepr, "invalid input syntax for type bytea")
		}
	}
	return nil
}

// surelyFlat is how deep a text may nest for encoding/json to tell; what is
// deeper is left to the sink.
const surelyFlat = 9_000

func (j *Judge) json(text []byte) *fault.Error {
	if j.kind == jsonb && bytes.Contains(text, []byte(`\u`)) {
		return nil // escapes that jsonb cannot hold have another SQLSTATE, and the first mistake decides
	}
	if json.Valid(text) || bytes.Count(text, []byte{'['})+bytes.Count(text, []byte{'{'}) > surelyFlat {
		return nil
	}
	f := fault.New(fault.InvalidTextRepr, "invalid input syntax for type json")
	if len(trim(text)) == 0 {
		f = f.WithDetail("The input string ended unexpectedly.")
	}
	return f
}

// address refuses only what holds a character that no address has: the forms
// that are taken differ, and the sink knows them.
func (j *Judge) address(text []byte) *fault.Error {
	for _, c := range text {
		if !isHex(c) && c != '.' && c != ':' && c != '/' && c|0x20 != 'x' {
			return j.syntax(text)
		}
	}
	if len(text) == 0 {
		return j.syntax(text)
	}
	return nil
}

// bitString takes binary digits, with a b in front or not, or hexadecimal ones
// behind an x.
func (j *Judge) bitString(text []byte) *fault.Error {
	t, each, what := text, 1, "binary"
	if len(t) > 0 {
		switch t[0] | 0x20 {
		case 'b':
			t = t[1:]
		case 'x':
			t, each, what = t[1:], 4, "hexadecimal"
		}
	}
	for i, c := range t {
		if each == 1 && c != '0' && c != '1' || !isHex(c) {
			_, n := utf8.DecodeRune(t[i:])
			return fault.New(fault.InvalidTextRepr, `"%s" is not a valid %s digit`, t[i:i+n], what)
		}
	}
	switch n := len(t) * each; {
	case j.kind == bit && n != j.length:
		return fault.New(fault.BitLengthMismatch, "bit string length %d does not match type %s", n, j.name)
	case j.kind == varbit && j.length > 0 && n > j.length:
		return fault.New(fault.StringTooLong, "bit string too long for type %s", j.name)
	}
	return nil
}
