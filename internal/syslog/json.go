package syslog

import (
	"encoding/json"
	"unicode/utf8"
)

// appendString appends s as a string of JSON. What is not UTF-8 is not mended:
// the row is refused for it then, and kept as it came.
func appendString(out []byte, s string) []byte {
	if !utf8.ValidString(s) {
		return append(append(append(out, '"'), s...), '"')
	}
	b, _ := json.Marshal(s) // a string can always be written
	return append(out, b...)
}

// appendValues appends one value as a string, several as an array.
func appendValues(out []byte, values []string) []byte {
	if len(values) == 1 {
		return appendString(out, values[0])
	}
	out = append(out, '[')
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendString(out, v)
	}
	return append(out, ']')
}
