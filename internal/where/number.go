package where

import (
	"bytes"
	"cmp"
	"strconv"
)

// decimal is a number as it is written, taken apart and not computed, so that
// one with an exponent of a thousand million costs no more than another. It is
// 0.d1d2d3... times ten to the power of point.
type decimal struct {
	negative bool
	digits   [2][]byte // in front of the decimal point and behind it; none in front of the first that counts
	n        int       // how many digits there are up to the last that is not 0; 0: the number is 0
	point    int
	small    bool // it is whole, of at most 18 digits, and i
	i        int64
}

// maxExponent bounds exponents: what is beyond is as good as there.
const maxExponent = 1 << 40

// parseDecimal reads a number: blanks around it, a sign, digits, a point, an
// exponent. NaN, Infinity and other notations are no numbers here.
func parseDecimal(text []byte) (d decimal, ok bool) {
	text = bytes.Trim(text, " \t\r\n\v\f")
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		d.negative = text[0] == '-'
		text = text[1:]
	}
	end := digitsOf(text)
	front, behind := text[:end], []byte(nil)
	if text = text[end:]; len(text) > 0 && text[0] == '.' {
		end = digitsOf(text[1:])
		behind, text = text[1:1+end], text[1+end:]
	}
	exponent := 0
	if len(front)+len(behind) == 0 {
		return d, false
	}
	if len(text) > 0 {
		if exponent, ok = exponentOf(text); !ok {
			return d, false
		}
	}
	d.whole(front, behind, len(text) > 0)
	d.set(front, behind, exponent)
	return d, true
}

func digitsOf(text []byte) int {
	n := 0
	for n < len(text) && text[n]-'0' < 10 {
		n++
	}
	return n
}

// exponentOf reads e, a sign and digits.
func exponentOf(text []byte) (n int, ok bool) {
	if text[0]|0x20 != 'e' {
		return 0, false
	}
	text = text[1:]
	negative := len(text) > 0 && text[0] == '-'
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		text = text[1:]
	}
	if len(text) == 0 || digitsOf(text) != len(text) {
		return 0, false
	}
	for _, c := range text {
		n = min(n*10+int(c-'0'), maxExponent)
	}
	if negative {
		n = -n
	}
	return n, true
}

// whole notes a number that a machine word holds.
func (d *decimal) whole(front, behind []byte, exponent bool) {
	if len(front) > 18 || len(front) == 0 || len(behind) > 0 || exponent {
		return
	}
	for _, c := range front {
		d.i = d.i*10 + int64(c-'0')
	}
	if d.negative {
		d.i = -d.i
	}
	d.small = true
}

func (d *decimal) set(front, behind []byte, exponent int) {
	for len(front) > 0 && front[0] == '0' {
		front = front[1:]
	}
	d.point = len(front) + exponent
	if len(front) == 0 {
		zeros := 0
		for zeros < len(behind) && behind[zeros] == '0' {
			zeros++
		}
		behind, d.point = behind[zeros:], exponent-zeros
	}
	d.digits = [2][]byte{front, behind}
	d.n = len(front) + len(behind)
	for d.n > 0 && d.digit(d.n-1) == '0' {
		d.n--
	}
	if d.n == 0 {
		d.negative, d.point = false, 0
	}
}

// digit returns digit i, '0' behind the last.
func (d *decimal) digit(i int) byte {
	if i < len(d.digits[0]) {
		return d.digits[0][i]
	}
	if i -= len(d.digits[0]); i < len(d.digits[1]) {
		return d.digits[1][i]
	}
	return '0'
}

// sign returns -1, 0 or 1.
func (d *decimal) sign() int {
	switch {
	case d.n == 0:
		return 0
	case d.negative:
		return -1
	}
	return 1
}

// compare returns -1, 0 or 1 as d is lower than o, equal or higher.
func (d *decimal) compare(o *decimal) int {
	if d.small && o.small {
		return cmp.Compare(d.i, o.i)
	}
	if s := d.sign(); s != o.sign() || s == 0 {
		return cmp.Compare(s, o.sign())
	}
	c := cmp.Compare(d.point, o.point)
	for i := 0; c == 0 && i < max(d.n, o.n); i++ {
		c = cmp.Compare(d.digit(i), o.digit(i))
	}
	if d.negative {
		return -c
	}
	return c
}

// float returns the nearest float; text is what d was made of. Of two numbers
// the lower one never has the higher float.
func (d *decimal) float(text []byte) float64 {
	if d.small && d.i < 1<<53 && d.i > -(1<<53) {
		return float64(d.i)
	}
	if d.n == 0 {
		return 0
	}
	// What is out of range becomes an infinity, as it should. A number with a
	// point and no digit in front, or none behind, is read as any other.
	f, _ := strconv.ParseFloat(string(bytes.Trim(text, " \t\r\n\v\f")), 64)
	return f
}
