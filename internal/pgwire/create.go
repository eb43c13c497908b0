package pgwire

import (
	"slices"
	"strings"

	"holdfast/internal/fault"
	"holdfast/row"
)

// createStatement is CREATE TABLE: a declaration of columns and their types.
// It is durable when it is answered, and a ROLLBACK does not take it back.
type createStatement struct {
	table   string
	columns []Column
	unless  bool     // IF NOT EXISTS
	key     []string // of the table
	ignored string   // the first thing that was read over
}

func readCreate(l *lexer, _ *session) (statement, error) {
	at := l.pos
	l.keyword("create")
	if !l.keyword("table") {
		l.pos = at
		l.space()
		return nil, l.refuse("of all CREATE statements only CREATE TABLE is taken", "it declares a table's columns; all else is made in the sink's database")
	}
	st := &createStatement{unless: l.keywords("if", "not", "exists")}
	var err error
	if st.table, err = l.tableName(); err != nil {
		return nil, err
	}
	if !l.punct('(') {
		return nil, l.refuse("CREATE TABLE without a list of columns is not taken", "write the columns and their types in parentheses")
	}
	for {
		if err := st.element(l); err != nil {
			return nil, err
		}
		if l.punct(')') {
			break
		}
		if err := l.want(','); err != nil {
			return nil, err
		}
	}
	if len(st.columns) == 0 {
		return nil, fault.New(fault.SyntaxError, "table %q has no columns", st.table)
	}
	for i, c := range st.columns {
		st.columns[i].NotNull = c.NotNull || slices.Contains(st.key, c.Name)
	}
	switch {
	case l.keyword("with"):
		st.ignore("WITH")
		err = l.skipParens()
	case l.keywords("without", "oids"):
	case l.keyword("tablespace"):
		st.ignore("TABLESPACE")
		_, err = l.name()
	}
	if err != nil {
		return nil, err
	}
	if w := l.word(); w != nil {
		return nil, l.refuse("CREATE TABLE ... "+strings.ToUpper(lower(w))+" is not taken", "only columns and their types are declared here")
	}
	return st, l.wantEnd()
}

func (st *createStatement) ignore(what string) {
	if st.ignored == "" {
		st.ignored = what
	}
}

// element reads a column, or a constraint of the table.
func (st *createStatement) element(l *lexer) error {
	switch w := lower(l.word()); w {
	case "constraint", "primary", "unique", "check", "foreign", "exclude":
		if w == "exclude" { // not a reserved word, so it may be a column
			if again := *l; again.keyword("exclude") && again.at(0) != '(' && !fold(again.word(), "using") {
				break
			}
		}
		st.ignore(strings.ToUpper(w))
		return st.tableConstraint(l)
	case "like":
		return l.refuse("CREATE TABLE ... LIKE is not taken", "write the columns and their types")
	}
	l.space()
	at := l.pos
	name, err := l.name()
	if err != nil {
		return err
	}
	t, err := l.sqlType()
	if err != nil {
		return err
	}
	for _, c := range st.columns {
		if c.Name == name {
			return place(fault.New(fault.DuplicateColumn, "column %q specified more than once", name), l.src, at)
		}
	}
	if len(st.columns) == maxColumns {
		return fault.New(fault.TooManyColumns, "tables have at most %d columns", maxColumns)
	}
	c := Column{Column: row.Column{Name: name, Type: t.String()}}
	if strings.HasSuffix(t.name, "serial") && t.dims == 0 {
		c.NotNull, c.Default = true, true
	}
	err = st.columnConstraints(l, &c)
	st.columns = append(st.columns, c)
	return err
}

// columnWords are what a constraint of a column begins with.
var columnWords = map[string]bool{"constraint": true, "not": true, "null": true, "default": true, "primary": true,
	"unique": true, "references": true, "check": true, "collate": true, "generated": true, "storage": true, "compression": true}

// columnConstraints reads what stands behind a column's type. Whether it must
// have a value, and whether one is filled in, is kept.
func (st *createStatement) columnConstraints(l *lexer, c *Column) error {
	if w := l.word(); w != nil && !columnWords[lower(w)] {
		return l.syntax()
	}
	for {
		l.space()
		switch l.at(0) {
		case ',', ')':
			return nil
		case ';':
			return l.syntax()
		case '(':
			if err := l.skipParens(); err != nil {
				return err
			}
			continue
		}
		w := lower(l.word())
		switch {
		case l.keywords("not", "null"):
			c.NotNull = true
			continue
		case l.keywords("default", "null"), l.keyword("null"), l.keywords("set", "default"):
			continue
		case l.keywords("primary", "key"):
			c.NotNull = true
		case l.keywords("generated", "always"):
			c.Generated = true
		case l.keyword("generated"), l.keyword("default"):
			c.Default = true
		default:
			if err := l.skip(); err != nil {
				return err
			}
		}
		if columnWords[w] {
			st.ignore(strings.ToUpper(w))
		}
	}
}

// tableConstraint reads a constraint of the table. The columns of its PRIMARY
// KEY must have values.
func (st *createStatement) tableConstraint(l *lexer) error {
	if l.keyword("constraint") {
		if _, err := l.name(); err != nil {
			return err
		}
	}
	if l.keywords("primary", "key") {
		names, err := l.columnList()
		if err != nil {
			return err
		}
		st.key = names
	}
	return l.constraints()
}

// constraints reads over everything up to the element's end.
func (l *lexer) constraints() error {
	for {
		l.space()
		switch l.at(0) {
		case ',', ')':
			return nil
		case ';':
			return l.syntax()
		case '(':
			if err := l.skipParens(); err != nil {
				return err
			}
			continue
		}
		if err := l.skip(); err != nil {
			return err
		}
	}
}

func (st *createStatement) run(s *session, _ *portal) error {
	if s.readOnly {
		return s.mayWrite("CREATE TABLE")
	}
	err := s.declare(st.table, st.columns)
	switch {
	case err != nil && st.unless && fault.Code(err) == fault.DuplicateTable:
		s.notice("NOTICE", fault.DuplicateTable, "relation \""+st.table+"\" already exists, skipping")
	case err != nil:
		return err
	case st.ignored != "":
		s.notice("NOTICE", "00000", st.ignored+" is not kept: columns, their types and NOT NULL are declared, all else is the sinks' own")
	}
	s.complete("CREATE TABLE")
	return nil
}
