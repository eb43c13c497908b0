package pgwire

import (
	"bytes"
	"slices"
	"time"

	"holdfast/internal/fault"
	"holdfast/row"
)

// target is where an INSERT's or a COPY's rows go: a table and a list of
// columns. A session keeps the last ones by the very bytes that named them, so
// that a statement which comes again costs one comparison.
type target struct {
	header  []byte // the statement up to and including VALUES
	table   string
	names   []string // nil: none were written, the table's own order holds
	width   int      // values per row
	columns []row.Column
	schema  *row.Schema            // nil until resolved
	partial map[string]*row.Schema // rows with DEFAULT, by the columns left
	timed   []bool                 // columns of time types; nil: none
	whole   []bool                 // columns of integer types; nil: none
}

const (
	targetsKept = 16
	headerKept  = 4 << 10
	partialKept = 64
)

// targets are the targets kept, the latest first.
type targets []*target

// find returns the target that src starts with.
func (ts targets) find(src []byte) *target {
	for i, t := range ts {
		if n := len(t.header); bytes.HasPrefix(src, t.header) && (n == len(src) || class[src[n]]&isIdentPart == 0) {
			if i > 0 {
				copy(ts[1:i+1], ts[:i])
				ts[0] = t
			}
			return t
		}
	}
	return nil
}

// keep adds t as the latest.
func (ts *targets) keep(t *target) {
	if len(t.header) > headerKept || len(t.header) == 0 {
		return
	}
	if len(*ts) < targetsKept {
		*ts = append(*ts, nil)
	}
	copy((*ts)[1:], *ts)
	(*ts)[0] = t
}

// drop forgets t.
func (ts *targets) drop(t *target) {
	*ts = slices.DeleteFunc(*ts, func(o *target) bool { return o == t })
}

// tableName reads a table's name, which may be qualified with public.
func (l *lexer) tableName() (string, error) {
	at := l.pos
	n, err := l.name()
	if err != nil || !l.punct('.') {
		return n, err
	}
	if n != "public" {
		l.pos = at
		l.space()
		return "", l.refuse("schema \""+n+"\" is not known", "tables have no schema but public; leave it out")
	}
	return l.name()
}

// columnList reads "(a, b)"; nil where no parenthesis comes next.
func (l *lexer) columnList() ([]string, error) {
	if !l.punct('(') {
		return nil, nil
	}
	var names []string
	seen := make(map[string]bool)
	for {
		l.space()
		at := l.pos
		n, err := l.name()
		if err != nil {
			return nil, err
		}
		if seen[n] {
			return nil, place(fault.New(fault.DuplicateColumn, "column %q specified more than once", n), l.src, at)
		}
		if len(names) == maxColumns {
			return nil, fault.New(fault.TooManyColumns, "more than %d columns are named", maxColumns)
		}
		seen[n], names = true, append(names, n)
		if l.punct('.') || l.punct('[') {
			l.pos--
			return nil, l.refuse("parts of a column cannot be inserted", "name whole columns")
		}
		if l.punct(')') {
			return names, nil
		}
		if err := l.want(','); err != nil {
			return nil, err
		}
	}
}

// readTarget reads "INSERT INTO table (columns) VALUES".
func (l *lexer) readTarget() (*target, error) {
	start := l.pos
	if !l.keywords("insert", "into") {
		l.keyword("insert")
		return nil, l.syntax()
	}
	t := new(target)
	var err error
	if t.table, err = l.tableName(); err != nil {
		return nil, err
	}
	if fold(l.word(), "as") {
		return nil, l.refuse("an alias of the table is not taken", "leave it out")
	}
	if t.names, err = l.columnList(); err != nil {
		return nil, err
	}
	t.width = len(t.names)
	switch w := l.word(); {
	case fold(w, "values"):
		l.pos += len(w)
	case fold(w, "default"):
		return nil, l.refuse("a row without any value is not taken", "name at least one column")
	case fold(w, "overriding"):
		return nil, l.refuse("OVERRIDING is not taken", "identity columns are the sink's; leave them out")
	case fold(w, "select"), fold(w, "with"), fold(w, "table"):
		return nil, l.refuse("INSERT ... SELECT is not evaluated", insertOnly)
	default:
		return nil, l.syntax()
	}
	t.header = append([]byte(nil), l.src[start:l.pos]...)
	return t, nil
}

