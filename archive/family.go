package archive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Units of a date column.
const (
	UnitUnix = "unix" // an integer, seconds since 1970
	UnitTime = "time" // a timestamp or datetime, taken for UTC where it names no zone
)

// What becomes of rows that are dated within a window which is closed.
const (
	LateName    = "name"    // they are named, and nothing is archived until they are gone
	LateRoute   = "route"   // the next closing moves them into the archive of their window
	LateCurrent = "current" // they stay in the current table
	LateReject  = "reject"  // sinks of Holdfast refuse them; those that come otherwise are named
)

// A Table is one member of a family. It has its own date, or a parent whose
// date it takes.
type Table struct {
	Type      int    `json:"type"`                 // its number in the catalogue, above 0
	Name      string `json:"name"`                 // without schema or database, those of the connection
	Key       string `json:"key,omitempty"`        // the column that children and keyed moves go by; "id" if empty
	Date      string `json:"date,omitempty"`       // the column that dates a row
	Parent    string `json:"parent,omitempty"`     // the table whose row dates it, where Date is empty
	ParentKey string `json:"parent_key,omitempty"` // the column here that holds the parent's key
	// IDOrder asks that no key in the current table is at or below one in an
	// archive.
	IDOrder bool `json:"id_order,omitempty"`
	// FinalWhen is an SQL condition on a row of this table that holds once the
	// row can change no more. If empty, all rows are final.
	FinalWhen string `json:"final_when,omitempty"`
}

// A Mirror asks that each row of Table where Column is Value has a twin in
// table Twin which agrees in all of Columns, and that Twin has no others.
type Mirror struct {
	Table   string   `json:"table"`
	Column  string   `json:"column"`
	Value   int64    `json:"value"`
	Twin    string   `json:"twin"`
	Columns []string `json:"columns"`
}

// A Family is the tables that are archived together.
type Family struct {
	Name      string   `json:"name"`
	Catalogue string   `json:"catalogue,omitempty"` // the table that lists archives; "archives" if empty
	Unit      string   `json:"unit,omitempty"`      // of every date column; UnitUnix if empty
	Settle    int64    `json:"settle,omitempty"`    // seconds that a row may arrive late; 2 if 0
	Late      string   `json:"late,omitempty"`      // what becomes of rows dated within a closed window; LateName if empty
	Archives  Form     `json:"archives,omitzero"`   // how archived tables are stored; as the current ones if empty
	Tables    []Table  `json:"tables"`              // parents before children
	Mirrors   []Mirror `json:"mirrors,omitempty"`
}

// Limits of a family, so that nothing that is read grows without bound.
const (
	maxFamilyBytes = 1 << 20
	maxTables      = 200
	maxName        = 63 // bytes; PostgreSQL's, the smallest of the engines
)

// Parse reads a family in JSON, fills in what may be left out, and refuses one
// that does not hang together.
func Parse(r io.Reader) (*Family, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFamilyBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFamilyBytes {
		return nil, fmt.Errorf("a family of more than %d bytes is none", maxFamilyBytes)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var f Family
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("read the family: %w", err)
	}
	if d.More() {
		return nil, errors.New("read the family: something stands behind it")
	}
	return &f, f.complete()
}

