package mywire

import (
	"strings"

	"holdfast/internal/fault"
	"holdfast/row"
)

// insertion is one INSERT being read. It is read twice: once to see that all of
// it is understood, before anything is declared because of it, and once to take
// the rows, so that no statement is ever held as values.
type insertion struct {
	lexer
	s      *session
	table  string
	names  []string // nil: none were written, the table's own order holds
	yields bool     // IGNORE
	assign bool     // INSERT ... SET, whose one row was read with the names
	start  int      // where the rows begin
	params []item   // nil while it is only read
	marks  int      // question marks so far
	mixed  bool     // the statement is prepared: question marks are taken

	items   []item
	scratch []byte
}

// head reads everything up to the rows.
func (in *insertion) head() (err error) {
	if err := in.space(); err != nil {
		return err
	}
	if !in.keyword("insert") {
		return in.syntax()
	}
	_ = in.keyword("low_priority") || in.keyword("high_priority") || in.keyword("delayed")
	in.yields = in.keyword("ignore")
	in.keyword("into")
	if in.table, err = in.s.tableName(&in.lexer); err != nil {
		return err
	}
	if fold(in.word(), "partition") {
		return notYet("PARTITION is not taken", "leave it out")
	}
	in.start = in.pos
	if in.keyword("set") {
		in.assign = true
		return nil
	}
	if in.punct('(') {
		if err := in.columnList(); err != nil {
			return err
		}
	}
	switch w := in.word(); {
	case fold(w, "values"), fold(w, "value"):
		in.pos += len(w)
	case fold(w, "select"), fold(w, "with"), fold(w, "table"):
		return notYet("INSERT ... SELECT is not evaluated", insertOnly)
	case fold(w, "set"):
		return in.syntax()
	default:
		return in.syntax()
	}
	if err := in.space(); err != nil {
		return err
	}
	in.start = in.pos
	return nil
}

// tableName reads a table's name, which may be qualified with the database.
func (s *session) tableName(l *lexer) (string, error) {
	n, err := l.name()
	if err != nil || !l.punct('.') {
		return n, err
	}
	if s.database != "" && n != s.database {
		return "", refuse(1049, "42000", "Unknown database '%s' (hint: tables are not kept apart by databases here, and you are connected to '%s': leave the database out)", n, s.database)
	}
	return l.name()
}

// addName adds a column to the list.
func (in *insertion) addName() error {
	n, err := in.name()
	if err != nil {
		return err
	}
	for in.punct('.') { // qualified with the table
		if n, err = in.name(); err != nil {
			return err
		}
	}
	if len(in.names) == maxColumns {
		return fault.New(fault.TooManyColumns, "more than %d columns are named", maxColumns)
	}
	in.names = append(in.names, n)
	return nil
}

// columnList reads "a, b)".
func (in *insertion) columnList() error {
	if in.punct(')') {
		return notYet("a row without any value is not taken", "name at least one column")
	}
	for {
		if err := in.addName(); err != nil {
			return err
		}
		if in.punct(')') {
			return in.distinct()
		}
		if !in.punct(',') {
			return in.syntax()
		}
	}
}

// distinct holds that no column is named twice.
func (in *insertion) distinct() error {
	seen := make(map[string]bool, len(in.names))
	for _, n := range in.names {
		if n = strings.ToLower(n); seen[n] {
			return fault.New(fault.DuplicateColumn, "column '%s' specified twice", n)
		}
		seen[n] = true
	}
	return nil
}

// rows reads the rows and hands each to take, then the end of the statement.
func (in *insertion) rows(take func(n int) error) error {
	in.pos, in.marks = in.start, 0
	for n := 1; ; n++ {
		in.items, in.scratch = in.items[:0], in.scratch[:0]
		var err error
		if in.assign {
			err = in.assignments()
		} else {
			err = in.row()
		}
		if err != nil {
			return err
		}
		if in.names != nil && len(in.items) != len(in.names) {
			return refuse(erWrongValueCount, "21S01", "Column count doesn't match value count at row %d", n)
		}
		if err := take(n); err != nil {
			return err
		}
		if in.assign || !in.punct(',') {
			return in.tail()
		}
	}
}

// assignments reads "SET a = 1, b = 2".
func (in *insertion) assignments() error {
	if !in.keyword("set") {
		return in.syntax()
	}
	in.names = in.names[:0]
	for {
		if err := in.addName(); err != nil {
			return err
		}
		if !in.punct('=') {
			return in.syntax()
		}
		if err := in.value(); err != nil {
			return err
		}
		if !in.punct(',') {
			return in.distinct()
		}
	}
}

