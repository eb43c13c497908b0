package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"holdfast/row"
	"holdfast/sink"
)

const (
	// maxColumns is what an InnoDB table has at most.
	maxColumns = 1017
	// maxName is how many characters a name has at most.
	maxName = 64
	// maxFile is how many bytes the file of a table may be called: file
	// systems have 255, and the server appends to it.
	maxFile = 240
	// maxParameters is how many values one prepared statement inserts. More
	// were slower, see decision 9.
	maxParameters = 1000
	// maxRows bounds a statement for narrow rows.
	maxRows = 250
	// maxPlans bounds what is remembered of schemas.
	maxPlans = 512
	// maxAge is how long tables are taken to be as they were when they were
	// looked at. What changes earlier is noticed by an error, or before a row
	// is refused.
	maxAge = 5 * time.Second
)

// tables is what one session knows of the database's tables.
type tables struct {
	known map[string]*table // by folded name
	plans map[string]*plan  // by row.Schema.Key
	read  time.Time         // when the first of them was looked at
}

// table is one table of the database.
type table struct {
	key     string // its folded name
	columns map[string]*column
	parents []string // folded names
	blocked string   // why no row may be written, whatever it is
	fresh   bool     // looked at within this transaction
	written bool     // within this transaction, so that its metadata is locked
}

// column is one column of the database, as information_schema has it.
type column struct {
	name      string
	data      string // DATA_TYPE, in lower case
	full      string // COLUMN_TYPE, in lower case: int(10) unsigned
	scale     int
	notNull   bool
	byDefault bool
	generated bool
	comment   string
}

// plan is how rows of one schema are inserted.
type plan struct {
	table   *table
	schema  *row.Schema
	columns []*column
	kinds   []kind
	insert  string         // the statement up to VALUES
	one     string         // the parameters of one row
	tail    string         // behind the rows
	yields  *plan          // the same for rows that yield; nil: not made yet
	rows    int            // in a full statement
	made    map[int]string // statements by number of rows
}

// sql returns the statement that inserts n rows.
func (p *plan) sql(n int) string {
	if n != p.rows && n != 1 {
		return p.insert + strings.Repeat(p.one+",", n-1) + p.one + p.tail
	}
	if p.made[n] == "" {
		p.made[n] = p.insert + strings.Repeat(p.one+",", n-1) + p.one + p.tail
	}
	return p.made[n]
}

// yielding returns how rows of p are inserted that yield. INSERT IGNORE would
// pass over values that are wrong, too: setting a column to what it is does not.
func (p *plan) yielding() *plan {
	if len(p.schema.Columns) == 0 { // a row of nothing but defaults has no key to yield to
		return p
	}
	if p.yields == nil {
		twin, name := *p, quote(p.schema.Columns[0].Name)
		twin.made, twin.tail = map[int]string{}, " ON DUPLICATE KEY UPDATE "+name+"="+name
		p.yields = &twin
	}
	return p.yields
}

func (t *tables) forget() { *t = tables{} }

// age begins a transaction: what is too old is forgotten.
func (t *tables) age() {
	if t.known == nil || time.Since(t.read) > maxAge || len(t.plans) > maxPlans {
		*t = tables{known: map[string]*table{}, plans: map[string]*plan{}, read: time.Now()}
	}
	for _, tab := range t.known {
		tab.fresh, tab.written = false, false
	}
}

// lateError says that a table must be changed that rows were written to in
// this transaction: the change would wait for the transaction, and the
// transaction for the change.
type lateError struct{ ddl []string }

func (e *lateError) Error() string {
	return "a column was missing in the middle of a transaction; it is created now, and the same rows come again"
}

