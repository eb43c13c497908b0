package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"holdfast/row"
	"holdfast/sink"
)

const (
	// maxColumns is SQLITE_MAX_COLUMN as SQLite is built everywhere.
	maxColumns = 2000
	// maxRows is how many rows one statement inserts: a third faster than one
	// row each, and nothing is gained beyond.
	maxRows = 64
	// maxParameters bounds a statement for wide rows; SQLite allows 32766.
	maxParameters = 2000
	// maxPlans bounds what is remembered of schemas.
	maxPlans = 512
)

// tables is what is known of the tables in the file. Other programs may
// change them at any time, so it only holds for one version of the schema.
type tables struct {
	version int64
	partial bool              // whether a statement that fails may leave rows behind
	known   map[string]*table // by folded name
	plans   map[string]*plan  // by row.Schema.Key
}

// table is one table in the file.
type table struct {
	name    string
	columns map[string]affinity // by folded name; empty where there is no such table
	keys    []foreignKey
	orphans string // the query for rows whose foreign keys lead nowhere; empty where each statement checks that
}

// child reports whether the table refers to others.
func (t *table) child() bool { return len(t.keys) > 0 }

// plan is how rows of one schema are inserted.
type plan struct {
	table    *table
	schema   *row.Schema
	cells    []affinity
	converts bool           // whether a cell may hold anything but the text that came
	insert   string         // the statement up to VALUES
	one      string         // the parameters of one row
	tail     string         // behind the rows
	yields   *plan          // the same for rows that yield; nil: not made yet
	rows     int            // most rows in one statement
	made     map[int]string // statements by number of rows
}

// sql returns the statement that inserts n rows.
func (p *plan) sql(n int) string {
	if len(p.cells) == 0 {
		return p.insert
	}
	if p.made[n] == "" {
		p.made[n] = p.insert + strings.Repeat(p.one+",", n-1) + p.one + p.tail
	}
	return p.made[n]
}

// yielding returns how rows of p are inserted that yield.
func (p *plan) yielding() *plan {
	if len(p.cells) == 0 { // a row of nothing but defaults has no key to yield to
		return p
	}
	if p.yields == nil {
		twin := *p
		twin.made, twin.tail = map[int]string{}, " ON CONFLICT DO NOTHING"
		p.yields = &twin
	}
	return p.yields
}

// refresh forgets everything where the schema was changed since. The write
// lock is held, so it stays true for the whole transaction.
func (t *tables) refresh(c *conn) error {
	v, err := c.query(context.Background(), "PRAGMA schema_version")
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	version, _ := v[0][0].(int64)
	if t.known == nil || version != t.version || len(t.plans) > maxPlans {
		*t = tables{version: version, known: map[string]*table{}, plans: map[string]*plan{}}
		// ON CONFLICT FAIL and RAISE(FAIL) keep the rows in front of the one
		// refused, also where a trigger reaches them; and so does a STRICT table,
		// against SQLite's manual (3.51, several rows in one statement). A
		// savepoint undoes them, but around each statement it costs 2 % of a load.
		fail, err := c.query(context.Background(), "SELECT 1 FROM sqlite_schema WHERE sql LIKE '%fail%' OR sql LIKE '%strict%' LIMIT 1")
		if err != nil {
			return fmt.Errorf("read schema: %w", err)
		}
		t.partial = len(fail) > 0
	}
	return nil
}

// plan returns how rows of s are inserted. Unless fixed is set, it creates
// what is missing in the file.
func (t *tables) plan(c *conn, s *row.Schema, fixed bool) (*plan, error) {
	key := s.Key()
	if p := t.plans[key]; p != nil {
		return p, nil
	}
	if err := CheckSchema(s); err != nil {
		return nil, err
	}
	tab, err := t.look(c, s.Table)
	if err != nil {
		return nil, err
	}
	if err := tab.complete(c, s, fixed); err != nil {
		return nil, err
	}
	p := &plan{table: tab, schema: s, made: map[int]string{}, rows: max(1, min(maxRows, maxParameters/max(1, len(s.Columns))))}
	names := make([]string, len(s.Columns))
	for i, col := range s.Columns {
		names[i] = quote(col.Name)
		p.cells = append(p.cells, tab.columns[FoldName(col.Name)])
		p.converts = p.converts || p.cells[i] != affText
	}
	p.insert = "INSERT INTO " + quote(s.Table) + " (" + strings.Join(names, ",") + ") VALUES "
	p.one = "(" + strings.TrimSuffix(strings.Repeat("?,", len(names)), ",") + ")"
	if len(names) == 0 {
		p.insert, p.rows = "INSERT INTO "+quote(s.Table)+" DEFAULT VALUES", 1
	}
	t.plans[key] = p
	return p, nil
}

