package httpapi

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"holdfast/internal/fault"
	"holdfast/row"
)

// kindOf says what a JSON value was, for the column's type.
type kindOf uint8

const (
	isNull kindOf = iota
	isNumber
	isOther
)

// field is one member of an object.
type field struct {
	name  []byte
	value row.Value
	kind  kindOf
}

// objectParser reads one JSON object into fields. Numbers keep the text that
// they were sent with, and objects and arrays within become compact JSON, which
// is why encoding/json is not used: it does neither, hides duplicate keys, and
// replaces invalid UTF-8 without a word.
type objectParser struct {
	text   []byte
	at     int
	fields []field
	arena  []byte // unescaped names and texts; fields point into it or into text
}

// parse reads text, which must be one object and nothing else; whether its keys
// are distinct is not looked at here. The fields are valid until the next call, as long as text is unchanged.
func (p *objectParser) parse(text []byte) ([]field, error) {
	p.text, p.at, p.fields, p.arena = text, 0, p.fields[:0], p.arena[:0]
	if err := clean(text); err != nil {
		return nil, err
	}
	p.space()
	if !p.take('{') {
		return nil, p.wrong("a row is an object, like {\"column\": \"value\"}")
	}
	p.space()
	if !p.take('}') {
		if err := p.members(); err != nil {
			return nil, err
		}
	}
	p.space()
	if p.at < len(p.text) {
		return nil, p.wrong("after the object nothing more may come on the line")
	}
	return p.fields, nil
}

// clean refuses what no SQL text can hold.
func clean(text []byte) error {
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return fault.New(fault.CharacterNotInRepertoire, "byte %d is NUL, which no text can hold", i+1)
	}
	if !utf8.Valid(text) {
		i := 0
		for i < len(text) {
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			i += n
		}
		return fault.New(fault.CharacterNotInRepertoire, "byte %d (0x%02x) is not UTF-8", i+1, text[i]).
			WithHint("convert the text to UTF-8")
	}
	return nil
}

func (p *objectParser) members() error {
	for {
		if len(p.fields) == maxColumns {
			return fault.New(fault.TooManyColumns, "a row has more than %d columns", maxColumns)
		}
		p.space()
		name, err := p.str()
		if err != nil {
			return err
		}
		p.space()
		if !p.take(':') {
			return p.wrong("a colon stands between a key and its value")
		}
		p.space()
		value, kind, err := p.value()
		if err != nil {
			return err
		}
		p.fields = append(p.fields, field{name, value, kind})
		p.space()
		if p.take('}') {
			return nil
		}
		if !p.take(',') {
			return p.wrong("a comma stands between members, and a brace at the end")
		}
	}
}

// distinct refuses an object that names a key twice: which value was meant is
// not for us to choose.
func distinct(fields []field) error {
	seen := make(map[string]struct{}, len(fields))
	for _, f := range fields {
		if _, twice := seen[string(f.name)]; twice {
			return fault.New(fault.DuplicateColumn, "key %q stands twice in the object", f.name)
		}
		seen[string(f.name)] = struct{}{}
	}
	return nil
}

// value reads a member's value as a column holds it.
func (p *objectParser) value() (row.Value, kindOf, error) {
	if p.at == len(p.text) {
		return row.Value{}, 0, p.wrong("the object does not end")
	}
	start := p.at
	switch c := p.text[p.at]; {
	case c == '"':
		text, err := p.str()
		return row.Value{Text: text}, isOther, err
	case c == '{' || c == '[':
		mark := len(p.arena)
		if err := p.nested(1); err != nil {
			return row.Value{}, 0, err
		}
		return row.Value{Text: p.arena[mark:len(p.arena):len(p.arena)]}, isOther, nil
	case c == '-' || c >= '0' && c <= '9':
		err := p.number()
		return row.Value{Text: p.text[start:p.at]}, isNumber, err
	}
	word, err := p.word()
	if word == "null" {
		return row.Null, isNull, err
	}
	return row.Value{Text: p.text[start:p.at]}, isOther, err
}

func (p *objectParser) word() (string, error) {
	for _, w := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(p.text[p.at:], []byte(w)) {
			p.at += len(w)
			return w, nil
		}
	}
	return "", p.wrong("a value is a string, a number, true, false, null, an object or an array")
}

// number checks JSON's grammar and leaves the text as it is.
func (p *objectParser) number() error {
	p.take('-')
	if !p.take('0') && !p.digits() {
		return p.wrong("a number has digits")
	}
	if p.take('.') && !p.digits() {
		return p.wrong("digits follow a decimal point")
	}
	if p.take('e') || p.take('E') {
		if !p.take('+') {
			p.take('-')
		}
		if !p.digits() {
			return p.wrong("digits follow an exponent")
		}
	}
	if p.at < len(p.text) && (p.text[p.at] >= '0' && p.text[p.at] <= '9' || p.text[p.at] == '.') {
		return p.wrong("a number does not begin with 0, unless it is 0 or has a point; write it as a string to keep its zeros")
	}
	return nil
}