// plan returns how rows of s are inserted. It creates what is missing in the
// database, if that is allowed.
func (l *load) plan(s *row.Schema) (*plan, error) {
	key := s.Key()
	if p := l.tables.plans[key]; p != nil {
		return p, nil
	}
	if err := CheckSchema(s); err != nil {
		return nil, err
	}
	tab, err := l.look(s.Table)
	if err != nil {
		return nil, err
	}
	if missing := tab.missing(s); len(missing) > 0 || len(tab.columns) == 0 {
		if err := l.create(s, tab, missing); err != nil {
			return nil, err
		}
		now, err := l.conn.describe(l.ctx, s.Table)
		if err != nil {
			return nil, fmt.Errorf("look at table %q: %w", s.Table, err)
		}
		*tab = *now // in place, since other plans of it may be waiting to be written
		if missing := tab.missing(s); len(missing) > 0 {
			return nil, fmt.Errorf("insert into table %q: column %q was created and is not there", s.Table, missing[0].Name)
		}
	}
	if tab.blocked != "" {
		return nil, fmt.Errorf("insert into table %q: %s", s.Table, tab.blocked)
	}
	p := &plan{table: tab, schema: s, made: map[int]string{}, rows: max(1, min(maxRows, maxParameters/max(1, len(s.Columns))))}
	names := make([]string, len(s.Columns))
	for i, col := range s.Columns {
		names[i] = quote(col.Name)
		c := tab.columns[foldColumn(col.Name)]
		p.columns = append(p.columns, c)
		p.kinds = append(p.kinds, kindOf(c.data, col.Type))
	}
	p.insert = "INSERT INTO " + quote(s.Table) + " (" + strings.Join(names, ",") + ") VALUES "
	p.one = "(" + strings.TrimSuffix(strings.Repeat("?,", len(names)), ",") + ")"
	l.tables.plans[key] = p
	return p, nil
}

// missing returns the columns that s has and the table has not.
func (t *table) missing(s *row.Schema) (missing []row.Column) {
	for _, col := range s.Columns {
		if t.columns[foldColumn(col.Name)] == nil {
			missing = append(missing, col)
		}
	}
	return missing
}

// look reads a table, unless it is known.
func (l *load) look(name string) (*table, error) {
	key := l.conn.foldTable(name)
	if tab := l.tables.known[key]; tab != nil {
		return tab, nil
	}
	tab, err := l.conn.describe(l.ctx, name)
	if err != nil {
		return nil, fmt.Errorf("look at table %q: %w", name, err)
	}
	l.tables.known[key] = tab
	return tab, nil
}

// describe reads a table from the database; it has no columns where there is none.
func (c *conn) describe(ctx context.Context, name string) (*table, error) {
	tab := &table{key: c.foldTable(name), fresh: true, columns: map[string]*column{}}
	all, err := c.columns(ctx, " AND table_name = ?", name)
	if err != nil {
		return nil, err
	}
	for _, col := range all[tab.key] {
		tab.columns[foldColumn(col.name)] = col
	}
	parents, err := c.parents(ctx, " AND table_name = ?", name)
	if err != nil {
		return nil, err
	}
	for _, p := range parents[tab.key] {
		tab.parents = append(tab.parents, c.foldTable(p))
	}
	rows, err := c.query(ctx, "SELECT table_name, engine, table_type FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?", name)
	for _, r := range rows {
		engine := r[1].text
		switch {
		case c.foldTable(r[0].text) != tab.key:
		case r[2].text != "BASE TABLE":
			tab.blocked = fmt.Sprintf("it is a %s; rows are written to tables only, where it is known what has transactions", strings.ToLower(r[2].text))
		case !c.engines[strings.ToLower(engine)]:
			tab.blocked = fmt.Sprintf("its engine %s has no transactions, so a row could arrive twice or in part; exactly once needs InnoDB: ALTER TABLE %s ENGINE=InnoDB", engine, quote(name))
		}
	}
	return tab, err
}

