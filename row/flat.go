package row

import (
	"bytes"
	"fmt"
)

// Flat text is a row as one line: its values with a bar between each two. It
// comes in two forms.
//
// The first keeps everything: a bar in a value is \x7C, a backslash \\, a line
// feed \n, a carriage return \r, and NULL is \N. So a bar always ends a field
// and a line feed a row, whatever is in them, and PostgreSQL's COPY with
// DELIMITER '|' reads the files as they are.
//
// The second is Kamailio's own: a bar in a value is %7C, NULL is empty, and
// nothing else is marked. It cannot be turned back, since %7C may have been
// there before, and a line feed in a value would make two rows of one.
const (
	flatBar = '|'
	flatEnd = '\n'
)

// flatEscapes are the letters behind the backslash; 0 for bytes that stand
// for themselves.
var flatEscapes = [256]byte{'\\': '\\', '\n': 'n', '\r': 'r', flatBar: 'x'}

// AppendFlat appends values as flat text that keeps everything, without the
// line feed at its end. A row without values is a NULL, so that it has a line.
func AppendFlat(dst []byte, values []Value) []byte {
	if len(values) == 0 {
		return append(dst, `\N`...)
	}
	for i, v := range values {
		if i > 0 {
			dst = append(dst, flatBar)
		}
		if v.Null {
			dst = append(dst, `\N`...)
			continue
		}
		dst = appendEscaped(dst, v.Text)
	}
	return dst
}

func appendEscaped(dst, text []byte) []byte {
	plain := 0 // where the bytes begin that are copied as they are
	for i, c := range text {
		letter := flatEscapes[c]
		if letter == 0 {
			continue
		}
		dst = append(dst, text[plain:i]...)
		plain = i + 1
		if dst = append(dst, '\\', letter); letter == 'x' {
			dst = append(dst, '7', 'C')
		}
	}
	return append(dst, text[plain:]...)
}

// ParseFlat appends the values of a line that AppendFlat made, given without
// its line feed, to dst. The values point into line where nothing had to be
// turned back.
func ParseFlat(dst []Value, line []byte) ([]Value, error) {
	for n := 1; ; n++ {
		field, rest, more := CutFlat(line)
		v, err := parseField(field)
		if err != nil {
			return dst, fmt.Errorf("field %d: %w", n, err)
		}
		dst = append(dst, v)
		if !more {
			return dst, nil
		}
		line = rest
	}
}

func parseField(field []byte) (Value, error) {
	i := bytes.IndexByte(field, '\\')
	if i < 0 {
		return Value{Text: field}, nil
	}
	if string(field) == `\N` {
		return Null, nil
	}
	text := make([]byte, i, len(field))
	copy(text, field)
	for ; i < len(field); i++ {
		if field[i] != '\\' {
			text = append(text, field[i])
			continue
		}
		rest := field[i+1:]
		switch {
		case bytes.HasPrefix(rest, []byte(`\`)):
			text = append(text, '\\')
		case bytes.HasPrefix(rest, []byte("n")):
			text = append(text, '\n')
		case bytes.HasPrefix(rest, []byte("r")):
			text = append(text, '\r')
		case bytes.HasPrefix(rest, []byte("x7C")):
			text = append(text, flatBar)
			i += 2
		default:
			return Value{}, fmt.Errorf("byte %d: a backslash is followed by none of \\, n, r, x7C", i+1)
		}
		i++
	}
	return Value{Text: text}, nil
}

// AppendKamailio appends values as Kamailio's flatstore writes them, without
// the line feed at the end. It returns the index of the first value that holds
// a line feed, which this form cannot tell from the end of the row, and dst as
// it was; -1 where there is none.
func AppendKamailio(dst []byte, values []Value) ([]byte, int) {
	start := len(dst)
	for i, v := range values {
		if i > 0 {
			dst = append(dst, flatBar)
		}
		if v.Null {
			continue
		}
		for _, c := range v.Text {
			switch c {
			case flatBar:
				dst = append(dst, "%7C"...)
			case flatEnd:
				return dst[:start], i
			default:
				dst = append(dst, c)
			}
		}
	}
	return dst, -1
}

// CutFlat cuts a line at its first bar. The field is as it stands in the file;
// more says whether there was a bar, and thus another field.
func CutFlat(line []byte) (field, rest []byte, more bool) {
	return bytes.Cut(line, []byte{flatBar})
}

// FlatFields returns how many fields a line has.
func FlatFields(line []byte) int {
	return bytes.Count(line, []byte{flatBar}) + 1
}
