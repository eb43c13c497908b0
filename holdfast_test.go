package holdfast_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast"
	"holdfast/internal/fault"
	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sqlite"
)

func open(t *testing.T, dir string, o holdfast.Options) *holdfast.DB {
	t.Helper()
	db, err := holdfast.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		goleak.VerifyNone(t)
	})
	return db
}

func schema(t *testing.T, db *holdfast.DB, table string, columns ...string) *row.Schema {
	t.Helper()
	var cols []row.Column
	for _, c := range columns {
		cols = append(cols, row.Column{Name: c, Type: "text"})
	}
	s, err := db.Schema(table, cols)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// all reads rows as lines of table and values.
func all(t *testing.T, db *holdfast.DB, o holdfast.ReadOptions) (lines []string, flags []row.Flags) {
	t.Helper()
	for r, err := range db.Read(t.Context(), o) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprint(r.Seq, " ", r.Schema.Table, " ", r.Values))
		flags = append(flags, r.Flags)
	}
	return lines, flags
}

// TestInsertSurvives stores each kind of value and reads it back from a
// database that was opened again.
func TestInsertSurvives(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, holdfast.Options{})
	when := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	columns := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	values := []any{"x", nil, 7, uint8(8), -1.5, true, []byte("bytes"), when}
	if err := db.Insert(t.Context(), "t", columns, values...); err != nil {
		t.Fatal(err)
	}
	if err := db.Insert(t.Context(), "t", []string{"a"}, math.Inf(-1)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, holdfast.Options{})
	got, _ := all(t, again, holdfast.ReadOptions{})
	want := []string{"1 t [x NULL 7 8 -1.5 t bytes 2026-01-02 03:04:05Z]", "2 t [-Infinity]"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	cols, err := again.Columns("t")
	if err != nil || cols[0].Type != "text" || cols[2].Type != "numeric" {
		t.Errorf("columns are %v, %v", cols, err)
	}
}

// TestRefusals holds each refusal's code, that it has a hint, and that it
// leaves nothing behind.
func TestRefusals(t *testing.T) {
	db := open(t, t.TempDir(), holdfast.Options{
		Streams: []holdfast.Stream{{Name: "other", Tables: []string{"o*"}}}, MaxTransaction: 1 << 20, Check: sqlite.CheckSchema,
	})
	main, other := schema(t, db, "t", "a", "b"), schema(t, db, "o", "a")
	pair := func(a, b string) []row.Value { return []row.Value{row.Text(a), row.Text(b)} }
	for _, tc := range []struct {
		name string
		code string
		do   func(tx *holdfast.Tx) error
	}{
		{"not UTF-8", fault.CharacterNotInRepertoire, func(tx *holdfast.Tx) error { return tx.Insert(main, pair("a", "\xff")) }},
		{"NUL", fault.CharacterNotInRepertoire, func(tx *holdfast.Tx) error { return tx.Insert(main, pair("a\x00", "b")) }},
		{"too few values", fault.SyntaxError, func(tx *holdfast.Tx) error { return tx.Insert(main, pair("a", "b")[:1]) }},
		{"large transaction", fault.LimitExceeded, func(tx *holdfast.Tx) error { return tx.Insert(main, pair("a", strings.Repeat("x", 1<<20))) }},
		{"two streams", fault.FeatureNotSupported, func(tx *holdfast.Tx) error {
			if err := tx.Insert(main, pair("a", "b")); err != nil {
				return nil
			}
			return tx.Insert(other, pair("a", "b")[:1])
		}},
		{"unknown type", fault.DatatypeMismatch, func(*holdfast.Tx) error {
			return db.Insert(t.Context(), "t", []string{"a"}, struct{}{})
		}},
		{"values without columns", fault.SyntaxError, func(*holdfast.Tx) error { return db.Insert(t.Context(), "t", nil, 1) }},
		{"name that the sink reserves", fault.InvalidName, func(*holdfast.Tx) error {
			return db.Insert(t.Context(), "sqlite_x", []string{"a"}, 1)
		}},
		{"declared twice", fault.DuplicateTable, func(*holdfast.Tx) error { return db.Declare("t", []row.Column{{Name: "a"}}) }},
		{"no such stream", fault.UndefinedObject, func(*holdfast.Tx) error {
			for _, err := range db.Read(t.Context(), holdfast.ReadOptions{Stream: "nowhere"}) {
				return err
			}
			return nil
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tx := db.Begin()
			defer tx.Rollback()
			err := tc.do(tx)
			if fault.Code(err) != tc.code || fault.Of(err).Hint == "" {
				t.Errorf("got %v, code %q; want %q with a hint", err, fault.Code(err), tc.code)
			}
		})
	}
	if got, _ := all(t, db, holdfast.ReadOptions{}); len(got) != 0 {
		t.Errorf("refused rows are stored: %q", got)
	}
}