// create makes the table, or its columns, that s has and the database has not.
// It is done on another connection: here it would commit half of a batch.
func (l *load) create(s *row.Schema, tab *table, missing []row.Column) error {
	exists := len(tab.columns) > 0
	switch {
	case !exists && len(s.Columns) == 0:
		return refuse(s, "a table cannot be created from a row without columns")
	case l.sink.opts.Fixed && !exists:
		return fmt.Errorf("insert into table %q: there is no such table, and creating is switched off", s.Table)
	case l.sink.opts.Fixed:
		return fmt.Errorf("insert into table %q: there is no column %q, and creating is switched off", s.Table, missing[0].Name)
	}
	// The second form is for tables that are too wide for the first one.
	var ddl []string
	for _, wide := range []bool{false, true} {
		var parts []string
		for _, col := range missing {
			typ := declared(col.Type)
			if wide && strings.HasPrefix(typ, "VARCHAR") {
				typ = "LONGTEXT"
			}
			parts = append(parts, quote(col.Name)+" "+typ)
		}
		if exists {
			ddl = append(ddl, "ALTER TABLE "+quote(s.Table)+" ADD COLUMN "+strings.Join(parts, ", ADD COLUMN "))
		} else {
			ddl = append(ddl, "CREATE TABLE IF NOT EXISTS "+quote(s.Table)+" ("+strings.Join(parts, ", ")+
				") ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
		}
	}
	if tab.written {
		return &lateError{ddl}
	}
	err := l.sink.execute(l.ctx, ddl)
	if number(err) == 1205 { // locked, and maybe by this very transaction: a foreign key locks its parent too
		return &lateError{ddl}
	}
	if err != nil {
		return fmt.Errorf("create table or column for %q: %w", s.Table, err)
	}
	return nil
}

// execute runs the first of ddl; where a row of such a table might become too
// long, which the server refuses in strict mode whatever is in it, the second
// one without that mode. A row that is too long is then refused by itself.
func (s *Sink) execute(ctx context.Context, ddl []string) error {
	return s.briefly(ctx, func(c *conn) error {
		err := c.exec(ctx, ddl[0])
		if number(err) == 1118 {
			if err := c.exec(ctx, "SET SESSION innodb_strict_mode = OFF"); err != nil {
				return err
			}
			err = c.exec(ctx, ddl[1])
		}
		if number(err) == 1060 { // somebody else was faster
			return nil
		}
		return err
	})
}

// CheckSchema returns a *sink.RowError where no database can take rows of s,
// whatever is done to its tables. It connects nowhere, and is safe for
// concurrent use.
func CheckSchema(s *row.Schema) error {
	if why := badName(s.Table); why != "" {
		return refuse(s, "the name of a table "+why)
	}
	file := 0
	for _, r := range s.Table {
		if file++; !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r == '$') {
			file += 4 // @0040
		}
	}
	switch {
	case strings.HasPrefix(strings.ToLower(s.Table), "holdfast_"):
		return refuse(s, "names that begin with holdfast_ are reserved in this sink")
	case strings.HasPrefix(strings.ToLower(s.Table), "#mysql50#"):
		return refuse(s, "names that begin with #mysql50# are names of files to this database")
	case file > maxFile:
		return refuse(s, "the name is too long for a file, in which each character that is no letter of A to Z counts for five")
	case len(s.Columns) > maxColumns:
		return refuse(s, fmt.Sprintf("%d columns are more than the %d that InnoDB takes", len(s.Columns), maxColumns))
	}
	seen := make(map[string]string, len(s.Columns))
	for _, col := range s.Columns {
		if why := badName(col.Name); why != "" {
			return refuse(s, "the name of a column "+why)
		}
		key := foldColumn(col.Name)
		if other, twice := seen[key]; twice {
			return refuse(s, fmt.Sprintf("columns %q and %q are one column to this database, which ignores case", other, col.Name))
		}
		seen[key] = col.Name
	}
	return nil
}

// badName returns why a name cannot be one, "" where it can.
func badName(name string) string {
	switch {
	case name == "":
		return "must not be empty"
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		return "must be UTF-8 without NUL"
	case utf8.RuneCountInString(name) > maxName:
		return fmt.Sprintf("has more than %d characters", maxName)
	case strings.HasSuffix(name, " "):
		return "must not end in a blank in this database"
	case strings.IndexFunc(name, func(r rune) bool { return r > 0xffff }) >= 0:
		return "must not contain characters beyond U+FFFF (emoji, for one) in this database"
	}
	return ""
}

func refuse(s *row.Schema, why string) error {
	return &sink.RowError{Table: s.Table, Code: "schema", Err: errors.New(why)}
}

// foldColumn returns a column's name as the database compares it.
func foldColumn(name string) string { return strings.ToLower(name) }

// foldTable returns a table's name as this server compares it.
func (c *conn) foldTable(name string) string {
	if c.folds {
		return strings.ToLower(name)
	}
	return name
}

// same reports whether two readings of a table agree in what plans rest on.
func (t *table) same(o *table) bool {
	if len(t.columns) != len(o.columns) || t.blocked != o.blocked || !slices.Equal(t.parents, o.parents) {
		return false
	}
	for key, c := range t.columns {
		if d := o.columns[key]; d == nil || *c != *d {
			return false
		}
	}
	return true
}