// row reads "(1, 2)".
func (in *insertion) row() error {
	if !in.punct('(') {
		return in.syntax()
	}
	if in.punct(')') {
		return notYet("a row without any value is not taken", "name at least one column")
	}
	for {
		if err := in.value(); err != nil {
			return err
		}
		if in.punct(')') {
			return nil
		}
		if len(in.items) == maxColumns {
			return fault.New(fault.TooManyColumns, "a row has more than %d values", maxColumns)
		}
		if !in.punct(',') {
			return in.syntax()
		}
	}
}

// tail reads the end of the statement.
func (in *insertion) tail() error {
	switch w := in.word(); {
	case fold(w, "on"):
		return notYet("ON DUPLICATE KEY UPDATE is not taken",
			"rows are never updated; INSERT IGNORE leaves out rows whose key is there when a sink writes them")
	case fold(w, "returning"):
		return notYet("RETURNING is not answered",
			"a row gets the sink's values (ids, defaults) only when it is delivered: generate ids in the client")
	case fold(w, "as"):
		return notYet("an alias of the rows is not taken", "leave it out")
	}
	return in.end()
}

// insertText runs an INSERT, and returns how many rows it has.
func (s *session) insertText(src []byte, params []item, prepared bool) (rows int, err error) {
	in := &insertion{lexer: lexer{src: src}, s: s, params: params, mixed: prepared, items: s.rowBuf.items, scratch: s.rowBuf.scratch}
	defer func() { s.rowBuf.items, s.rowBuf.scratch = in.items, in.scratch }()
	t, err := s.target(in)
	if err != nil {
		return 0, err
	}
	if s.readOnly {
		return 0, refuse(erReadOnlyTx, "25006", "Cannot execute statement in a READ ONLY transaction")
	}
	before := s.rows()
	err = in.rows(func(n int) error {
		if len(in.items) != len(t.schema.Columns) {
			return refuse(erWrongValueCount, "21S01", "Column count doesn't match value count at row %d", n)
		}
		if err := s.take(t, in, n); err != nil {
			return err
		}
		rows = n
		return nil
	})
	if err == nil {
		return rows, nil
	}
	if s.tx != nil { // what came before the statement stays, as in MySQL
		if e := s.tx.RollbackTo(before); e != nil {
			s.rollback()
			return 0, e
		}
	}
	return 0, err
}

// target is where an INSERT's rows go.
type target struct {
	schema *row.Schema
	kinds  []kind // of its columns
}

// target reads the whole statement and resolves its schema. What is not known
// yet is declared from the first row: a number makes a numeric column, all else
// text.
func (s *session) target(in *insertion) (*target, error) {
	if err := in.head(); err != nil {
		return nil, err
	}
	width := 0
	var numeric []bool
	err := in.rows(func(n int) error {
		if n > 1 {
			if len(in.items) != width {
				return refuse(erWrongValueCount, "21S01", "Column count doesn't match value count at row %d", n)
			}
			return nil
		}
		width = len(in.items)
		for _, it := range in.items {
			numeric = append(numeric, it.kind == itemNumber)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.srv.o.Access.Policy().Allow(s.who, in.table); err != nil {
		return nil, err // one learns nothing of tables that one may not write to
	}
	columns, err := s.columns(in, width)
	if err != nil {
		return nil, err
	}
	for i := range columns {
		if columns[i].Type == "" && numeric[i] {
			columns[i].Type = "numeric"
		} else if columns[i].Type == "" {
			columns[i].Type = "text"
		}
	}
	schema, err := s.srv.o.Store.Schema(in.table, columns)
	if err != nil {
		return nil, err
	}
	t := &target{schema: schema, kinds: make([]kind, len(schema.Columns))}
	for i, c := range schema.Columns {
		t.kinds[i] = kindOf(c.Type)
	}
	return t, nil
}

// columns returns the columns that are meant. MySQL does not tell capitals in
// their names apart, so that those that are known keep their spelling.
func (s *session) columns(in *insertion, width int) ([]row.Column, error) {
	known, err := s.srv.o.Store.Columns(in.table)
	if in.names == nil {
		if err != nil {
			return nil, err
		}
		if width != len(known) {
			return nil, refuse(erWrongValueCount, "21S01", "Column count doesn't match value count at row 1 (hint: table '%s' has %d columns: name those that you give)", in.table, len(known))
		}
		return append([]row.Column(nil), known...), nil
	}
	if err != nil && fault.Code(err) != fault.UndefinedTable {
		return nil, err
	}
	columns := make([]row.Column, len(in.names))
	for i, n := range in.names {
		columns[i].Name = n
		for _, c := range known {
			if c.Name == n {
				columns[i] = c
				break
			}
			if strings.EqualFold(c.Name, n) {
				columns[i] = c
			}
		}
	}
	return columns, nil
}
