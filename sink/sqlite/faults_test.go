package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
)

// textRow is a row of table whose columns are all text.
func textRow(seq uint64, table string, pairs ...string) row.Row {
	r := row.Row{Seq: seq, Schema: &row.Schema{Table: table}}
	for i := 0; i < len(pairs); i += 2 {
		r.Schema.Columns = append(r.Schema.Columns, row.Column{Name: pairs[i], Type: "text"})
		r.Values = append(r.Values, row.Text(pairs[i+1]))
	}
	return r
}

// TestMode checks that nobody else can read the file, even where the umask
// would allow it, and that nobody's file is made narrower.
func TestMode(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := t.TempDir()
	n := mustAttach(t, mustOpen(t, filepath.Join(dir, "new.db"), Options{}))
	if err := deliver(n, textRow(1, "t", "v", "1")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"new.db", "new.db-wal", "new.db-shm"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", name, info.Mode())
		}
	}
	theirs := filepath.Join(dir, "theirs.db")
	if err := os.WriteFile(theirs, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	mustAttach(t, mustOpen(t, theirs, Options{}))
	if info, err := os.Stat(theirs); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("a file that was there has mode %v (%v), want its own 0644", info.Mode(), err)
	}
}

// TestLocked holds a lock from another connection, in the two ways there are.
func TestLocked(t *testing.T) {
	for name, lock := range map[string][]string{
		"write lock":     {"BEGIN IMMEDIATE"},
		"exclusive lock": {"BEGIN EXCLUSIVE"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "locked.db")
			s := mustOpen(t, path, Options{})
			n := mustAttach(t, s)
			db := other(t, path)
			for _, q := range lock {
				mustExec(t, db, q)
			}
			for range 3 {
				err := deliver(n, textRow(1, "t", "v", "1"))
				var refused *sink.RowError
				if err == nil || errors.As(err, &refused) || errors.Is(err, sink.ErrDoubtful) {
					t.Fatalf("Apply under a lock gave %v, want an error about the sink", err)
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			if _, err := s.Attach(ctx, sink.ID{StreamID: "other", Sink: "x"}, "a", row.Position{}, nil); err == nil {
				t.Fatal("Attach under a lock gave no error")
			}
			mustExec(t, db, "COMMIT")
			if err := deliver(n, textRow(1, "t", "v", "1")); err != nil {
				t.Fatalf("Apply after the lock: %v", err)
			}
		})
	}
}

// TestLockedAtStart opens a file that another connection has for itself.
func TestLockedAtStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "exclusive.db")
	db := other(t, path)
	for _, q := range []string{"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL", "CREATE TABLE mine (v)", "INSERT INTO mine VALUES (1)"} {
		mustExec(t, db, q)
	}
	s := mustOpen(t, path, Options{})
	id := sink.ID{StreamID: "id", Stream: "main", Sink: "default"}
	for range 3 {
		if _, err := s.Attach(context.Background(), id, "a", row.Position{}, nil); code(err) != 5 {
			t.Fatalf("Attach gave %v, want SQLITE_BUSY", err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := deliver(mustAttach(t, s), textRow(1, "t", "v", "1")); err != nil {
		t.Fatal(err)
	}
}

// TestReaders reads from another connection while a batch is being written.
func TestReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "read.db")
	n := mustAttach(t, mustOpen(t, path, Options{}))
	if err := deliver(n, textRow(1, "t", "v", "1")); err != nil {
		t.Fatal(err)
	}
	db := other(t, path)
	mustExec(t, db, "BEGIN")
	readRows(t, db, "t", "v") // a reader that stays
	for seq := uint64(2); seq < 50; seq++ {
		if err := deliver(n, textRow(seq, "t", "v", "x")); err != nil {
			t.Fatalf("Apply beside a reader: %v", err)
		}
	}
	if got := len(readRows(t, db, "t", "v")); got != 1 {
		t.Errorf("the reader's snapshot has %d rows, want 1", got)
	}
	mustExec(t, db, "COMMIT")
	if got := len(readRows(t, db, "t", "v")); got != 49 {
		t.Errorf("a new reader sees %d rows, want 49", got)
	}
}

