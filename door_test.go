package holdfast_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast"
	"holdfast/internal/fault"
	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sqlite"
)

// billing is a sink whose tables change under the door.
type billing struct {
	mu     sync.Mutex
	tables []sink.Table
	err    error
}

func (b *billing) Describe(context.Context) ([]sink.Table, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tables, b.err
}

func (b *billing) become(err error, tables ...sink.Table) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tables, b.err = tables, err
}

func calls(types ...string) sink.Table {
	t := sink.Table{Name: "calls", Columns: []sink.Column{{Name: "id", Type: "bigint", NotNull: true, Default: true}, {Name: "caller", Type: "varchar(5)", NotNull: true}}}
	for i, ty := range types {
		t.Columns = append(t.Columns, sink.Column{Name: string(rune('a' + i)), Type: ty})
	}
	return t
}

// eventually waits for what a background question brings.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// TestAuthority plays what happens to a writer's rows while the sink's tables
// change, the sink is away, and the server starts again without it.
func TestAuthority(t *testing.T) {
	dir := t.TempDir()
	b := &billing{tables: []sink.Table{calls("integer")}}
	db := open(t, dir, holdfast.Options{FixedTables: true})
	stop := db.Follow("billing", b.Describe)
	insert := func(columns string, values ...any) error {
		return db.Insert(t.Context(), "calls", strings.Split(columns, ","), values...)
	}
	refused := func(code string, err error) {
		t.Helper()
		if fault.Code(err) != code {
			t.Errorf("%v, want SQLSTATE %q", err, code)
		}
	}
	eventually(t, "the tables of the sink", func() bool { _, err := db.Columns("calls"); return err == nil })
	refused("", insert("caller,a", "alice", 1))
	refused(fault.InvalidTextRepr, insert("caller,a", "alice", "x"))
	refused(fault.StringTooLong, insert("caller", "alice2"))
	refused(fault.NotNullViolation, insert("a", 1))
	refused(fault.UndefinedColumn, insert("caller,b", "alice", 1))
	refused(fault.UndefinedTable, db.Insert(t.Context(), "call", []string{"a"}, 1))

	// One schema and one transaction outlive the change of the table.
	s, err := db.Schema("calls", []row.Column{{Name: "caller"}, {Name: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	tx := db.Begin()
	word := []row.Value{row.Text("alice"), row.Text("x")}
	refused(fault.InvalidTextRepr, tx.Insert(s, word))
	b.become(nil, calls("text", "integer"))
	eventually(t, "the question before a refusal", func() bool { return tx.Insert(s, word) == nil })
	refused("", tx.Commit(t.Context(), true))
	refused("", insert("caller,b", "bob", 2))
	if s, err := db.Schema("calls", []row.Column{{Name: "caller"}, {Name: "a"}}); err != nil || s.Columns[1].Type != "text" {
		t.Errorf("the schema is still %v, %v", s, err)
	}

	b.become(errors.New("connection refused"))
	refused(fault.InvalidTextRepr, insert("caller,b", "bob", "x"))
	refused("", insert("caller,b", "bob", 3))
	stop()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	db = open(t, dir, holdfast.Options{FixedTables: true})
	stop = db.Follow("billing", b.Describe)
	refused("", insert("caller,b", "bob", 4))
	refused(fault.NumberOutOfRange, insert("caller,b", "bob", 1<<40))
	if _, origin, ok := db.Known("calls"); !ok || !strings.HasPrefix(origin, "sink billing since 20") {
		t.Errorf("the table comes from %q", origin)
	}
	b.become(nil)
	db.Notify("billing")
	eventually(t, "a table that vanished", func() bool { return fault.Code(insert("caller", "eve")) == fault.UndefinedTable })
	b.become(nil, calls("integer"))
	eventually(t, "a table that is back", func() bool { return insert("caller", "eve") == nil })
	stop()
	if err := db.Authorities(); err != nil {
		t.Fatal(err)
	}
	refused(fault.UndefinedTable, insert("caller", "eve"))
}

// TestDeclaredIsJudged holds that a declared table is judged, and that what
// rows have brought is not.
func TestDeclaredIsJudged(t *testing.T) {
	db := open(t, t.TempDir(), holdfast.Options{})
	if err := db.Declare("t", []row.Column{{Name: "n", Type: "integer"}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Insert(t.Context(), "t", []string{"n", "x"}, 1, 2); err != nil {
		t.Fatal(err)
	}
	if err := db.Insert(t.Context(), "t", []string{"x", "n"}, "text in a column that a number made", 2); err != nil {
		t.Error(err)
	}
	if err := db.Insert(t.Context(), "t", []string{"x", "n"}, 1, "x"); fault.Code(err) != fault.InvalidTextRepr {
		t.Errorf("a declared integer takes text: %v", err)
	}
	err := db.DeclareTable(sink.Table{Name: "u", Columns: []sink.Column{{Name: "a", Type: "text", NotNull: true}, {Name: "b", Type: "text"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Insert(t.Context(), "u", []string{"b"}, "x"); fault.Code(err) != fault.NotNullViolation {
		t.Errorf("NOT NULL is not kept: %v", err)
	}
}

// TestJudgedAllocatesNothing holds that being judged costs a row nothing, even
// where a transaction goes from table to table.
func TestJudgedAllocatesNothing(t *testing.T) {
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, t.TempDir(), holdfast.Options{Zone: vienna})
	var schemas []*row.Schema
	for _, table := range []string{"t", "u"} {
		columns := []row.Column{{Name: "a", Type: "varchar(10)"}, {Name: "b", Type: "integer"}, {Name: "at", Type: "timestamptz"}}
		if err := db.Declare(table, columns); err != nil {
			t.Fatal(err)
		}
		s, err := db.Schema(table, columns)
		if err != nil {
			t.Fatal(err)
		}
		schemas = append(schemas, s)
	}
	values := []row.Value{row.Text("alice"), row.Text("42"), row.Text("2026-11-21 00:47:52")}
	tx := db.Begin()
	defer tx.Rollback()
	if n := testing.AllocsPerRun(200, func() {
		for _, s := range schemas {
			if err := tx.Insert(s, values); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 0 {
		t.Errorf("two rows allocate %v times", n)
	}
}

// BenchmarkJudged is what the door adds to a row of a usual table.
func BenchmarkJudged(b *testing.B) {
	for _, types := range [][2]string{{"text", "text"}, {"varchar(64)", "integer"}} {
		b.Run(types[0], func(b *testing.B) {
			db, err := holdfast.Open(b.TempDir(), holdfast.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			columns := []row.Column{{Name: "time", Type: "timestamptz"}, {Name: "n", Type: types[1]}}
			for _, name := range []string{"method", "from_tag", "to_tag", "callid"} {
				columns = append(columns, row.Column{Name: name, Type: types[0]})
			}
			if types[0] == "text" {
				columns[0].Type = "text"
			}
			if err := db.Declare("acc", columns); err != nil {
				b.Fatal(err)
			}
			s, err := db.Schema("acc", columns)
			if err != nil {
				b.Fatal(err)
			}
			values := []row.Value{row.Text("2026-11-20 23:53:41"), row.Text("200"), row.Text("INVITE"), row.Text("24202SIPpTag0012"), row.Text("23617SIPpTag0112"), row.Text("12-24202@127.0.0.1")}
			tx := db.Begin()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := tx.Insert(s, values); err != nil {
					b.Fatal(err)
				}
				if i%100 == 0 {
					tx.Rollback()
				}
			}
			tx.Rollback()
		})
	}
}

// TestNotified holds that the authority is asked when delivery to it fails, and
// not only minutes later: its tables may have changed.
func TestNotified(t *testing.T) {
	file, err := sqlite.Open(filepath.Join(t.TempDir(), "rows.db"), sqlite.Options{Fixed: true})
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, t.TempDir(), holdfast.Options{Sinks: []holdfast.Sink{{Name: "file", Sink: file}}})
	var asked atomic.Int64
	stop := db.Follow("file", func(ctx context.Context) ([]sink.Table, error) {
		asked.Add(1)
		return file.Describe(ctx)
	})
	defer stop()
	eventually(t, "the first question", func() bool { return asked.Load() > 0 })
	if err := db.Insert(t.Context(), "lacking", []string{"a"}, "x"); err != nil {
		t.Fatal(err)
	}
	so := asked.Load() // the door may have asked, too
	eventually(t, "a question because of the table that is lacking", func() bool { return asked.Load() > so })
}
