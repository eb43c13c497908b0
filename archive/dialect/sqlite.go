package dialect

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"net/url"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"

	"holdfast/archive"
	"holdfast/internal/fault"
)

// lite is SQLite. Everything is in one transaction there: the new tables are
// made from the old ones' own definitions, under their own names.
type lite struct {
	path string
	held *sql.Conn // of the file that keeps a second run away
}

var _ engine = (*lite)(nil)

// hashFunction is known to each connection of this process: SQLite has none.
const hashFunction = "holdfast_archive_hash"

func init() {
	sqlite.MustRegisterDeterministicScalarFunction(hashFunction, 1, func(_ *sqlite.FunctionContext, args []sqldriver.Value) (sqldriver.Value, error) {
		h := fnv.New64a()
		switch v := args[0].(type) {
		case string:
			h.Write([]byte(v))
		case []byte:
			h.Write(v)
		}
		sum := h.Sum64()
		sum ^= sum >> 33 // so that no bit of it is weaker than another
		sum *= 0xff51afd7ed558ccd
		sum ^= sum >> 33
		return int64(sum >> 1), nil
	})
}

// openSQLite opens a file that is there.
func openSQLite(ctx context.Context, text string) (*Session, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(text, "sqlite:"), "//")
	if path == "" || strings.HasPrefix(path, ":") {
		return nil, fault.New(fault.InvalidParameterValue, "the URL of the database names no file").WithHint("sqlite:/path/to/file.db")
	}
	pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=rw&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	l := &lite{path: path}
	s, err := start(ctx, l, pool, path, l.begin)
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return nil, f.WithHint("the file must be there, and an SQLite database that you may read and write; it is not made")
	}
	if err == nil {
		s.also = l.unlock
	}
	return s, err
}

// begin says how long others' locks are waited for, which holds nobody up
// here, and how renaming works:
// views and triggers keep the names that they were written with, and foreign
// keys follow the table.
func (*lite) begin(ctx context.Context, s *Session) error {
	for _, one := range []string{"busy_timeout = 20000", "foreign_keys = ON", "legacy_alter_table = ON", "recursive_triggers = OFF"} {
		if _, err := s.ExecContext(ctx, "PRAGMA "+one); err != nil {
			return err
		}
	}
	_, err := Rows(ctx, s, "SELECT count(*) FROM sqlite_schema")
	return err
}

// lock holds a second file, which the kernel lets go of when the process dies:
// the database itself must stay open for others.
func (l *lite) lock(ctx context.Context, s *Session) (bool, error) {
	if l.held != nil {
		return true, nil
	}
	pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: l.path + "-holdfast-archive"}).EscapedPath()+"?_pragma=busy_timeout(1)")
	if err != nil {
		return false, err
	}
	c, err := pool.Conn(ctx)
	if err == nil {
		_, err = c.ExecContext(ctx, "BEGIN EXCLUSIVE")
	}
	if err != nil {
		if c != nil {
			c.Close()
		}
		pool.Close()
		if l.busy(err) {
			return false, nil
		}
		return false, err
	}
	l.held = c
	s.also = func() error { return errors.Join(l.unlock(), pool.Close()) }
	return true, nil
}

func (l *lite) unlock() error {
	if l.held == nil {
		return nil
	}
	c := l.held
	l.held = nil
	return c.Close()
}

func (*lite) now() string { return "SELECT CAST(strftime('%s', 'now') AS INTEGER)" }

func (*lite) commits() bool { return false }

// busy reports whether another connection held a lock: SQLITE_BUSY and
// SQLITE_LOCKED, with whatever stands in the bits above.
func (*lite) busy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == 5 || e.Code()&0xff == 6)
}

// exclusive takes the write lock of the whole file.
func (*lite) exclusive(ctx context.Context, s *Session, _ []string, what func(q Querier) error) (held time.Duration, err error) {
	began := time.Now()
	err = s.In(ctx, func(q Querier) error {
		began = time.Now()
		return what(q)
	})
	return time.Since(began), err
}

