package holdfast

import (
	"strconv"

	"holdfast/internal/fault"
	"holdfast/row"
)

// Line is a line that a source could not parse, and where it stood.
type Line struct {
	Table string // that it was for
	Raw   []byte // need not be text
	Why   string
	File  string
	At    int64 // offset in the file, bytes
}

// InsertMalformed adds a line that is no row, flagged so, in the place of the
// row that it would be. Every sink sets it aside as a reject with the code
// "malformed".
func (t *Tx) InsertMalformed(l Line) error {
	if l.Table == "" {
		return fault.New(fault.InvalidParameterValue, "a malformed line of file %q is for no table", l.File).WithHint("name the table that it was for")
	}
	s := t.db.route(l.Table).journal.Intern(l.Table, row.MalformedColumns)
	values := []row.Value{{Text: l.Raw}, row.Text(l.Why), row.Text(l.File), row.Text(strconv.FormatInt(l.At, 10))}
	if err := t.belongs(s, values); err != nil {
		return err
	}
	return t.add(s, row.Malformed, values)
}