// TestReplaced removes and replaces the file under a session. Commits into a
// file without a name would be acknowledged and lost.
func TestReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "here.db")
	n := mustAttach(t, mustOpen(t, path, Options{}))
	if err := deliver(n, textRow(1, "t", "v", "1")); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil {
			t.Fatal(err)
		}
	}
	if err := deliver(n, textRow(2, "t", "v", "2")); !errors.Is(err, sink.ErrNoCursor) {
		t.Fatalf("Apply after the file was removed gave %v, want ErrNoCursor", err)
	}
	if _, err := n.Cursor(context.Background()); !errors.Is(err, sink.ErrNoCursor) {
		t.Fatalf("Cursor after the file was removed gave %v, want ErrNoCursor", err)
	}
}

// TestPutBack puts an older copy of the cursor under a session.
func TestPutBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.db")
	n := mustAttach(t, mustOpen(t, path, Options{}))
	for seq := uint64(1); seq < 4; seq++ {
		if err := deliver(n, textRow(seq, "t", "v", "1")); err != nil {
			t.Fatal(err)
		}
	}
	db := other(t, path)
	mustExec(t, db, "UPDATE holdfast_cursor SET seq = 1")
	if err := deliver(n, textRow(4, "t", "v", "4")); err == nil || !strings.Contains(err.Error(), "seq 1, expected it at 3") {
		t.Fatalf("Apply gave %v, want what is wrong with the cursor", err)
	}
	if got := len(readRows(t, db, "t", "v")); got != 3 {
		t.Errorf("table has %d rows, want 3", got)
	}
	if c, err := n.Cursor(context.Background()); err != nil || c.Seq != 1 {
		t.Errorf("Cursor gives %v, %v, want seq 1", c, err)
	}
	mustExec(t, db, "UPDATE holdfast_cursor SET seq = 'nonsense'")
	if _, err := n.Cursor(context.Background()); err == nil {
		t.Error("a cursor that is not a number was taken for one")
	}
}

// TestTheirTables delivers into tables that the user made, with rules that
// refuse row 70 of 100 in every way SQLite has.
func TestTheirTables(t *testing.T) {
	tests := []struct {
		name, ddl string
		want      uint64 // the seq refused; 0: cannot be told
	}{
		{"not null", "CREATE TABLE t (v TEXT NOT NULL CHECK (v <> 'bad'))", 70},
		{"unique", "CREATE TABLE t (v TEXT UNIQUE); INSERT INTO t VALUES ('bad')", 70},
		{"unique fail", "CREATE TABLE t (v TEXT UNIQUE ON CONFLICT FAIL); INSERT INTO t VALUES ('bad')", 70},
		{"unique rollback", "CREATE TABLE t (v TEXT UNIQUE ON CONFLICT ROLLBACK); INSERT INTO t VALUES ('bad')", 0},
		{"strict", "CREATE TABLE t (v INTEGER) STRICT", 70},
		{"primary key", "CREATE TABLE t (v INTEGER PRIMARY KEY)", 70},
		{"in a trigger's table", "CREATE TABLE u (v TEXT UNIQUE ON CONFLICT FAIL); INSERT INTO u VALUES ('bad'); CREATE TABLE t (v TEXT); CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO u SELECT NEW.v WHERE NEW.v = 'bad'; END", 70},
		{"raise rollback", "CREATE TABLE t (v TEXT); CREATE TRIGGER r AFTER INSERT ON t WHEN NEW.v = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'no'); END", 0},
		{"trigger fail", "CREATE TABLE t (v TEXT); CREATE TRIGGER r AFTER INSERT ON t WHEN NEW.v = 'bad' BEGIN SELECT RAISE(FAIL, 'no'); END", 70},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "theirs.db")
			db := other(t, path)
			mustExec(t, db, tt.ddl)
			before := len(readRows(t, db, "t", "v"))
			n := mustAttach(t, mustOpen(t, path, Options{}))
			var rows []row.Row
			for seq := uint64(1); seq <= 100; seq++ {
				v := "1" + strings.Repeat("0", int(seq%3)) + string(rune('0'+seq%10)) + string(rune('0'+seq/10%10)) + string(rune('0'+seq/100))
				if seq == 70 {
					v = "bad"
				}
				rows = append(rows, textRow(seq, "t", "v", v))
			}
			var j sinktest.Rejects
			err := n.Apply(context.Background(), sinktest.NewBatch(rows, row.Position{Seq: 100}), &j)
			if tt.want != 0 {
				if err != nil || len(j.Rows) != 1 || j.Rows[0].Seq != tt.want || j.Rows[0].Values[0].String() != "bad" || j.Why[0].Code == "" {
					t.Errorf("Apply gave %v and set %+v aside (%+v), want seq %d alone", err, j.Rows, j.Why, tt.want)
				}
			} else {
				var refused *sink.RowError
				if !errors.As(err, &refused) || refused.Seq != 0 || refused.Code == "" || len(j.Rows) != 0 {
					t.Errorf("Apply gave %v and set %+v aside, want a RowError that names no row", err, j.Rows)
				}
				if got := len(readRows(t, db, "t", "v")); got != before {
					t.Errorf("table has %d rows, want the %d it had", got, before)
				}
				good := append(append([]row.Row{}, rows[:69]...), rows[70:]...)
				if err := deliver(n, good...); err != nil {
					t.Fatalf("Apply without the bad row: %v", err)
				}
			}
			if got := len(readRows(t, db, "t", "v")); got != before+99 {
				t.Errorf("table has %d rows, want %d", got, before+99)
			}
		})
	}
}