func TestFixedTables(t *testing.T) {
	db := open(t, t.TempDir(), holdfast.Options{FixedTables: true})
	if err := db.Insert(t.Context(), "t", []string{"a"}, 1); fault.Code(err) != fault.UndefinedTable {
		t.Errorf("unknown table: %v", err)
	}
	if err := db.Declare("t", []row.Column{{Name: "a", Type: "numeric"}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Insert(t.Context(), "t", []string{"b"}, 1); fault.Code(err) != fault.UndefinedColumn {
		t.Errorf("unknown column: %v", err)
	}
	if err := db.Insert(t.Context(), "t", []string{"a"}, "1"); err != nil {
		t.Error(err)
	}
	db.SetAutoTables(true)
	if err := db.Insert(t.Context(), "t", []string{"b"}, 1); err != nil {
		t.Errorf("after SetAutoTables: %v", err)
	}
}

// TestTransactions commits transactions of many sizes, staged ones and ones
// that are moved to disk because memory is short among them: each is whole,
// in order, and marked at its ends.
func TestTransactions(t *testing.T) {
	for _, memory := range []int64{0, 1} {
		t.Run(fmt.Sprint("memory ", memory), func(t *testing.T) {
			db := open(t, t.TempDir(), holdfast.Options{Memory: memory})
			s := schema(t, db, "t", "n", "pad")
			tx := db.Begin()
			total := 0
			for _, shape := range []struct{ rows, pad int }{{1, 10}, {2, 10}, {1, 3 << 20}, {2, 2 << 20}, {5000, 1000}, {3, 10}, {0, 0}, {17, 100_000}} {
				pad := row.Text(strings.Repeat("x", shape.pad))
				for i := range shape.rows {
					if err := tx.Insert(s, []row.Value{row.Text(fmt.Sprint(total + i + 1)), pad}); err != nil {
						t.Fatal(err)
					}
				}
				if tx.Rows() != shape.rows {
					t.Fatalf("%d rows counted of %d", tx.Rows(), shape.rows)
				}
				if err := tx.Commit(t.Context(), true); err != nil {
					t.Fatal(err)
				}
				for i, r := range flagsFrom(t, db, total+1) {
					want := row.Flags(0)
					if shape.rows > 1 && i == 0 {
						want |= row.TxBegin
					}
					if shape.rows > 1 && i == shape.rows-1 {
						want |= row.TxEnd
					}
					if r.flags != want || r.n != fmt.Sprint(total+i+1) {
						t.Fatalf("transaction of %v: row %d has flags %d, value %q; want %d", shape, i, r.flags, r.n, want)
					}
				}
				total += shape.rows
				if end := db.Status().Streams[0].EndSeq; end != uint64(total) {
					t.Fatalf("the stream ends at %d, want %d", end, total)
				}
			}
			// Nothing is stored of what is rolled back, and the Tx can go on.
			for range 50 {
				if err := tx.Insert(s, []row.Value{row.Text("no"), row.Text(strings.Repeat("x", 100_000))}); err != nil {
					t.Fatal(err)
				}
			}
			tx.Rollback()
			if err := tx.Insert(s, []row.Value{row.Text("last"), row.Null}); err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			if err := db.Insert(t.Context(), "t", []string{"n"}, "durable"); err != nil {
				t.Fatal(err)
			}
			if got, _ := all(t, db, holdfast.ReadOptions{From: uint64(total + 1)}); len(got) != 2 || !strings.Contains(got[0], "[last NULL]") {
				t.Errorf("after a rollback: %q", got)
			}
		})
	}
}

type mark struct {
	flags row.Flags
	n     string
}

func flagsFrom(t *testing.T, db *holdfast.DB, from int) (out []mark) {
	t.Helper()
	for r, err := range db.Read(t.Context(), holdfast.ReadOptions{From: uint64(from)}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, mark{r.Flags, string(r.Values[0].Text)})
	}
	return out
}

// TestRouting holds which stream a table goes to.
func TestRouting(t *testing.T) {
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "data"), holdfast.Options{Streams: []holdfast.Stream{
		{Name: "acc", Tables: []string{"acc*", "exact"}}, {Name: "long", Tables: []string{"acc_long*"}, Dir: filepath.Join(dir, "long")},
	}})
	for table, want := range map[string]string{"acc": "acc", "acc_x": "acc", "acc_long1": "long", "exact": "acc", "exacts": "main", "t": "main"} {
		if got := schema(t, db, table, "a").Stream; got != want {
			t.Errorf("table %q goes to %q, want %q", table, got, want)
		}
		if err := db.Insert(t.Context(), table, []string{"a"}, table); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := all(t, db, holdfast.ReadOptions{Stream: "long"})
	if len(got) != 1 || got[0] != "1 acc_long1 [acc_long1]" {
		t.Errorf("stream long holds %q", got)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "long", "*.seg")); len(files) == 0 {
		t.Error("no segment is in the stream's own directory")
	}
	_, err := holdfast.Open(filepath.Join(dir, "x"), holdfast.Options{Streams: []holdfast.Stream{
		{Name: "s", Tables: []string{"s"}, Dir: filepath.Join(dir, "unmounted"), Exists: true},
	}})
	if err == nil || !strings.Contains(err.Error(), `"s"`) {
		t.Errorf("a directory that must be there and is not: %v", err)
	}
}

