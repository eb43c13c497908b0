package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"holdfast/row"
	"holdfast/sink"
)

const (
	// maxColumns is what PostgreSQL takes in a table.
	maxColumns = 1600
	// maxName is what it takes in a name; it cuts longer ones, so that two of
	// them would be one table.
	maxName = 63
	// maxPlans bounds what is remembered of schemas.
	maxPlans = 512
)

// tables is what is known of the tables. Others may change them at any time,
// so it is forgotten after each error.
type tables struct {
	known map[string]*table
	plans map[string]*plan // by row.Schema.Key
}

func newTables() tables { return tables{map[string]*table{}, map[string]*plan{}} }

// table is one table in the database.
type table struct {
	name    string
	exists  bool
	columns map[string]bool // whether it is generated, by name
	keys    []key
	before  bool // triggers may change rows before they are judged
}

// key is a constraint that may be checked behind the row that breaks it.
type key struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind"` // f: foreign key, u and p: unique, x: exclusion, t: a trigger
	Columns  []string `json:"columns"`
	Parent   string   `json:"parent"` // of a foreign key to a table in the same schema
	Deferred bool     `json:"deferred"`
}

// deferred reports whether something about t is checked at COMMIT only.
func (t *table) deferred() bool {
	return slices.ContainsFunc(t.keys, func(k key) bool { return k.Deferred })
}

// has reports whether t is known to have a constraint.
func (t *table) has(name string) bool {
	return slices.ContainsFunc(t.keys, func(k key) bool { return k.Name == name })
}

// plan is how rows of one schema are copied.
type plan struct {
	table   *table
	schema  *row.Schema
	copy    string           // the COPY statement
	insert  string           // INSERT up to VALUES, in the place of copy; "": none
	yields  *plan            // the same for rows that yield; nil: not made yet
	refused *sink.RowError   // for what the schema is; the row's number is missing in it
	keys    map[string][]int // of each of the table's keys that the schema has whole, the values' places
}

// plan returns how rows of s are copied. Unless fixed is set, it creates what
// is missing.
func (l *load) plan(s *row.Schema) (*plan, error) {
	c := l.conn
	id := s.Key()
	if p := c.tables.plans[id]; p != nil {
		return p, nil
	}
	if len(c.tables.plans) >= maxPlans {
		clear(c.tables.plans)
	}
	p := &plan{schema: s, refused: CheckSchema(s), keys: map[string][]int{}}
	if p.refused == nil {
		if err := l.resolve(p); err != nil {
			return nil, err
		}
	}
	c.tables.plans[id] = p
	return p, nil
}

// resolve fills in what p needs of the database.
func (l *load) resolve(p *plan) error {
	if err := l.wait(); err != nil { // the connection is taken while a COPY runs
		return err
	}
	s := p.schema
	t, err := l.conn.look(l.ctx, s.Table)
	if err != nil {
		return err
	}
	if err := l.complete(t, s); err != nil {
		return err
	}
	p.table = t
	names := make([]string, len(s.Columns))
	place := map[string]int{}
	for i, col := range s.Columns {
		if t.columns[col.Name] {
			p.refused = refuse(s, "428C9", fmt.Sprintf("column %q is a generated column", col.Name))
		}
		names[i], place[col.Name] = quote(col.Name), i
	}
	target := quote(l.conn.schema) + "." + quote(s.Table)
	p.copy = "COPY " + target + " (" + strings.Join(names, ", ") + ") FROM STDIN"
	if len(names) == 0 {
		p.copy = "INSERT INTO " + target + " SELECT FROM generate_series(1, $1::bigint)"
	}
keys:
	for _, k := range t.keys {
		places := make([]int, len(k.Columns))
		for i, name := range k.Columns {
			at, ok := place[name]
			if !ok {
				continue keys
			}
			places[i] = at
		}
		p.keys[k.Name] = places
	}
	return nil
}

const (
	lookTable   = `SELECT to_regclass($1) IS NOT NULL, EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal AND tgtype & 2 <> 0)`
	lookColumns = `SELECT attname, attgenerated <> '' FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`
	lookKeys    = `SELECT json_build_object('name', k.conname, 'kind', k.contype, 'deferred', k.condeferred,
  'parent', (SELECT p.relname FROM pg_class p JOIN pg_class c ON c.relnamespace = p.relnamespace WHERE p.oid = k.confrelid AND c.oid = k.conrelid),
  'columns', (SELECT json_agg(a.attname ORDER BY o) FROM unnest(k.conkey) WITH ORDINALITY u(n, o) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n))
FROM pg_constraint k WHERE k.conrelid = to_regclass($1) AND k.contype IN ('f', 'u', 'p', 'x', 't') ORDER BY k.conname`
)

// look reads what the database knows of a table.
func (c *conn) look(ctx context.Context, name string) (*table, error) {
	if t := c.tables.known[name]; t != nil {
		return t, nil
	}
	args := []string{quote(c.schema) + "." + quote(name)}
	results, err := c.run(ctx, statement{lookTable, args}, statement{lookColumns, args}, statement{lookKeys, args})
	if err != nil {
		return nil, fmt.Errorf("look at table %q: %w", name, err)
	}
	t := &table{name: name, columns: map[string]bool{}}
	first := results[0].Rows[0]
	t.exists, t.before = string(first[0]) == "t", string(first[1]) == "t"
	for _, r := range results[1].Rows {
		t.columns[string(r[0])] = string(r[1]) == "t"
	}
	for _, r := range results[2].Rows {
		var k key
		if err := json.Unmarshal(r[0], &k); err != nil {
			return nil, fmt.Errorf("look at constraints of table %q: %w", name, err)
		}
		t.keys = append(t.keys, k)
	}
	c.tables.known[name] = t
	return t, nil
}