// complete fills in what was left out and checks the rest.
func (f *Family) complete() error {
	if f.Catalogue == "" {
		f.Catalogue = "archives"
	}
	if f.Unit == "" {
		f.Unit = UnitUnix
	}
	if f.Late == "" {
		f.Late = LateName
	}
	if f.Settle == 0 {
		f.Settle = 2
	}
	switch {
	case f.Name == "":
		return errors.New("the family has no name")
	case f.Unit != UnitUnix && f.Unit != UnitTime:
		return fmt.Errorf("unit %q is not known: %q or %q", f.Unit, UnitUnix, UnitTime)
	case !slices.Contains([]string{LateName, LateRoute, LateCurrent, LateReject}, f.Late):
		return fmt.Errorf("late %q is not known: %q, %q, %q or %q", f.Late, LateName, LateRoute, LateCurrent, LateReject)
	case f.Settle < 0:
		return fmt.Errorf("settle %d is below 0", f.Settle)
	case len(f.Tables) == 0 || len(f.Tables) > maxTables:
		return fmt.Errorf("family %q has %d tables: from 1 to %d", f.Name, len(f.Tables), maxTables)
	}
	if err := f.Archives.Check(f.Late); err != nil {
		return fmt.Errorf("family %q: %w", f.Name, err)
	}
	if err := plain(f.Catalogue); err != nil {
		return fmt.Errorf("family %q: catalogue %q: %w", f.Name, f.Catalogue, err)
	}
	for i := range f.Tables {
		if f.Tables[i].Key == "" {
			f.Tables[i].Key = "id"
		}
		if err := f.member(i); err != nil {
			return fmt.Errorf("family %q: %w", f.Name, err)
		}
	}
	for _, t := range f.Tables {
		if strings.EqualFold(f.Catalogue, t.Name) || strings.EqualFold(f.Catalogue, t.Name+"_all") || strings.HasPrefix(strings.ToLower(f.Catalogue), "holdfast_archive_") {
			return fmt.Errorf("family %q: its catalogue cannot be called %q, as a table, a view or a journal of archiving is: name another", f.Name, f.Catalogue)
		}
	}
	for _, m := range f.Mirrors {
		if f.Table(m.Table) == nil || f.Table(m.Twin) == nil || m.Column == "" || len(m.Columns) == 0 {
			return fmt.Errorf("family %q: the mirror of %q in %q names no table of it, no column to choose by or none to compare", f.Name, m.Table, m.Twin)
		}
	}
	return nil
}

// plain says why a table of that name cannot be archived, or list what is. One
// with a dot would be that of a table elsewhere, whose sequences, triggers and
// views stand elsewhere too.
func plain(name string) error {
	switch {
	case name == "" || len(name) > maxName-len("_1234567890_new"):
		return errors.New("its name is empty, or too long to carry a time")
	case strings.Contains(name, "."):
		schema, table, _ := strings.Cut(name, ".")
		return fmt.Errorf("a family's tables are named without schema or database: name it %q, and connect to where it is (PostgreSQL: postgres://USER@HOST/DATABASE?search_path=%s, MariaDB: mysql://USER@HOST/%s)", table, schema, schema)
	}
	return nil
}

func (f *Family) member(i int) error {
	t := f.Tables[i]
	for _, other := range f.Tables[:i] {
		if other.Type == t.Type || other.Name == t.Name {
			return fmt.Errorf("table %q: its type %d or its name is taken", t.Name, t.Type)
		}
	}
	switch {
	case t.Type < 1:
		return fmt.Errorf("table %q: type %d is below 1", t.Name, t.Type)
	case plain(t.Name) != nil:
		return fmt.Errorf("table %q: %w", t.Name, plain(t.Name))
	case (t.Date == "") == (t.Parent == ""):
		return fmt.Errorf("table %q: it needs a date or a parent, not both", t.Name)
	case (t.Parent == "") != (t.ParentKey == ""):
		return fmt.Errorf("table %q: parent and parent_key go together", t.Name)
	case t.Parent != "" && !slices.ContainsFunc(f.Tables[:i], func(p Table) bool { return p.Name == t.Parent }):
		return fmt.Errorf("table %q: its parent %q does not stand before it", t.Name, t.Parent)
	}
	return nil
}

// Table returns the member of that name, nil where there is none.
func (f *Family) Table(name string) *Table {
	for i := range f.Tables {
		if f.Tables[i].Name == name {
			return &f.Tables[i]
		}
	}
	return nil
}

// OfType returns the member of that type, nil where there is none.
func (f *Family) OfType(number int) *Table {
	for i := range f.Tables {
		if f.Tables[i].Type == number {
			return &f.Tables[i]
		}
	}
	return nil
}

// Line returns t and its parents, the one with the date last.
func (f *Family) Line(t Table) []Table {
	line := []Table{t}
	for t.Parent != "" {
		t = *f.Table(t.Parent)
		line = append(line, t)
	}
	return line
}
