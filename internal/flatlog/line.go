package flatlog

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"holdfast/row"
)

// maxLine is how long a line may be, in bytes. A longer one is set aside in
// pieces, so that no writer can make the follower hold more than that.
const maxLine = 1 << 20

// bar is what Kamailio's flatstore makes of a bar in a value.
var bar = []byte("%7C")

// parse returns the values of a line, given without its line feed, in dst; or
// why it is no row of so many columns. continued says that the line before
// ended with a carriage return. Nothing is guessed: a line of which it is not
// sure what it means is no row.
func parse(dst []row.Value, line []byte, columns int, continued bool) (values []row.Value, why string) {
	switch {
	case bytes.IndexByte(line, 0) >= 0:
		return nil, "it holds a NUL byte"
	case !utf8.Valid(line):
		return nil, "it is not UTF-8 text"
	case bytes.IndexByte(line, '\r') >= 0:
		return nil, "it holds a carriage return, as a folded header does, of which the rest stands in the next line"
	case continued:
		return nil, "it goes on with the line before, which ended in the middle of a folded header"
	case len(line) > 0 && (line[0] == ' ' || line[0] == '\t'):
		return nil, "it begins with a blank, as the rest of a folded header does"
	}
	if n := row.FlatFields(line); n != columns {
		return nil, fmt.Sprintf("it has %d fields, not %d", n, columns)
	}
	values = dst[:0]
	for more := true; more; {
		var field []byte
		field, line, more = row.CutFlat(line)
		values = append(values, row.Value{Text: field})
	}
	return values, ""
}

// decode undoes what Kamailio's flatstore does to bars.
func decode(values []row.Value) {
	for i := range values {
		if bytes.Contains(values[i].Text, bar) {
			values[i].Text = bytes.ReplaceAll(values[i].Text, bar, []byte("|"))
		}
	}
}
