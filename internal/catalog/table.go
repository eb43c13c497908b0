package catalog

import (
	"time"

	"holdfast/internal/fault"
	"holdfast/row"
)

// Table is a table's definition.
type Table struct {
	Name    string
	Columns []Column // in the table's order
}

// Column is a column, and what its table demands of it.
type Column struct {
	row.Column
	NotNull   bool `json:"not_null,omitempty"`
	Default   bool `json:"default,omitempty"`   // filled by the sink where a row leaves it out
	Generated bool `json:"generated,omitempty"` // cannot be written
	Inferred  bool `json:"inferred,omitempty"`  // its type was taken from a row, so no value is judged by it
}

// How a definition came to be known.
const (
	Declared = "declared"  // by a statement or a profile
	FirstRow = "first row" // by a row that was written
	FromSink = "sink"      // from the sink that is the authority
)

// Origin says where a definition comes from.
type Origin struct {
	How   string    `json:"from,omitempty"` // one of the constants; "" where an older version wrote it
	Sink  string    `json:"sink,omitempty"` // which, where How is FromSink
	Since time.Time `json:"since,omitzero"` // since when it is so
}

// String returns the origin in words.
func (o Origin) String() string {
	s := o.How
	if s == "" {
		s = "not known"
	}
	if o.Sink != "" {
		s += " " + o.Sink
	}
	if !o.Since.IsZero() {
		s += " since " + o.Since.Format(time.RFC3339)
	}
	return s
}

// snapshot is all that is known at a time; immutable.
type snapshot struct {
	tables     map[string]*table
	generation uint64 // rises where a table may look other than before
}

// table is one table; immutable. One of its definitions is always there.
type table struct {
	own     *definition // by declaration or by rows
	adopted *definition // the authority's, which goes before
}

// definition is one source's word on a table; immutable.
type definition struct {
	columns []Column
	plain   []row.Column
	byName  map[string]int
	origin  Origin
}

func newDefinition(columns []Column, origin Origin) *definition {
	d := &definition{columns: columns, plain: plain(columns), byName: make(map[string]int, len(columns)), origin: origin}
	for i, c := range columns {
		d.byName[c.Name] = i
	}
	return d
}

// plain returns columns as doors and sinks know them.
func plain(columns []Column) []row.Column {
	out := make([]row.Column, len(columns))
	for i, c := range columns {
		out[i] = c.Column
	}
	return out
}

// typed returns columns of which nothing but the type is known.
func typed(columns []row.Column, inferred bool) []Column {
	out := make([]Column, len(columns))
	for i, c := range columns {
		out[i] = Column{Column: c, Inferred: inferred}
	}
	return out
}

func (d *definition) find(name string) *Column {
	if d == nil {
		return nil
	}
	if i, ok := d.byName[name]; ok {
		return &d.columns[i]
	}
	return nil
}

// best is the definition that holds.
func (t *table) best() *definition {
	if t.adopted != nil {
		return t.adopted
	}
	return t.own
}

// find returns a column, or nil. Where columns are declared by rows (auto),
// one that the authority does not have yet may be known from a row.
func (t *table) find(name string, auto bool) *Column {
	c := t.best()
	if c == nil {
		return nil
	}
	if found := c.find(name); found != nil || !auto {
		return found
	}
	return t.own.find(name)
}

// fill returns columns with the types known, and the index of the first one
// that is not known, or -1.
func (t *table) fill(columns []row.Column, auto bool) ([]row.Column, int) {
	out := make([]row.Column, len(columns))
	for i, c := range columns {
		known := t.find(c.Name, auto)
		if known == nil {
			return nil, i
		}
		out[i] = known.Column
	}
	return out, -1
}

// noColumn is the fault of a column that is not known.
func (t *table) noColumn(table, column string) *fault.Error {
	f := fault.New(fault.UndefinedColumn, "column %q of relation %q does not exist", column, table)
	if by := t.best().origin; by.How == FromSink {
		return f.WithHint("the columns of %q are those that it has in sink %q", table, by.Sink)
	}
	return f.WithHint("the columns of %q are fixed by its declaration", table)
}

// Known returns the definition that holds of a table, and where it comes from;
// false where it is not known. The caller must not change the columns.
func (c *Catalog) Known(name string) (Table, Origin, bool) {
	t := c.latest.Load().tables[name]
	if t == nil {
		return Table{}, Origin{}, false
	}
	d := t.best()
	return Table{Name: name, Columns: d.columns}, d.origin, true
}

// Generation rises whenever a table may have come to look other than before,
// so that what was derived from its definition must be derived again. New
// columns that rows bring change nothing that was derived.
func (c *Catalog) Generation() uint64 { return c.latest.Load().generation }