func (p *objectParser) digits() bool {
	start := p.at
	for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at > start
}

// nested appends the object or array at p.at to the arena, without the space
// around its parts.
func (p *objectParser) nested(depth int) error {
	if depth > maxDepth {
		return fault.New(fault.InvalidTextRepr, "the value nests deeper than %d", maxDepth)
	}
	object := p.text[p.at] == '{'
	closing := byte(']')
	if object {
		closing = '}'
	}
	p.arena = append(p.arena, p.text[p.at])
	p.at++
	for first := true; ; first = false {
		p.space()
		if first && p.take(closing) {
			break
		}
		if err := p.element(object, depth); err != nil {
			return err
		}
		p.space()
		if p.take(closing) {
			break
		}
		if !p.take(',') {
			return p.wrong("a comma stands between the parts of an object or array")
		}
		p.arena = append(p.arena, ',')
	}
	p.arena = append(p.arena, closing)
	return nil
}

func (p *objectParser) element(object bool, depth int) error {
	if object {
		if err := p.raw(); err != nil {
			return err
		}
		p.space()
		if !p.take(':') {
			return p.wrong("a colon stands between a key and its value")
		}
		p.arena = append(p.arena, ':')
		p.space()
	}
	if p.at == len(p.text) {
		return p.wrong("the value does not end")
	}
	start := p.at
	var err error
	switch c := p.text[p.at]; {
	case c == '"':
		return p.raw()
	case c == '{' || c == '[':
		return p.nested(depth + 1)
	case c == '-' || c >= '0' && c <= '9':
		err = p.number()
	default:
		_, err = p.word()
	}
	p.arena = append(p.arena, p.text[start:p.at]...)
	return err
}

// raw appends the string at p.at to the arena as it was sent.
func (p *objectParser) raw() error {
	start, mark := p.at, len(p.arena)
	if _, err := p.str(); err != nil {
		return err
	}
	p.arena = append(p.arena[:mark], p.text[start:p.at]...)
	return nil
}

// str reads the string at p.at. Without escapes it is a part of the text,
// otherwise of the arena.
func (p *objectParser) str() ([]byte, error) {
	if !p.take('"') {
		return nil, p.wrong("a key is a string in double quotes")
	}
	start := p.at
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return p.text[start : p.at-1], nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return nil, p.wrong("control characters in a string are written as escapes")
		}
	}
	return nil, p.wrong("the string does not end")
}

// escaped goes on with a string that began at start and has an escape at p.at.
func (p *objectParser) escaped(start int) ([]byte, error) {
	mark := len(p.arena)
	p.arena = append(p.arena, p.text[start:p.at]...)
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch {
		case c == '"':
			p.at++
			return p.arena[mark:len(p.arena):len(p.arena)], nil
		case c == '\\':
			if err := p.escape(); err != nil {
				return nil, err
			}
			continue
		case c < ' ':
			return nil, p.wrong("control characters in a string are written as escapes")
		}
		p.arena = append(p.arena, c)
		p.at++
	}
	return nil, p.wrong("the string does not end")
}

const escapes = `"\/bfnrt`
const escaped = "\"\\/\b\f\n\r\t"

func (p *objectParser) escape() error {
	p.at++
	if p.at == len(p.text) {
		return p.wrong("the string does not end")
	}
	c := p.text[p.at]
	if i := bytes.IndexByte([]byte(escapes), c); i >= 0 {
		p.arena = append(p.arena, escaped[i])
		p.at++
		return nil
	}
	if c != 'u' {
		return p.wrong("the escape is not one of JSON's")
	}
	r, ok := p.unit()
	if !ok {
		return p.wrong("four hexadecimal digits follow \\u")
	}
	if utf16.IsSurrogate(r) {
		var low rune
		if bytes.HasPrefix(p.text[p.at:], []byte(`\u`)) {
			p.at++
			low, _ = p.unit()
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return fault.New(fault.CharacterNotInRepertoire, "an escape before byte %d is half of a surrogate pair", p.at+1)
		}
	}
	if r == 0 {
		return fault.New(fault.CharacterNotInRepertoire, "the escape \\u0000 is NUL, which no text can hold")
	}
	p.arena = utf8.AppendRune(p.arena, r)
	return nil
}

// unit reads uXXXX at p.at.
func (p *objectParser) unit() (rune, bool) {
	if p.at+5 > len(p.text) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(p.text[p.at+1:p.at+5]), 16, 16)
	p.at += 5
	return rune(n), err == nil
}

func (p *objectParser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return
		}
	}
}

func (p *objectParser) take(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *objectParser) wrong(hint string) error {
	found := "the end"
	if p.at < len(p.text) {
		r, _ := utf8.DecodeRune(p.text[p.at:])
		found = strconv.QuoteRune(r)
	}
	return fault.New(fault.InvalidTextRepr, "the JSON is broken at byte %d, at %s", p.at+1, found).WithHint("%s", hint)
}
