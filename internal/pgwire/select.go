package pgwire

import (
	"strconv"
	"strings"

	"holdfast/internal/fault"
)

// expression is one column of the few SELECTs that are answered.
type expression struct {
	name string
	oid  uint32
	null bool
	eval func(s *session) (string, error)
}

// answer is a statement with one row, which it can give without any table:
// SHOW, and SELECT without FROM.
type answer struct {
	tag   string
	items []expression
	none  bool // no row at all
}

func (a *answer) cells(*session) ([]cell, error) {
	cells := make([]cell, len(a.items))
	for i, e := range a.items {
		cells[i] = cell{name: e.name, oid: e.oid, null: e.null}
	}
	return cells, nil
}

func (a *answer) run(s *session, p *portal) error {
	if a.none {
		s.completeRows("SELECT ", 0)
		return nil
	}
	cells, err := a.cells(s)
	if err != nil {
		return err
	}
	for i, e := range a.items {
		if cells[i].text, err = e.eval(s); err != nil {
			return err
		}
	}
	var formats []int16
	if p != nil {
		formats = p.formats
	}
	if err := s.dataRow(cells, formats); err != nil {
		return err
	}
	if a.tag == "SHOW" {
		s.complete("SHOW")
		return nil
	}
	s.completeRows("SELECT ", 1)
	return nil
}

// columnsOf is "SELECT a, b FROM t", which is described, because that is how
// pgx learns the types for a binary COPY, but never run.
type columnsOf struct {
	table string
	names []string
}

func (c *columnsOf) cells(s *session) ([]cell, error) {
	columns, err := s.columns(c.table)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]string, len(columns))
	for _, col := range columns {
		byName[col.Name] = col.Type
	}
	cells := make([]cell, len(c.names))
	for i, n := range c.names {
		ty, ok := byName[n]
		if !ok {
			return nil, fault.New(fault.UndefinedColumn, "column %q of table %q does not exist", n, c.table).
				WithHint("declare it with CREATE TABLE, or write it once with INSERT")
		}
		if cells[i] = (cell{name: n, oid: typeOf(ty).oid()}); cells[i].oid == 0 {
			cells[i].oid = oidText // a column that sinks make a text column
		}
	}
	return cells, nil
}

func (c *columnsOf) run(*session, *portal) error {
	return fault.New(fault.FeatureNotSupported, "table %q cannot be read here", c.table).WithHint("%s", insertOnly)
}

// readSelect reads SELECT of constants and of what drivers ask a server.
func readSelect(l *lexer, s *session) (statement, error) {
	at := l.pos
	l.keyword("select")
	if c := columnsFrom(*l); c != nil {
		l.pos = len(l.src)
		return c, nil
	}
	a := &answer{tag: "SELECT"}
	for {
		e, ok := l.expression()
		if !ok || len(a.items) == maxColumns {
			return l.noSelect(at, s)
		}
		if l.keyword("as") || l.word() != nil && !reserved[lower(l.word())] {
			n, err := l.name()
			if err != nil {
				return nil, err
			}
			e.name = n
		}
		a.items = append(a.items, e)
		if !l.punct(',') {
			break
		}
	}
	if !l.end() {
		return l.noSelect(at, s)
	}
	return a, nil
}

// noSelect refuses, but for the question that Kamailio asks before it uses a
// table: its version, where the configured profile has one.
func (l *lexer) noSelect(at int, s *session) (statement, error) {
	l.pos = at
	if l.keywords("select", "table_version", "from", "version", "where", "table_name") && l.punct('=') {
		if table, err := l.settingValue(); err == nil && l.end() {
			version, ok := 0, false
			if s.srv.versionOf != nil {
				version, ok = s.srv.versionOf(table)
			}
			one := constant("table_version", oidInt4, strconv.Itoa(version))
			return &answer{tag: "SELECT", items: []expression{one}, none: !ok}, nil
		}
	}
	l.pos = at
	l.space()
	return nil, l.refuse("this SELECT is not answered", insertOnly)
}