// TestTheirChanges alters tables from another connection between batches.
func TestTheirChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "changes.db")
	n := mustAttach(t, mustOpen(t, path, Options{}))
	db := other(t, path)
	steps := []string{"", "DROP TABLE t", "ALTER TABLE t ADD COLUMN w TEXT", "ALTER TABLE t RENAME COLUMN v TO old", "DROP TABLE t; CREATE TABLE T (V NUMERIC)", "VACUUM"}
	for i, ddl := range steps {
		if ddl != "" {
			mustExec(t, db, ddl)
		}
		if err := deliver(n, textRow(uint64(i+1), "t", "v", "007")); err != nil {
			t.Fatalf("after %q: %v", ddl, err)
		}
		rows := readRows(t, db, "t", "v")
		if got := rows[len(rows)-1][0].String(); got != "007" {
			t.Errorf("after %q: got %s, want 007", ddl, got)
		}
	}
}

func cursorOf(t *testing.T, n sink.Session) row.Position {
	t.Helper()
	c, err := n.Cursor(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c.Position
}

func TestRefusedSchemas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "names.db")
	n := mustAttach(t, mustOpen(t, path, Options{}))
	wide := textRow(9, "wide")
	for range maxColumns + 1 {
		wide.Schema.Columns = append(wide.Schema.Columns, row.Column{Name: strings.Repeat("c", 1+len(wide.Values)%60) + string(rune(0x4e00+len(wide.Values)))})
		wide.Values = append(wide.Values, row.Null)
	}
	short := textRow(9, "short", "a", "1", "b", "2")
	short.Values = short.Values[:1]
	tests := map[string]row.Row{
		"sqlite_":       textRow(9, "sqlite_master", "v", "1"),
		"SQLite_":       textRow(9, "SQLite_x", "v", "1"),
		"cursor":        textRow(9, "Holdfast_cursor", "seq", "1"),
		"empty table":   textRow(9, "", "v", "1"),
		"empty column":  textRow(9, "t", "", "1"),
		"case":          textRow(9, "t", "Value", "1", "vALUE", "2"),
		"no columns":    textRow(9, "nothing"),
		"too many":      wide,
		"values":        short,
		"column rowid":  textRow(9, "there", "rowid", "x"),
		"NUL in a name": textRow(9, "t\x00u", "v", "1"),
	}
	if err := deliver(n, textRow(1, "there", "v", "1")); err != nil {
		t.Fatal(err)
	}
	for name, r := range tests {
		var j sinktest.Rejects
		err := n.Apply(context.Background(), sinktest.NewBatch([]row.Row{r}, cursorOf(t, n)), &j)
		if err != nil || len(j.Rows) != 1 || j.Why[0].Seq != 9 || j.Why[0].Table != r.Schema.Table || !j.Settled {
			t.Errorf("%s: got %v and rejects %+v, want seq 9 set aside", name, err, j)
		}
	}
	if err := deliver(n, textRow(2, "there")); err != nil {
		t.Errorf("a row of defaults: %v", err)
	}
	// Names that differ in case only are one table, here as for anyone else;
	// letters beyond A to Z have no case for SQLite.
	if err := deliver(n, textRow(3, "THERE", "V", "3"), textRow(4, "there", "é", "4", "É", "5")); err != nil {
		t.Errorf("names in another case: %v", err)
	}
	if got := len(readRows(t, other(t, path), "there", "v", "é", "É")); got != 4 {
		t.Errorf("table there has %d rows, want 4", got)
	}
}