// TestReadFollows reads a row that is written while the reader waits, and
// ends with its context.
func TestReadFollows(t *testing.T) {
	db := open(t, t.TempDir(), holdfast.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan string)
	var wg sync.WaitGroup
	wg.Go(func() {
		for r, err := range db.Read(ctx, holdfast.ReadOptions{Follow: true, Table: "b"}) {
			if err != nil {
				got <- err.Error()
				return
			}
			got <- r.Values[0].String()
		}
	})
	for i, table := range []string{"a", "b", "a", "b"} {
		if err := db.Insert(t.Context(), table, []string{"n"}, i); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"1", "3"} {
		if g := <-got; g != want {
			t.Errorf("followed %q, want %q", g, want)
		}
	}
	cancel()
	if g := <-got; g != context.Canceled.Error() {
		t.Errorf("ended with %q", g)
	}
	wg.Wait()
	if got, _ := all(t, db, holdfast.ReadOptions{From: 2, Limit: 2}); len(got) != 2 || got[0] != "2 b [1]" {
		t.Errorf("from 2, two rows: %q", got)
	}
}

// TestDamage flips a byte of a sealed row: its neighbours are read, the row is
// named, by Read and by Verify.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, holdfast.Options{})
	for i := range 9 {
		if err := db.Insert(t.Context(), "t", []string{"a"}, fmt.Sprintf("needle-%d-needle", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "streams", "main", "*.seg"))
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text[strings.Index(string(text), "needle-5-")+7] ^= 1
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir, holdfast.Options{})
	seen := ""
	for r, err := range db.Read(t.Context(), holdfast.ReadOptions{}) {
		var bad *holdfast.DamageError
		switch {
		case errors.As(err, &bad):
			seen += fmt.Sprintf("(%d-%d)", bad.Damage.First, bad.Damage.Last)
		case err != nil:
			t.Fatal(err)
		default:
			seen += fmt.Sprint(r.Seq)
		}
	}
	if seen != "1234(5-5)6789" {
		t.Errorf("read %s", seen)
	}
	var named []row.Damage
	v, err := db.Verify(t.Context(), "", func(d row.Damage) error { named = append(named, d); return nil })
	if err != nil || v.Damaged != len(named) || len(named) == 0 || named[0].First != 5 || named[0].Stream != "main" || v.Rows != 8 {
		t.Errorf("verify: %+v, %+v, %v", v, named, err)
	}
	stop := errors.New("enough")
	if _, err := db.Verify(t.Context(), "main", func(row.Damage) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("report's error does not come back: %v", err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, holdfast.Options{})
	if _, err := holdfast.Open(dir, holdfast.Options{}); err == nil || !strings.Contains(err.Error(), dir) || fault.Of(err).Hint == "" {
		t.Errorf("opened twice: %v", err)
	}
}

// TestLockedForAMoment opens a directory that somebody looks into: it is taken
// once he is gone.
func TestLockedForAMoment(t *testing.T) {
	dir := t.TempDir()
	first, err := holdfast.Open(dir, holdfast.Options{})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() { _ = first.Close() })
	open(t, dir, holdfast.Options{})
}