// Quote writes the name of a table.
func (l *lite) Quote(name string) string { return l.Column(name) }

// Column writes the name of a column.
func (*lite) Column(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Text writes a text.
func (*lite) Text(text string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(text, "\x00", ""), "'", "''") + "'"
}

// Second returns the whole second of a date that is written as text.
func (*lite) Second(column string) string { return "CAST(strftime('%s', " + column + ") AS INTEGER)" }

// Readable returns nothing: whoever has the file may read it.
func (*lite) Readable(string) string { return "" }

// Made returns how a numbered key is declared: one whose numbers never return.
func (*lite) Made() (numbered, options string) {
	return "INTEGER PRIMARY KEY AUTOINCREMENT", ""
}

// Reserve returns nothing: whoever writes has the file for himself.
func (*lite) Reserve(string) string { return "" }

// Twin is what a twin would be called; the swap makes the new table itself.
func (*lite) Twin(table string, stamp int64) string { return Twin(table, stamp) }

// Swapped reports that it did not: the note of it is in the same transaction.
func (*lite) Swapped(context.Context, Querier, []string, int64) (bool, error) { return false, nil }

// Undo returns nothing: before the swap nothing is made.
func (*lite) Undo([]string, int64) []string { return nil }

// Behind returns nothing: the swap did it all.
func (*lite) Behind(context.Context, Querier, []*Table, int64) (first, last []string, err error) {
	return nil, nil, nil
}

// Digest adds up a hash of each row, in two halves, so that no sum overflows.
func (l *lite) Digest(ctx context.Context, q Querier, table string) (string, error) {
	rows, err := Rows(ctx, q, "SELECT name FROM pragma_table_xinfo("+l.Text(table)+") WHERE hidden <> 1 ORDER BY cid")
	var values []string
	for _, r := range rows {
		values = append(values, "quote("+l.Column(r[0])+")")
	}
	return "SELECT count(*), coalesce(sum(h & 4294967295), 0) || '-' || coalesce(sum(h >> 32), 0) FROM (SELECT " + hashFunction + "(" + strings.Join(values, " || ',' || ") + ") AS h FROM " + l.Quote(table) + ") x", err
}