// insertNow runs the INSERT that p stands at, straight from its text.
func (s *session) insertNow(p *valueParser) (rows int, err error) {
	t := s.targets.find(p.src[p.pos:])
	if t == nil {
		if t, err = p.readTarget(); err != nil {
			return 0, err
		}
	} else {
		p.pos += len(t.header)
	}
	start := p.pos
	if t.schema == nil {
		if err := s.settleTarget(t, p); err != nil {
			return 0, err
		}
	}
	s.yields = seemsToYield(p.src)
	before := 0
	if s.tx != nil {
		before = s.tx.Rows()
	}
	for {
		if err := p.row(); err != nil {
			return 0, err
		}
		if len(p.items) != t.width && rows == 0 && t.names == nil {
			// The same table without a list of columns, and another number of values.
			s.targets.drop(t)
			t = &target{header: t.header, table: t.table}
			p.pos = start
			if err := s.settleTarget(t, p); err != nil {
				return 0, err
			}
			continue
		}
		if err := p.checkWidth(t); err != nil {
			return 0, err
		}
		if err := s.insertRow(t, p.items, nil); err != nil {
			return 0, err
		}
		rows++
		if p.punct(',') {
			continue
		}
		yields, err := p.tail()
		if err != nil || yields == s.yields {
			return rows, err
		}
		if err := s.tx.RollbackTo(before); err != nil {
			return 0, err
		}
		s.yields, rows, p.pos = yields, 0, start
	}
}

// checkWidth holds a row's number of values against the target's.
func (p *valueParser) checkWidth(t *target) error {
	var f *fault.Error
	switch {
	case len(p.items) == t.width:
		return nil
	case t.names == nil:
		f = fault.New(fault.SyntaxError, "VALUES lists must all be the same length")
	case len(p.items) > t.width:
		f = fault.New(fault.SyntaxError, "INSERT has more expressions than target columns: %d and %d", len(p.items), t.width)
	default:
		f = fault.New(fault.SyntaxError, "INSERT has more target columns than expressions: %d and %d", t.width, len(p.items))
	}
	return place(f, p.src, p.pos-1)
}

// settleTarget looks at the whole statement before anything is declared
// because of it, resolves the schema with the first row's types, and goes back
// to the first row.
func (s *session) settleTarget(t *target, p *valueParser) error {
	start := p.pos
	var first []item
	for {
		if err := p.row(); err != nil {
			return err
		}
		if first == nil {
			first = append(first, p.items...)
			if t.names == nil {
				if err := s.ownColumns(t, len(first)); err != nil {
					return err
				}
			}
		}
		if err := p.checkWidth(t); err != nil {
			return err
		}
		if p.params > 0 {
			return undeclared(p.params)
		}
		if !p.punct(',') {
			break
		}
	}
	if _, err := p.tail(); err != nil {
		return err
	}
	p.pos = start
	if err := s.resolve(t, first, nil); err != nil {
		return err
	}
	s.targets.keep(t)
	return nil
}

// ownColumns takes the table's first n columns for the list that was not written.
func (s *session) ownColumns(t *target, n int) error {
	columns, err := s.columns(t.table)
	if err != nil {
		return err
	}
	if n > len(columns) {
		return fault.New(fault.SyntaxError, "INSERT has more expressions than table %q has columns: %d and %d", t.table, n, len(columns)).
			WithHint("name the columns")
	}
	t.columns, t.width = columns[:n], n
	return nil
}

// resolve gets the target's schema. What is not known yet is declared from
// items, the first row: a number makes a numeric column, all else text.
func (s *session) resolve(t *target, items []item, oids []uint32) error {
	columns := slices.Clone(t.columns)
	if t.names != nil {
		columns = make([]row.Column, len(t.names))
		for i, n := range t.names {
			columns[i] = row.Column{Name: n, Type: "text"}
			if it := items[i]; it.kind == itemNumber || it.kind == itemParam && numericOID(oids[it.param-1]) {
				columns[i].Type = "numeric"
			}
		}
	}
	return s.bindTarget(t, columns)
}

