package pgwire

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"math"
	"math/big"
	"strconv"

	"holdfast/internal/fault"
)

// call reads one of the functions, besides the clock's, whose value depends on
// nothing but their literals and the moment: it is fixed when the row is taken.
func (p *valueParser) call(it *item, parens int) (bool, error) {
	at, w := p.pos, p.word()
	var read func(*item, int, int) error
	switch {
	case fold(w, "nullif"):
		read = p.nullIf
	case fold(w, "to_timestamp"):
		read = p.toTimestamp
	case fold(w, "gen_random_uuid"):
		read = p.randomUUID
	default:
		return false, nil
	}
	p.pos += len(w)
	if !p.punct('(') {
		p.pos = at
		return false, nil
	}
	if parens == maxParens {
		return true, p.refuse("parentheses are nested too deeply", evaluateHint)
	}
	return true, read(it, parens+1, at)
}

// argument reads one argument and the byte behind it.
func (p *valueParser) argument(it *item, parens int, behind byte) error {
	if err := p.value(it, parens); err != nil {
		return err
	}
	if !p.punct(behind) {
		return p.afterValue()
	}
	return nil
}

func (p *valueParser) randomUUID(it *item, _, _ int) error {
	it.kind = itemUUID
	return p.want(')')
}

// appendUUID writes a random UUID of version 4.
func appendUUID(dst []byte) []byte {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it does not fail, by its contract
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return appendUUIDText(dst, b[:])
}

func appendUUIDText(dst, b []byte) []byte {
	for i, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// The moments that to_timestamp takes: from the year 1 on, because what is
// before is written with BC, to the last one of PostgreSQL.
const (
	firstSecond = -62135596800
	lastSecond  = 9224318016000
)

// toTimestamp reads to_timestamp(number), seconds since 1970.
func (p *valueParser) toTimestamp(it *item, parens, at int) error {
	var arg item
	if err := p.argument(&arg, parens, ')'); err != nil {
		return err
	}
	if k := types[arg.is].kind; arg.kind == itemNull && (arg.is == "" || k == kindNumber || k == kindInteger) {
		it.kind, it.is = itemNull, "timestamptz"
		return nil
	}
	seconds, err := strconv.ParseFloat(string(arg.text), 64)
	if arg.kind != itemNumber || err != nil {
		p.pos = at
		return p.refuse("to_timestamp is evaluated for numbers alone", evaluateHint)
	}
	if seconds < firstSecond || seconds >= lastSecond {
		return place(fault.New(fault.DatetimeOutOfRange, "timestamp out of range: %q", arg.text), p.src, at)
	}
	// As PostgreSQL does it, whose moments count from 2000.
	it.kind, it.clock = itemClock, reading{word: wordGiven, as: "timestamptz", at: int64(math.RoundToEven((seconds-epoch)*1e6)) + epoch*1e6}
	return nil
}

// nullIf reads NULLIF(a, b) of two texts, or of two numbers.
func (p *valueParser) nullIf(it *item, parens, at int) error {
	var a, b item
	if err := p.argument(&a, parens, ','); err != nil {
		return err
	}
	if err := p.argument(&b, parens, ')'); err != nil {
		return err
	}
	same, ok := false, a.textual() && b.textual()
	switch {
	case a.kind == itemNull && (b.kind == itemNull || b.kind == itemText || b.kind == itemNumber), b.kind == itemNull && (a.kind == itemText || a.kind == itemNumber):
	case a.kind == itemText && b.kind == itemText:
		same = bytes.Equal(a.text, b.text)
	case a.kind == itemNumber && b.kind == itemNumber:
		var x, y *big.Rat
		if x, y = smallNumber(a.text), smallNumber(b.text); x != nil && y != nil {
			same = x.Cmp(y) == 0
		} else {
			ok = false
		}
	default:
		ok = false
	}
	if !ok {
		p.pos = at
		return p.refuse("NULLIF is evaluated for two texts, or two numbers, alone", evaluateHint)
	}
	if *it = a; same {
		*it = item{kind: itemNull}
	}
	if it.is = "text"; a.kind == itemNumber || b.kind == itemNumber {
		it.is = "numeric"
	}
	return nil
}

// smallNumber reads a number that costs little to compare; nil: it does not.
func smallNumber(text []byte) *big.Rat {
	if len(text) > 64 || bytes.ContainsAny(text, "eE") {
		return nil
	}
	if r, ok := new(big.Rat).SetString(string(text)); ok {
		return r
	}
	return nil
}