// away is a sink that cannot be reached.
type away struct {
	sink.Sink
	closed int
}

func (a *away) Attach(context.Context, sink.ID, string, row.Position, func(sink.Cursor) error) (sink.Session, error) {
	return nil, errors.New("nobody is there")
}

func (a *away) Close() error { a.closed++; return nil }

// TestSinks delivers, stops with a sink away, and opens without it: what it
// has not got is kept and told.
func TestSinks(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "rows.db")
	lite, err := sqlite.Open(file, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gone := &away{}
	db := open(t, filepath.Join(dir, "data"), holdfast.Options{Sinks: []holdfast.Sink{{Name: "lite", Sink: lite}, {Name: "gone", Sink: gone}}})
	for i := range 3 {
		if err := db.Insert(t.Context(), "t", []string{"a"}, i); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for db.Status().Sinks[1].Seq < 3 && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := db.Drain(short); err == nil || !strings.Contains(err.Error(), `"gone"`) || strings.Contains(err.Error(), `"lite"`) {
		t.Errorf("drain: %v", err)
	}
	st := db.Status()
	if k := st.Sinks[1]; k.Name != "lite" || k.Seq != 3 || k.LagRows != 0 || k.Size == 0 {
		t.Errorf("sink lite: %+v", k)
	}
	if k := st.Sinks[0]; k.Name != "gone" || k.LagRows != 3 || !strings.Contains(k.LastError, "nobody") {
		t.Errorf("sink gone: %+v", k)
	}
	if err := db.Close(); err != nil || gone.closed != 1 {
		t.Errorf("close: %v, sink closed %d times", err, gone.closed)
	}
	db = open(t, filepath.Join(dir, "data"), holdfast.Options{})
	for _, k := range db.Status().Sinks {
		if k.State != holdfast.Detached || k.Name == "gone" && k.LagRows != 3 || k.Name == "lite" && k.LagRows != 0 {
			t.Errorf("without sinks: %+v", k)
		}
	}
}

// TestOptions holds that options which cannot be are refused by name.
func TestOptions(t *testing.T) {
	for _, o := range []holdfast.Options{
		{Streams: []holdfast.Stream{{Name: "../bad"}}},
		{Streams: []holdfast.Stream{{Name: "bad"}, {Name: "bad"}}},
		{Streams: []holdfast.Stream{{Name: "bad", Tables: []string{"[bad"}}}},
		{Sinks: []holdfast.Sink{{Name: "bad"}}},
		{Sinks: []holdfast.Sink{{Name: "x", Sink: &away{}, Streams: []string{"bad"}}}},
	} {
		if db, err := holdfast.Open(t.TempDir(), o); err == nil || !strings.Contains(err.Error(), "bad") {
			t.Errorf("%+v: %v", o, err)
			if err == nil {
				db.Close()
			}
		}
	}
}

// TestClosed holds that a closed database refuses instead of losing rows.
func TestClosed(t *testing.T) {
	db := open(t, t.TempDir(), holdfast.Options{})
	s := schema(t, db, "t", "a")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	tx := db.Begin()
	if err := tx.Insert(s, []row.Value{row.Null}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context(), true); fault.Code(err) != fault.AdminShutdown {
		t.Errorf("commit after close: %v", err)
	}
	if tx.Rows() != 0 {
		t.Error("the transaction is not empty after a failed commit")
	}
}

// TestNoAllocations holds that a row takes no memory besides the journal's.
func TestNoAllocations(t *testing.T) {
	db := open(t, t.TempDir(), holdfast.Options{})
	columns := []row.Column{{Name: "a", Type: "text"}, {Name: "b", Type: "text"}}
	values := []row.Value{row.Text("alice"), row.Text("bob")}
	tx := db.Begin()
	if n := testing.AllocsPerRun(200, func() {
		s, err := db.Schema("t", columns)
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Insert(s, values); err != nil {
			t.Fatal(err)
		}
		tx.Rollback()
	}); n > 0 {
		t.Errorf("a row and a rollback allocate %v times", n)
	}
	if n := testing.AllocsPerRun(200, func() {
		s, _ := db.Schema("t", columns)
		if err := tx.Insert(s, values); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(context.Background(), false); err != nil {
			t.Fatal(err)
		}
	}); n > 8 { // the journal's: groups, channels, and what its two goroutines do meanwhile
		t.Errorf("a row and its commit allocate %v times", n)
	}
}
