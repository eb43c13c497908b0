package pgwire

import (
	"bytes"
	"strconv"
)

// mostDigits is how many digits a number may have before its point to be
// rounded: more than any integer type takes, so that what has more is refused
// for its size all the same.
const mostDigits = 30

// rounded returns a number as PostgreSQL assigns it to an integer column: the
// nearest whole number, halves away from zero. A number that is written without
// quotes is a numeric there, and is cast; text in quotes, a parameter or a
// field of COPY is not.
func (s *session) rounded(number []byte) []byte {
	text, minus := bytes.CutPrefix(number, []byte("-"))
	exponent := 0
	if at := bytes.IndexAny(text, "eE"); at >= 0 {
		n, err := strconv.Atoi(string(text[at+1:]))
		if err != nil {
			return number
		}
		text, exponent = text[:at], n
	}
	before, behind, _ := bytes.Cut(text, []byte("."))
	digits := make([]byte, 0, mostDigits+1)
	digits = append(append(digits, before...), behind...)
	point := len(before) + exponent
	for len(digits) > 0 && digits[0] == '0' {
		digits, point = digits[1:], point-1
	}
	if len(digits) == 0 || point < 0 {
		digits, point = digits[:0], 0
	}
	if point > mostDigits {
		return number
	}
	for len(digits) <= point { // one digit behind the point, at least
		digits = append(digits, '0')
	}
	whole, err := strconv.ParseUint("0"+string(digits[:point]), 10, 64)
	if err == nil && digits[point] >= '5' {
		whole++
	}
	mark := len(s.text)
	if minus && (whole > 0 || err != nil) {
		s.text = append(s.text, '-')
	}
	if err != nil { // larger than any integer
		s.text = append(s.text, digits[:point]...)
	} else {
		s.text = strconv.AppendUint(s.text, whole, 10)
	}
	return s.text[mark:len(s.text):len(s.text)]
}