// look reads a table's columns.
func (t *tables) look(c *conn, name string) (*table, error) {
	key := FoldName(name)
	if tab := t.known[key]; tab != nil {
		return tab, nil
	}
	rows, err := c.query(context.Background(), "SELECT name, type FROM pragma_table_xinfo(?)", name)
	if err != nil {
		return nil, fmt.Errorf("read columns of table %q: %w", name, err)
	}
	tab := &table{name: name, columns: map[string]affinity{}}
	for _, r := range rows {
		column, ok1 := r[0].(string)
		decl, ok2 := r[1].(string)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("read columns of table %q: got %v", name, r)
		}
		tab.columns[FoldName(column)] = affinityOf(decl)
	}
	if len(tab.columns) > 0 {
		if err := tab.lookKeys(c); err != nil {
			return nil, fmt.Errorf("read foreign keys of table %q: %w", name, err)
		}
	}
	t.known[key] = tab
	return tab, nil
}

// complete creates the table, or its columns, that s has and the file has not.
func (t *table) complete(c *conn, s *row.Schema, fixed bool) error {
	var missing []row.Column
	for _, col := range s.Columns {
		if _, ok := t.columns[FoldName(col.Name)]; !ok {
			missing = append(missing, col)
		}
	}
	exists := len(t.columns) > 0
	switch {
	case exists && len(missing) == 0:
		return nil
	case !exists && len(s.Columns) == 0:
		return refuse(s, "a table cannot be created from a row without columns")
	case fixed && !exists:
		return fmt.Errorf("insert into table %q: there is no such table, and creating is switched off", s.Table)
	case fixed:
		return fmt.Errorf("insert into table %q: there is no column %q, and creating is switched off", s.Table, missing[0].Name)
	}
	var script []string
	for _, col := range missing {
		script = append(script, quote(col.Name)+" "+declared(col.Type))
	}
	if exists {
		for i := range script {
			script[i] = "ALTER TABLE " + quote(s.Table) + " ADD COLUMN " + script[i]
		}
	} else {
		script = []string{"CREATE TABLE " + quote(s.Table) + " (" + strings.Join(script, ", ") + ")"}
	}
	for i, sql := range script {
		if _, err := c.exec(context.Background(), sql); err != nil {
			if alias := FoldName(missing[i].Name); exists && (alias == "rowid" || alias == "oid" || alias == "_rowid_") {
				return refuse(s, fmt.Sprintf("column %q is SQLite's own number of a row, and cannot be added to a table", alias))
			}
			return fmt.Errorf("create table or column for %q: %w", s.Table, err)
		}
	}
	for _, col := range missing {
		t.columns[FoldName(col.Name)] = affinityOf(declared(col.Type))
	}
	return nil
}

// CheckSchema returns a *sink.RowError where no SQLite file can take rows of
// s, whatever is done to its tables: a door that asks first can refuse them
// to the writer. It opens nothing, and is safe for concurrent use.
func CheckSchema(s *row.Schema) error {
	name := FoldName(s.Table)
	switch {
	case name == "" || strings.ContainsRune(name, 0):
		return refuse(s, "the name of a table must not be empty or contain NUL")
	case strings.HasPrefix(name, "sqlite_"), strings.HasPrefix(name, "holdfast_"):
		return refuse(s, "names that begin with sqlite_ or holdfast_ are reserved in this sink")
	case len(s.Columns) > maxColumns:
		return refuse(s, fmt.Sprintf("%d columns are more than the %d that SQLite takes", len(s.Columns), maxColumns))
	}
	seen := make(map[string]string, len(s.Columns))
	for _, col := range s.Columns {
		key := FoldName(col.Name)
		if key == "" || strings.ContainsRune(key, 0) {
			return refuse(s, "the name of a column must not be empty or contain NUL")
		}
		if other, twice := seen[key]; twice {
			return refuse(s, fmt.Sprintf("columns %q and %q are one column to SQLite, which ignores the case of A to Z", other, col.Name))
		}
		seen[key] = col.Name
	}
	return nil
}

func refuse(s *row.Schema, why string) error {
	return &sink.RowError{Table: s.Table, Code: "schema", Err: errors.New(why)}
}
