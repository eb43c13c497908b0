package pgwire

import (
	"bytes"
	"strings"

	"holdfast/internal/fault"
	"holdfast/internal/typing"
)

var trueText, falseText = []byte("t"), []byte("f")

// cast applies a cast where it leaves the text as it is; where PostgreSQL would
// compute another value from it, it is refused.
func (p *valueParser) cast(it *item, t sqlType, at int) error {
	k := t.info().kind
	if t.dims > 0 {
		k = kindOther
	}
	ok := t.mod == "" && t.name != "bit" && t.name != "char" && t.name != "character"
	// What has a type already is written anew by a cast to another one.
	again := it.textual() || it.is == t.String()
	switch it.kind {
	case itemNull:
		ok = again
	case itemDefault:
		return place(fault.New(fault.SyntaxError, "DEFAULT cannot be cast"), p.src, at)
	case itemNumber:
		ok = ok && again && (k == kindNumber || k == kindText || k == kindInteger && !bytes.ContainsAny(it.text, ".eE"))
		if k == kindText && ok {
			it.kind = itemText
			it.text, ok = p.printed(it.text)
		}
	case itemBool:
		ok = ok && (k == kindBool || k == kindText)
		if k == kindText { // bool's cast to text spells them out
			it.kind, it.text = itemText, []byte(map[byte]string{'t': "true", 'f': "false"}[it.text[0]])
		}
	case itemParam:
		ok = ok && (it.oid == 0 || it.oid == t.oid())
		it.oid = t.oid()
	case itemClock:
		ok = ok && it.clock.recast(t)
	case itemUUID:
		ok = ok && (t.name == "uuid" || k == kindText && it.is != "bpchar")
	case itemArray:
		ok = ok && t.dims > 0 && typeOf(it.is).oid() == t.oid()
	case itemText:
		ok = ok && again
		if w := wordOf(it.text); ok && k == kindTime && w != 0 {
			it.kind, it.clock = itemClock, reading{word: w, as: t.name}
			ok = it.clock.recast(t)
		} else if ok {
			if err := p.castText(it, t, at); err != nil {
				return err
			}
		}
	}
	if !ok {
		return place(fault.New(fault.FeatureNotSupported, "cast to %q is not evaluated", t.String()).
			WithHint("%s; the sink's column has its own type", evaluateHint), p.src, at)
	}
	it.is = t.String()
	return nil
}

// textual reports whether the value is of a type of text, or of none yet.
func (it *item) textual() bool {
	return it.is == "" || it.is == "text" || it.is == "varchar" || it.is == "name"
}

// castText holds that a text can be of a type, as far as that is sure.
func (p *valueParser) castText(it *item, t sqlType, at int) error {
	if t.name == "bpchar" {
		it.text = bytes.TrimRight(it.text, " ") // they do not count, and are lost on the way to other types
	}
	judge := typing.Compile(t.String())
	if err := judge.Check(it.text); err != nil {
		return place(err, p.src, at)
	}
	return nil
}

// printed returns a number as PostgreSQL prints it, for a cast to text: no
// zeros in front, and a digit on both sides of a point. Exponents are left to
// others.
func (p *valueParser) printed(number []byte) ([]byte, bool) {
	if bytes.ContainsAny(number, "eE") {
		return nil, false
	}
	digits, minus := bytes.CutPrefix(number, []byte("-"))
	whole, part, _ := bytes.Cut(digits, []byte("."))
	whole = bytes.TrimLeft(whole, "0")
	mark := len(p.scratch)
	if minus && (len(whole) > 0 || strings.Trim(string(part), "0") != "") {
		p.scratch = append(p.scratch, '-')
	}
	if len(whole) == 0 {
		p.scratch = append(p.scratch, '0')
	}
	p.scratch = append(p.scratch, whole...)
	if len(part) > 0 {
		p.scratch = append(append(p.scratch, '.'), part...)
	}
	return p.scratch[mark:len(p.scratch):len(p.scratch)], true
}
