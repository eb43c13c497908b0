package bench

import (
	"fmt"
	"strings"

	"holdfast/row"
)

// Every case has the same rows: ten text columns of 20 bytes, 200 bytes of
// values, in one table.
const (
	benchTable   = "calls"
	benchColumns = 10
	benchWidth   = 20
)

// columns returns the columns of the table.
func columns() []row.Column {
	cs := make([]row.Column, benchColumns)
	for i := range cs {
		cs[i] = row.Column{Name: fmt.Sprintf("column_%d", i), Type: "text"}
	}
	return cs
}

// columnNames returns them as a list.
func columnNames() string {
	var names []string
	for _, c := range columns() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ",")
}

// values returns the values of a row.
func values() []row.Value {
	vs := make([]row.Value, benchColumns)
	for i := range vs {
		vs[i] = row.Text(fmt.Sprintf("%0*d", benchWidth, i))
	}
	return vs
}

// joined returns the values as text, each between the quotes given, with sep
// between them.
func joined(open, sep, end string) string {
	var parts []string
	for _, v := range values() {
		parts = append(parts, open+string(v.Text)+end)
	}
	return strings.Join(parts, sep)
}

// record returns the bytes of a row, as the product stores it, for baselines
// that do not encode.
func record() []byte {
	return row.AppendRecord(nil, row.KindRow, 1, 0, values())
}