// columnsFrom reads "a, b FROM t" where nothing else is there.
func columnsFrom(l lexer) *columnsOf {
	c := new(columnsOf)
	for {
		n, err := l.name()
		if err != nil || len(c.names) == maxColumns {
			return nil
		}
		c.names = append(c.names, n)
		if !l.punct(',') {
			break
		}
	}
	if !l.keyword("from") {
		return nil
	}
	var err error
	if c.table, err = l.tableName(); err != nil || !l.end() || l.pos < len(l.src) {
		return nil
	}
	return c
}

// expression reads a constant or a function that is answered.
func (l *lexer) expression() (expression, bool) {
	l.space()
	switch c := l.at(0); {
	case l.pos >= len(l.src):
		return expression{}, false
	case class[c]&isDigit != 0:
		n, err := l.number()
		_, bad := strconv.ParseInt(string(n), 10, 32)
		return constant("?column?", oidInt4, string(n)), err == nil && bad == nil
	case stringAhead(l):
		var scratch []byte
		v, _, err := l.literal(&scratch)
		return constant("?column?", oidText, string(v)), err == nil
	}
	w := l.word()
	if w == nil {
		return expression{}, false
	}
	name := lower(w)
	l.pos += len(w)
	switch name {
	case "true", "false":
		return constant("bool", oidBool, name[:1]), true
	case "null":
		e := constant("?column?", oidText, "")
		e.null = true
		return e, true
	case "pg_catalog":
		if l.punct('.') {
			return l.expression()
		}
		return expression{}, false
	}
	if l.punct('(') {
		return l.function(name)
	}
	eval, ok := sessionWords[name]
	return expression{name: name, oid: oidName, eval: eval}, ok
}

func constant(name string, oid uint32, text string) expression {
	return expression{name: name, oid: oid, eval: func(*session) (string, error) { return text, nil }}
}

// sessionWords are functions that SQL writes without parentheses.
var sessionWords = map[string]func(*session) (string, error){
	"current_user":    func(s *session) (string, error) { return s.user, nil },
	"session_user":    func(s *session) (string, error) { return s.user, nil },
	"user":            func(s *session) (string, error) { return s.user, nil },
	"current_catalog": func(s *session) (string, error) { return s.database, nil },
	"current_schema":  func(*session) (string, error) { return "public", nil },
}

// function reads the arguments of a function, all of them strings or words, and
// the parenthesis that closes them.
func (l *lexer) function(name string) (expression, bool) {
	var args []string
	for !l.punct(')') {
		l.space()
		if len(args) > 0 && !l.punct(',') {
			return expression{}, false
		}
		v, err := l.settingValue()
		if err != nil || len(args) == 4 {
			return expression{}, false
		}
		args = append(args, v)
	}
	e := expression{name: name, oid: oidText}
	switch {
	case name == "version" && len(args) == 0:
		e.eval = func(*session) (string, error) {
			return "PostgreSQL " + serverVersion + ", an insert-only database", nil
		}
	case name == "current_database" && len(args) == 0:
		e.oid, e.eval = oidName, sessionWords["current_catalog"]
	case name == "current_schema" && len(args) == 0:
		e.oid, e.eval = oidName, sessionWords["current_schema"]
	case name == "pg_backend_pid" && len(args) == 0:
		e.oid, e.eval = oidInt4, func(s *session) (string, error) { return strconv.Itoa(int(s.pid)), nil }
	case name == "pg_is_in_recovery" && len(args) == 0:
		e.oid, e.eval = oidBool, func(*session) (string, error) { return "f", nil }
	case name == "pg_advisory_unlock_all" && len(args) == 0:
		e.null, e.eval = true, func(*session) (string, error) { return "", nil }
	case name == "now" && len(args) == 0:
		e.oid, e.eval = oidTimestamptz, func(s *session) (string, error) {
			return string(reading{word: wordNow, as: "timestamptz"}.appendText(nil, s.moment(false))), nil
		}
	case name == "current_setting" && len(args) >= 1:
		e.eval = func(s *session) (string, error) { return s.shown(args[0]) }
	case name == "set_config" && len(args) == 3:
		local, ok := parseBool(args[2])
		e.eval = func(s *session) (string, error) {
			st := &setStatement{name: strings.ToLower(args[0]), value: args[1], local: local}
			if err := s.assign(st); err != nil {
				return "", err
			}
			return s.shown(st.name)
		}
		return e, ok
	default:
		return expression{}, false
	}
	return e, true
}