// Named returns what looks like an archived table.
func (*lite) Named(ctx context.Context, q Querier, f *archive.Family) (all []string, err error) {
	rows, err := Rows(ctx, q, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")
	for _, r := range rows {
		if slices.ContainsFunc(f.Tables, func(t archive.Table) bool { return isArchived(t.Name, r[0]) }) {
			all = append(all, r[0])
		}
	}
	return all, err
}

// Table describes a table of the file.
func (l *lite) Table(ctx context.Context, q Querier, name string) (*Table, error) {
	rows, err := Rows(ctx, q, "SELECT type, sql FROM sqlite_schema WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')", name)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	t := &Table{Name: name, regclass: name, create: rows[0][1], portrait: func(string) []string { return nil }}
	if rows[0][0] != "table" || strings.HasPrefix(strings.ToUpper(t.create), "CREATE VIRTUAL") {
		t.create = ""
		t.Unfit = append(t.Unfit, "it is not a plain table")
		return t, nil
	}
	t.portrait = t.litePortrait
	for _, read := range []reader{l.readColumns, l.readIndexes, l.readKeys, l.readTriggers} {
		if err := read(ctx, q, t); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Shape returns the structure of an archived table.
func (l *lite) Shape(ctx context.Context, q Querier, name string) (archive.Structure, bool, error) {
	t, err := l.Table(ctx, q, name)
	if err != nil || t == nil || t.create == "" {
		return archive.Structure{}, false, err
	}
	return t.Structure, true, nil
}

func (l *lite) readColumns(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(`+l.Text(t.Name)+`) ORDER BY cid`)
	keys := 0
	for _, r := range rows {
		if r[4] != "0" {
			keys++
		}
	}
	for _, r := range rows {
		one, c := column{name: r[0], def: r[3]}, archive.Column{Name: r[0], Type: r[1], NotNull: r[2] == "1"}
		if r[5] == "2" || r[5] == "3" {
			one.generated, c.Generated = r[5], map[string]string{"2": "VIRTUAL", "3": "STORED"}[r[5]]
		}
		if r[4] == "1" && keys == 1 && strings.EqualFold(r[1], "INTEGER") && !strings.Contains(strings.ToUpper(t.create), "WITHOUT ROWID") {
			one.identity = "d"
			t.room = 1
			if !strings.Contains(strings.ToUpper(t.create), "AUTOINCREMENT") {
				t.Unfit = append(t.Unfit, fmt.Sprintf("its column %s is numbered without AUTOINCREMENT, so that numbers would begin at 1 again", r[0]))
			}
		}
		t.columns = append(t.columns, one)
		t.Structure.Columns = append(t.Structure.Columns, c)
	}
	return err
}

// readIndexes reads indexes: those of constraints are made with the table.
func (l *lite) readIndexes(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT i.name, i."unique", i.origin, coalesce(s.sql, ''), (SELECT group_concat(coalesce(x.name, '?') || CASE x."desc" WHEN 1 THEN ' DESC' ELSE '' END || ' ' || x.coll, ', ')
		FROM pragma_index_xinfo(i.name) x WHERE x.key = 1) FROM pragma_index_list(`+l.Text(t.Name)+`) i LEFT JOIN sqlite_schema s ON s.type = 'index' AND s.name = i.name ORDER BY i.name`)
	for _, r := range rows {
		one, kind := index{name: r[0]}, map[string]string{"pk": "PRIMARY KEY", "u": "UNIQUE", "c": "INDEX"}[r[2]]
		if r[2] == "c" {
			if r[1] == "1" {
				one.unique, kind = "UNIQUE ", "UNIQUE INDEX"
			}
			one.rest = r[3][len(leading(r[3])):]
			_, where, _ := strings.Cut(one.rest, ")")
			kind += " " + strings.TrimSpace(where)
			t.indexes = append(t.indexes, one)
		}
		t.Structure.Indexes = append(t.Structure.Indexes, kind+" ("+r[4]+")")
	}
	return err
}

// leading returns the beginning of a definition of an index up to its name,
// which SQLite writes as CREATE [UNIQUE ]INDEX and the name as it was given.
func leading(text string) string {
	at := strings.Index(text, " INDEX ") + len(" INDEX ")
	if at >= len(text) {
		return text
	}
	closing := map[byte]byte{'"': '"', '`': '`', '[': ']', '\'': '\''}[text[at]]
	for i := at + 1; i < len(text); i++ {
		switch {
		case closing == 0 && strings.IndexByte(" \t\r\n", text[i]) >= 0:
			return text[:i]
		case closing != 0 && text[i] == closing && closing != ']' && i+1 < len(text) && text[i+1] == closing:
			i++
		case closing != 0 && text[i] == closing:
			return text[:i+1]
		}
	}
	return text
}

func (l *lite) readKeys(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT DISTINCT id, "table" FROM pragma_foreign_key_list(`+l.Text(t.Name)+`) ORDER BY id`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		t.keys = append(t.keys, definition{name: r[0], target: r[1]})
	}
	rows, err = Rows(ctx, q, `SELECT DISTINCT m.name FROM sqlite_schema m, pragma_foreign_key_list(m.name) k WHERE m.type = 'table' AND k."table" = ? COLLATE NOCASE`, t.Name)
	for _, r := range rows {
		t.keys = append(t.keys, definition{name: "a foreign key of " + r[0], target: "<" + r[0]})
	}
	return err
}

func (l *lite) readTriggers(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE ORDER BY rowid`, t.Name)
	for _, r := range rows {
		t.triggers = append(t.triggers, trigger{name: r[0], text: r[1]})
	}
	return err
}

// litePortrait is Portrait: the definitions as they stand.
func (t *Table) litePortrait(string) []string {
	all := []string{t.create}
	for _, i := range t.indexes {
		all = append(all, i.unique+"index "+i.name+i.rest)
	}
	for _, g := range t.triggers {
		all = append(all, g.text)
	}
	return all
}
