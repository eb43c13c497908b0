package pgwire

import (
	"strings"

	"holdfast/internal/fault"
	"holdfast/row"
)

// createStatement is CREATE TABLE: a declaration of columns and their types.
// It is durable when it is answered, and a ROLLBACK does not take it back.
type createStatement struct {
	table   string
	columns []row.Column
	unless  bool   // IF NOT EXISTS
	ignored string // the first thing that was read over
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
		return l.constraints()
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
	st.columns = append(st.columns, row.Column{Name: name, Type: t.String()})
	w := l.word()
	if w == nil {
		return nil
	}
	if !columnWords[lower(w)] {
		return l.syntax()
	}
	st.ignore(strings.ToUpper(lower(w)))
	return l.constraints()
}

// columnWords are what a constraint of a column begins with.
var columnWords = map[string]bool{"constraint": true, "not": true, "null": true, "default": true, "primary": true,
	"unique": true, "references": true, "check": true, "collate": true, "generated": true, "storage": true, "compression": true}

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
	err := s.srv.store.Declare(st.table, st.columns)
	switch {
	case err != nil && st.unless && fault.Code(err) == fault.DuplicateTable:
		s.notice("NOTICE", fault.DuplicateTable, "relation \""+st.table+"\" already exists, skipping")
	case err != nil:
		return err
	case st.ignored != "":
		s.notice("NOTICE", "00000", st.ignored+" is not kept: columns and types are declared, constraints and defaults are the sinks' own")
	}
	s.complete("CREATE TABLE")
	return nil
}