// bindTarget asks the store for the schema of columns.
func (s *session) bindTarget(t *target, columns []row.Column) error {
	schema, err := s.schema(t.table, columns)
	if err != nil {
		return err
	}
	t.schema, t.columns, t.timed, t.whole = schema, schema.Columns, nil, nil
	mark := func(marks *[]bool, i int) {
		if *marks == nil {
			*marks = make([]bool, len(t.columns))
		}
		(*marks)[i] = true
	}
	for i, c := range t.columns {
		ty := typeOf(c.Type)
		if ty.dims > 0 {
			continue
		}
		switch ty.info().kind {
		case kindTime:
			mark(&t.timed, i)
		case kindInteger:
			mark(&t.whole, i)
		}
	}
	return nil
}

// insertRow puts one row of items into the transaction.
func (s *session) insertRow(t *target, items []item, params []row.Value) error {
	s.values, s.text = s.values[:0], s.text[:0]
	omitted := 0
	for i := range items {
		it := &items[i]
		v := row.Value{Text: it.text}
		switch it.kind {
		case itemNull:
			v = row.Null
		case itemDefault:
			omitted++
			continue
		case itemParam:
			if it.param > len(params) {
				return undeclared(it.param)
			}
			v = params[it.param-1]
		case itemClock:
			v.Text = s.clockText(it.clock)
		case itemUUID:
			mark := len(s.text)
			s.text = appendUUID(s.text)
			v.Text = s.text[mark:len(s.text):len(s.text)]
		case itemArray:
			if err := fitsArray(it, t.columns[i].Type); err != nil {
				return err
			}
		case itemNumber:
			if t.whole != nil && t.whole[i] && bytes.ContainsAny(it.text, ".eE") {
				v.Text = s.rounded(it.text)
			}
		}
		if t.timed != nil && t.timed[i] {
			s.stamp(&v, t.columns[i].Type)
		}
		s.values = append(s.values, v)
	}
	schema := t.schema
	if omitted > 0 {
		var err error
		if schema, err = s.withoutDefaults(t, items); err != nil {
			return err
		}
	}
	return s.insert(schema, s.values)
}

// stamp replaces the words now, today, tomorrow and yesterday.
func (s *session) stamp(v *row.Value, columnType string) {
	if w := wordOf(v.Text); w != 0 && !v.Null {
		v.Text = s.clockText(reading{word: w, as: typeOf(columnType).name})
	}
}

// clockText writes a reading into the session's buffer for texts.
func (s *session) clockText(r reading) []byte {
	mark := len(s.text)
	at := time.UnixMicro(r.at).In(s.settings.zone)
	if r.word != wordGiven {
		at = s.moment(r.word == wordStatement)
	}
	s.text = r.appendText(s.text, at)
	return s.text[mark:len(s.text):len(s.text)]
}

func undeclared(n int) error {
	return fault.New(fault.UndefinedParameter, "there is no parameter $%d", n).
		WithHint("a simple query has no parameters")
}

// withoutDefaults returns the schema of the columns that are not DEFAULT.
func (s *session) withoutDefaults(t *target, items []item) (*row.Schema, error) {
	key := make([]byte, len(items))
	var columns []row.Column
	for i := range items {
		if items[i].kind != itemDefault {
			key[i] = 1
			columns = append(columns, t.columns[i])
		}
	}
	if schema := t.partial[string(key)]; schema != nil {
		return schema, nil
	}
	if len(columns) == 0 {
		return nil, fault.New(fault.FeatureNotSupported, "a row of nothing but DEFAULT is not taken").
			WithHint("give at least one column of table %q a value", t.table)
	}
	schema, err := s.schema(t.table, columns)
	if err != nil {
		return nil, err
	}
	if t.partial == nil || len(t.partial) >= partialKept {
		t.partial = make(map[string]*row.Schema)
	}
	t.partial[string(key)] = schema
	return schema, nil
}