// complete creates the table, or its columns, that s has and the database has
// not. A type that it does not take becomes text.
func (l *load) complete(t *table, s *row.Schema) error {
	var missing []row.Column
	for _, col := range s.Columns {
		if _, ok := t.columns[col.Name]; !ok {
			missing = append(missing, col)
		}
	}
	switch {
	case t.exists && len(missing) == 0:
		return nil
	case l.fixed && !t.exists:
		return fmt.Errorf("insert into table %q: there is no such table in schema %q, and creating is switched off", s.Table, l.conn.schema)
	case l.fixed:
		return fmt.Errorf("insert into table %q: there is no column %q, and creating is switched off", s.Table, missing[0].Name)
	}
	if _, err := l.conn.run(l.ctx, lockDDL, statement{sql: "SAVEPOINT create_table"}); err != nil {
		return fmt.Errorf("create table or column for %q: %w", s.Table, err)
	}
	_, err := l.conn.run(l.ctx, statement{sql: l.ddl(t, s.Table, missing, declared)})
	if err != nil && !l.conn.pg.IsClosed() && !isCode(err, "42501", "57014") {
		if _, err := l.conn.run(l.ctx, statement{sql: "ROLLBACK TO SAVEPOINT create_table"}); err != nil {
			return err
		}
		_, err = l.conn.run(l.ctx, statement{sql: l.ddl(t, s.Table, missing, func(string) string { return "text" })})
	}
	if err == nil {
		_, err = l.conn.run(l.ctx, statement{sql: "RELEASE SAVEPOINT create_table"})
	}
	if err != nil {
		return fmt.Errorf("create table or column for %q: %w", s.Table, err)
	}
	t.exists = true
	for _, col := range missing {
		t.columns[col.Name] = false
	}
	return nil
}

func (l *load) ddl(t *table, name string, missing []row.Column, typed func(string) string) string {
	target := quote(l.conn.schema) + "." + quote(name)
	var parts []string
	for _, col := range missing {
		part := quote(col.Name) + " " + typed(col.Type)
		if t.exists {
			part = "ADD COLUMN IF NOT EXISTS " + part
		}
		parts = append(parts, part)
	}
	if t.exists {
		return "ALTER TABLE " + target + " " + strings.Join(parts, ", ")
	}
	return "CREATE TABLE IF NOT EXISTS " + target + " (" + strings.Join(parts, ", ") + ")"
}

// types are those that a column is created with. A schema's type is a client's
// text, so nothing but these comes into a statement.
var types = regexp.MustCompile(`^(?:bool|boolean|bytea|int2|int4|int8|smallint|int|integer|bigint|smallserial|serial|bigserial|serial2|serial4|serial8|` +
	`text|json|jsonb|xml|inet|cidr|macaddr|macaddr8|uuid|oid|name|money|real|float|float4|float8|double precision|date|point|box|path|polygon|line|lseg|circle|tsvector|` +
	`int4range|int8range|numrange|tsrange|tstzrange|daterange|` +
	`(?:numeric|decimal|dec)(?:\([0-9]{1,4}(?:,-?[0-9]{1,4})?\))?|` +
	`(?:varchar|char|character|bpchar|bit|varbit)(?:\([0-9]{1,8}\))?|` +
	`(?:timestamp|timestamptz|time|timetz)(?:\([0-9]\))?|` +
	`interval(?: (?:year|month|day|hour|minute|second|to))*(?:\([0-9]\))?)(?:\[\])*$`)

// declared returns the type that a column is created with.
func declared(t string) string {
	if !types.MatchString(t) {
		return "text"
	}
	return t
}

// system are the columns that every table has already.
var system = []string{"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}

// CheckSchema returns why no PostgreSQL database can take rows of s, whatever
// is done to its tables, or nil. A door that asks first can refuse them to the
// writer. It is safe for concurrent use.
func CheckSchema(s *row.Schema) *sink.RowError {
	switch {
	case s.Table == "" || strings.ContainsRune(s.Table, 0):
		return refuse(s, "42602", "the name of a table must not be empty or contain NUL")
	case len(s.Table) > maxName:
		return refuse(s, "42622", fmt.Sprintf("the name of a table must not have more than %d bytes", maxName))
	case strings.HasPrefix(strings.ToLower(s.Table), "holdfast_"):
		return refuse(s, "42939", "names that begin with holdfast_ are reserved in this sink")
	case len(s.Columns) > maxColumns:
		return refuse(s, "54011", fmt.Sprintf("%d columns are more than the %d that PostgreSQL takes", len(s.Columns), maxColumns))
	}
	seen := make(map[string]bool, len(s.Columns))
	for _, col := range s.Columns {
		switch {
		case col.Name == "" || strings.ContainsRune(col.Name, 0):
			return refuse(s, "42602", "the name of a column must not be empty or contain NUL")
		case len(col.Name) > maxName:
			return refuse(s, "42622", fmt.Sprintf("the name of column %q must not have more than %d bytes", col.Name, maxName))
		case seen[col.Name]:
			return refuse(s, "42701", fmt.Sprintf("column %q is named twice", col.Name))
		case slices.Contains(system, col.Name):
			return refuse(s, "42701", fmt.Sprintf("column %q is one of PostgreSQL's own in every table", col.Name))
		}
		seen[col.Name] = true
	}
	return nil
}

func refuse(s *row.Schema, code, why string) *sink.RowError {
	return &sink.RowError{Table: s.Table, Code: code, Err: errors.New(why)}
}