// TestFixed checks that creating can be switched off, and that what is
// missing is no fault of the row: it waits.
func TestFixed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fixed.db")
	db := other(t, path)
	n := mustAttach(t, mustOpen(t, path, Options{Fixed: true}))
	mustExec(t, db, "CREATE TABLE t (v TEXT)")
	for _, r := range []row.Row{textRow(1, "u", "v", "1"), textRow(1, "t", "v", "1", "w", "2")} {
		var refused *sink.RowError
		if err := deliver(n, r); err == nil || errors.As(err, &refused) {
			t.Errorf("Apply gave %v, want an error about the sink", err)
		}
	}
	mustExec(t, db, "ALTER TABLE t ADD COLUMN w TEXT")
	if err := deliver(n, textRow(1, "t", "v", "1", "w", "2")); err != nil {
		t.Errorf("Apply once the column is there: %v", err)
	}
}

// TestDurability checks the settings that an acknowledged commit rests on.
func TestDurability(t *testing.T) {
	path := filepath.Join(t.TempDir(), "durable.db")
	s := mustOpen(t, path, Options{})
	mustAttach(t, s)
	for pragma, want := range map[string]any{"journal_mode": "wal", "synchronous": int64(2), "cache_size": int64(-2048)} {
		got, err := s.conn.query(context.Background(), "PRAGMA "+pragma)
		if err != nil || got[0][0] != want {
			t.Errorf("%s is %v (%v), want %v", pragma, got, err, want)
		}
	}
}

func TestSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "size.db")
	s := mustOpen(t, path, Options{})
	if size, err := s.Size(); err != nil || size != 0 {
		t.Errorf("before the first session: %d, %v, want 0", size, err)
	}
	n := mustAttach(t, s)
	if err := deliver(n, textRow(1, "t", "v", strings.Repeat("x", 1<<20))); err != nil {
		t.Fatal(err)
	}
	if size, err := s.Size(); err != nil || size < 1<<20 {
		t.Errorf("with 1 MiB in it: %d, %v", size, err)
	}
}

// TestStatementsBounded delivers more schemas than are remembered.
func TestStatementsBounded(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "many.db"), Options{})
	n := mustAttach(t, s)
	var rows []row.Row
	for seq := uint64(1); seq <= 3*maxGroups; seq++ {
		rows = append(rows, textRow(seq, "t", "v", "1", "c"+strings.Repeat("x", int(seq%900)), "2"))
	}
	if err := deliver(n, rows...); err != nil {
		t.Fatal(err)
	}
	if got := s.conn.statements.Len(); got > maxStatements {
		t.Errorf("%d statements are kept, want at most %d", got, maxStatements)
	}
}

func TestOpenNeedsPath(t *testing.T) {
	if _, err := Open("", Options{}); err == nil {
		t.Error("an empty path was accepted, which SQLite takes for a file that nobody can find")
	}
	// A directory that is missing may come: it is no error before Attach.
	s := mustOpen(t, filepath.Join(t.TempDir(), "missing", "x.db"), Options{})
	if _, err := s.Attach(context.Background(), sink.ID{}, "a", row.Position{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Attach gave %v, want that the directory does not exist", err)
	}
}
