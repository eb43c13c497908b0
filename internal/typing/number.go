package typing

import (
	"bytes"
	"math"

	"holdfast/internal/fault"
)

// integer follows pg_strtoint32 and its siblings: digits are read up to the
// first that makes the number too large, and only then what follows them.
func (j *Judge) integer(text []byte) *fault.Error {
	t := trim(text)
	negative := len(t) > 0 && t[0] == '-'
	if len(t) > 0 && (t[0] == '-' || t[0] == '+') {
		t = t[1:]
	}
	if len(t) == 0 || !isDigit(t[0]) {
		return j.syntax(text)
	}
	if newer(t) {
		return nil
	}
	n, limit := uint64(0), uint64(1)<<(j.bits-1) // of a negative number; a positive one is compared in the end
	for _, c := range t {
		switch {
		case !isDigit(c):
			return j.syntax(text)
		case n > (limit-uint64(c-'0'))/10:
			return j.tooLarge(text)
		}
		n = 10*n + uint64(c-'0')
	}
	if n == limit && !negative {
		return j.tooLarge(text)
	}
	return nil
}

func (j *Judge) tooLarge(text []byte) *fault.Error {
	return fault.New(fault.NumberOutOfRange, `value "%s" is out of range for type %s`, shown(text), j.name)
}

// newer reports whether t, without its sign, may be a number to PostgreSQL 16
// and later only: 0x1f, 0o17, 0b11 and 1_000.
func newer(t []byte) bool {
	if len(t) > 1 && t[0] == '0' {
		switch t[1] | 0x20 {
		case 'x', 'o', 'b':
			return true
		}
	}
	return bytes.IndexByte(t, '_') >= 0
}

// decimal is a number in decimal notation: 0.d1d2d3... times ten to the power
// of point, where d1 is not zero.
type decimal struct {
	digits []byte // from the first that is not zero, and with the point in between
	point  int    // far out of any range where the exponent is
	zero   bool
}

const (
	// exponentBound is beyond every range, and small enough to add to.
	exponentBound = math.MaxInt32 / 2
	// wholeBound is a little more than what a numeric has before its point.
	wholeBound = 132_000
)

// verdict is what is sure of a number's form.
type verdict uint8

const (
	sound verdict = iota
	unsure
	broken
)

// parseDecimal reads digits with an optional point and exponent. What stands
// behind the beginning of an exponent is unsure: one that is out of range is
// told before anything else, and numeric takes blanks in front of it.
func parseDecimal(t []byte) (d decimal, v verdict) {
	d.zero = true
	i, digits, point := 0, 0, -1
	whole := 0 // digits before the point, from the first that is not zero; or minus the zeros behind the point
	for ; i < len(t) && (isDigit(t[i]) || t[i] == '.' && point < 0); i++ {
		if t[i] == '.' {
			point = i
			continue
		}
		digits++
		if d.zero && t[i] != '0' {
			d.zero, d.digits = false, t[i:]
		}
		switch {
		case !d.zero && point < 0:
			whole++
		case d.zero && point >= 0:
			whole--
		}
	}
	if digits == 0 {
		return d, broken
	}
	if !d.zero {
		d.digits = d.digits[:len(d.digits)-(len(t)-i)]
	}
	d.point = whole
	if i == len(t) {
		return d, sound
	}
	if t[i]|0x20 != 'e' {
		return d, broken
	}
	e, ok := exponent(t[i+1:])
	d.point += e
	switch {
	case ok:
		return d, sound
	case bytes.ContainsAny(t[i+1:], "0123456789"):
		return d, unsure
	}
	return d, broken
}

// exponent reads a signed number, and stops counting where it is absurd.
func exponent(t []byte) (int, bool) {
	sign := 1
	if len(t) > 0 && (t[0] == '-' || t[0] == '+') {
		if t[0] == '-' {
			sign = -1
		}
		t = t[1:]
	}
	e := 0
	for _, c := range t {
		if !isDigit(c) {
			return 0, false
		}
		e = min(10*e+int(c-'0'), exponentBound)
	}
	return sign * e, len(t) > 0
}

// unsigned returns a number without white space and sign.
func unsigned(text []byte) []byte {
	t := trim(text)
	if len(t) > 0 && (t[0] == '-' || t[0] == '+') {
		t = t[1:]
	}
	return t
}

// numeric refuses what is no number, and what has too many digits before the
// point for a precision.
func (j *Judge) numeric(text []byte) *fault.Error {
	t := unsigned(text)
	switch {
	case equalFold(t, "nan"):
		return nil // with a sign it is none to some versions
	case equalFold(t, "inf"), equalFold(t, "infinity"):
		if j.digits == 0 {
			return nil
		}
		return fault.New(fault.NumberOutOfRange, "numeric field overflow").
			WithDetail("A field with precision %d, scale %d cannot hold an infinite value.", j.digits, j.scale)
	case newer(t):
		return nil
	}
	d, v := parseDecimal(t)
	switch {
	case v == broken:
		return j.syntax(text)
	case v == unsure || d.zero:
		return nil
	case d.point > wholeBound:
		return fault.New(fault.NumberOutOfRange, "value overflows numeric format")
	case j.digits == 0 || !d.overflows(j.digits, j.scale):
		return nil
	}
	f := fault.New(fault.NumberOutOfRange, "numeric field overflow")
	switch whole := j.digits - j.scale; whole {
	case 0:
		return f.WithDetail("A field with precision %d, scale %d must round to an absolute value less than 1.", j.digits, j.scale)
	default:
		return f.WithDetail("A field with precision %d, scale %d must round to an absolute value less than 10^%d.", j.digits, j.scale, whole)
	}
}

// overflows reports whether d, rounded to scale, has more than precision digits.
func (d *decimal) overflows(precision, scale int) bool {
	if whole := precision - scale; d.point != whole {
		return d.point > whole
	}
	seen := 0
	for _, c := range d.digits {
		switch {
		case c == '.':
			continue
		case seen == precision:
			return c >= '5'
		case c != '9':
			return false
		}
		seen++
	}
	return false
}

// longFloat is how many digits may be out of a real's range without an
// exponent, which is told before what follows them.
const longFloat = 30

// float follows float8in, which leaves the reading to C's strtod: that knows
// hexadecimal numbers and more than one way to write NaN.
func (j *Judge) float(text []byte) *fault.Error {
	t := unsigned(text)
	if len(t) >= 3 && equalFold(t[:3], "nan") || equalFold(t, "inf") || equalFold(t, "infinity") {
		return nil
	}
	if len(t) > 1 && t[0] == '0' && t[1]|0x20 == 'x' {
		return nil
	}
	d, v := parseDecimal(t)
	if v == unsure || v == broken && len(t) > longFloat {
		return nil
	}
	if v == broken {
		return j.syntax(text)
	}
	largest, smallest := 309, -324 // the largest double is 0.17...e309; what is below 0.1e-324 becomes zero
	if j.bits == 32 {
		largest, smallest = 39, -46
	}
	if d.zero || d.point <= largest && d.point >= smallest {
		return nil
	}
	if j.bits == 64 {
		text = trim(text) // as PostgreSQL names it
	}
	return fault.New(fault.NumberOutOfRange, `"%s" is out of range for type %s`, shown(text), j.name)
}

// equalFold compares t with an ASCII word in lower case.
func equalFold(t []byte, word string) bool {
	if len(t) != len(word) {
		return false
	}
	for i, c := range t {
		if c|0x20 != word[i] {
			return false
		}
	}
	return true
}
