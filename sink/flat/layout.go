package flat

import (
	"errors"
	"slices"
	"strings"

	"holdfast/row"
)

// maxLayouts bounds how many schemas are remembered within a batch: a reader
// decodes one anew in each segment.
const maxLayouts = 1024

// layout is how a row of one schema becomes a line.
type layout struct {
	table   string
	columns []string
	from    []int  // for each column the index of its value, -1 for none
	moments []bool // whether its values are moments; nil: none are rewritten

	path   string // of the file for the second below
	second int64
}

var errReserved = errors.New("names that begin with holdfast_ are reserved in this sink")

// layout returns how rows of sc become lines. Columns that the table lacks are
// added to it, behind the others.
func (w *writer) layout(sc *row.Schema) (*layout, error) {
	l := w.layouts[sc]
	if l != nil && len(l.from) == len(w.book.extra.Tables[sc.Table]) {
		return l, nil
	}
	if strings.HasPrefix(sc.Table, "holdfast_") {
		return nil, errReserved
	}
	if err := checkName(w.sink.names.companion(sc.Table)); err != nil {
		return nil, err
	}
	if len(w.layouts) >= maxLayouts {
		clear(w.layouts)
	}
	columns, known := w.book.extra.Tables[sc.Table]
	had := len(columns)
	at := make(map[string]int, len(sc.Columns))
	for i, c := range sc.Columns {
		at[c.Name] = i
	}
	columns = widen(columns, w.sink.opts.Columns[sc.Table])
	columns = widen(columns, names(sc.Columns))
	l = &layout{table: sc.Table, columns: columns, from: make([]int, len(columns)), second: -1}
	for i, c := range columns {
		l.from[i] = -1
		if j, ok := at[c]; ok {
			l.from[i] = j
			l.moment(i, sc.Columns[j].Type, w.sink.opts.Times)
		}
	}
	if !known || len(columns) > had {
		w.tell(sc.Table, columns)
	}
	w.layouts[sc] = l
	return l, nil
}

// moment notes of a column whether its values are rewritten.
func (l *layout) moment(i int, typ string, how Times) {
	zoned, plain := row.MomentType(typ)
	if how == Zoned || !zoned && !plain {
		return
	}
	if l.moments == nil {
		l.moments = make([]bool, len(l.columns))
	}
	l.moments[i] = true
}

// tell notes what the fields of table's lines are.
func (w *writer) tell(table string, columns []string) {
	w.book.extra.Tables[table] = columns
	w.widened = append(w.widened, table)
	w.changed = true
}

func names(columns []row.Column) []string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.Name
	}
	return all
}

// widen appends those of more that columns lacks.
func widen(columns, more []string) []string {
	have := make(map[string]bool, len(columns))
	for _, c := range columns {
		have[c] = true
	}
	columns = slices.Clip(columns)
	for _, c := range more {
		if !have[c] {
			have[c] = true
			columns = append(columns, c)
		}
	}
	return columns
}

// file returns the name of the file for a row received then.
func (l *layout) file(p *pattern, received int64) (string, error) {
	second := int64(0)
	if p.timed {
		second = received / 1e6
	}
	if l.second == second {
		return l.path, nil
	}
	path, err := p.file(l.table, received)
	if err != nil {
		return "", err
	}
	l.path, l.second = path, second
	return path, nil
}
