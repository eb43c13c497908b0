package holdfast_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/internal/fault"
	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sqlite"
)

// lite returns a sink for the file.
func lite(t *testing.T, file string) sink.Sink {
	t.Helper()
	s, err := sqlite.Open(file, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask returns what a query answers, values apart by spaces.
func ask(t *testing.T, file, query string) string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		return err.Error()
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

// insert stores a row for each value.
func insert(t *testing.T, db *holdfast.DB, values ...int) {
	t.Helper()
	for _, v := range values {
		if err := db.Insert(t.Context(), "t", []string{"a"}, v); err != nil {
			t.Fatal(err)
		}
	}
}

// drained waits until every sink has everything.
func drained(t *testing.T, db *holdfast.DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := db.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

// closed closes db.
func closed(t *testing.T, db *holdfast.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// sinks returns the names and states of the sinks.
func sinks(db *holdfast.DB) string {
	var out []string
	for _, k := range db.Status().Sinks {
		out = append(out, k.Name+":"+k.State)
	}
	return strings.Join(out, " ")
}

const cursors = "SELECT sink || '=' || seq FROM holdfast_cursor ORDER BY sink"

// TestRenameSink renames a sink in a running database: nothing is lost, nothing
// comes twice, and the old name in the configuration goes on meaning it.
func TestRenameSink(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "rows.db")
	with := func(names ...string) *holdfast.DB {
		o := holdfast.Options{}
		for i, n := range names {
			o.Sinks = append(o.Sinks, holdfast.Sink{Name: n, Sink: lite(t, strings.TrimSuffix(file, ".db")+strings.Repeat("x", i)+".db")})
		}
		return open(t, data, o)
	}
	db := with("old")
	insert(t, db, 1, 2, 3)
	drained(t, db)
	for _, test := range []struct{ from, to, code string }{
		{"old", "old", fault.InvalidParameterValue}, {"old", "", fault.InvalidName}, {"old", "a/b", fault.InvalidName}, {"none", "x", fault.UndefinedObject},
	} {
		if err := db.RenameSink(test.from, test.to); fault.Code(err) != test.code || fault.Of(err).Hint == "" {
			t.Errorf("rename %q to %q: %v, want %s", test.from, test.to, err, test.code)
		}
	}
	if err := db.RenameSink("old", "new"); err != nil {
		t.Fatal(err)
	}
	insert(t, db, 4)
	drained(t, db)
	if st := db.Status().Sinks; len(st) != 1 || st[0].Name != "new" || st[0].Given != "old" || st[0].Seq != 4 {
		t.Errorf("sinks are %+v", st)
	}
	if got := ask(t, file, cursors); got != "new=4" {
		t.Errorf("cursors are %q", got)
	}
	closed(t, db)

	db = with("old") // the configuration has not followed
	insert(t, db, 5)
	drained(t, db)
	if got := sinks(db); !strings.HasPrefix(got, "new:") {
		t.Errorf("with the old name configured: %s", got)
	}
	closed(t, db)
	db = with() // only a look: it must not forget the name
	closed(t, db)

	db = with("old") // renamed twice, and back, before the sink is asked
	if err := errors.Join(db.RenameSink("new", "newer"), db.RenameSink("newer", "newest")); err != nil {
		t.Fatal(err)
	}
	closed(t, db)
	db = with("old")
	insert(t, db, 6)
	drained(t, db)
	closed(t, db)
	if got := ask(t, file, cursors); got != "newest=6" {
		t.Errorf("cursors are %q", got)
	}

	db = with("newest", "old") // now it is another sink
	drained(t, db)
	closed(t, db)
	if got := ask(t, file, "SELECT a FROM t ORDER BY a"); got != "1 2 3 4 5 6" {
		t.Errorf("after all of it the sink has %q", got)
	}
	if got := ask(t, strings.TrimSuffix(file, ".db")+"x.db", cursors); got != "old=6" {
		t.Errorf("the other sink has cursors %q", got)
	}
}

// TestRenameWithRejects renames a sink that has refused rows: they wait under
// the new name, and go into the sink from there.
func TestRenameWithRejects(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "rows.db")
	run(t, file, "CREATE TABLE t (a INTEGER CHECK (a < 10))")
	with := func(name string) *holdfast.DB {
		return open(t, data, holdfast.Options{Sinks: []holdfast.Sink{{Name: name, Sink: lite(t, file)}}})
	}
	db := with("old")
	insert(t, db, 1, 20, 2)
	drained(t, db)
	if err := db.RenameSink("old", "new"); err != nil {
		t.Fatal(err)
	}
	closed(t, db)
	db = with("new")
	drained(t, db)
	var ids []uint64
	for e, err := range db.Rejects(t.Context(), holdfast.RejectFilter{}) {
		if err != nil || e.Sink != "new" || e.Seq != 2 {
			t.Errorf("a reject is %+v, %v, want row 2 of sink new", e, err)
		}
		ids = append(ids, e.ID)
	}
	if len(ids) != 1 {
		t.Fatalf("rejects are %v, want one", ids)
	}
	if _, err := db.EditReject(t.Context(), ids[0], map[string]row.Value{"a": row.Text("3")}); err != nil {
		t.Fatal(err)
	}
	if done, err := db.RetryRejects(t.Context(), holdfast.RejectFilter{}); err != nil || done.Delivered != 1 {
		t.Fatalf("retry gave %+v, %v", done, err)
	}
	closed(t, db)
	if got := ask(t, file, "SELECT a FROM t ORDER BY a"); got != "1 2 3" {
		t.Errorf("the sink has %q", got)
	}
}

// TestRenameOffline renames a sink that nothing delivers to: its cursor follows
// at the next start.
func TestRenameOffline(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "rows.db")
	db := open(t, data, holdfast.Options{Sinks: []holdfast.Sink{{Name: "a", Sink: lite(t, file)}}})
	insert(t, db, 1)
	drained(t, db)
	closed(t, db)
	db = open(t, data, holdfast.Options{})
	insert(t, db, 2)
	if err := db.RenameSink("a", "b"); err != nil {
		t.Fatal(err)
	}
	if got := sinks(db); got != "b:detached" {
		t.Errorf("sinks are %s", got)
	}
	closed(t, db)
	db = open(t, data, holdfast.Options{Sinks: []holdfast.Sink{{Name: "b", Sink: lite(t, file)}}})
	drained(t, db)
	if got := ask(t, file, cursors) + " / " + ask(t, file, "SELECT a FROM t ORDER BY a"); got != "b=2 / 1 2" {
		t.Errorf("the sink has %q", got)
	}
}

// TestRetireSink ends registrations: of a sink that has everything, of one that
// is behind, of one that is not configured.
func TestRetireSink(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "rows.db")
	options := func() holdfast.Options {
		return holdfast.Options{Sinks: []holdfast.Sink{{Name: "lite", Sink: lite(t, file)}, {Name: "gone", Sink: &away{}}}}
	}
	db := open(t, data, options())
	insert(t, db, 1, 2)
	if err := db.DrainSink(t.Context(), "lite"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.RetireSink(t.Context(), "gone", false); fault.Code(err) != fault.InvalidParameterValue || !strings.Contains(err.Error(), "2 rows") {
		t.Errorf("a sink that is behind: %v", err)
	}
	if _, err := db.RetireSink(t.Context(), "none", true); fault.Code(err) != fault.UndefinedObject || !strings.Contains(fault.Of(err).Hint, "lite") {
		t.Errorf("an unknown sink: %v", err)
	}
	done, err := db.RetireSink(t.Context(), "lite", false)
	if err != nil || done.Cursors != 1 || done.Rows != 0 || fmt.Sprint(done.Streams) != "[main]" || done.Error != "" {
		t.Errorf("%+v, %v", done, err)
	}
	if got := ask(t, file, cursors) + "/" + ask(t, file, "SELECT a FROM t ORDER BY a"); got != "/1 2" {
		t.Errorf("the retired sink has %q", got)
	}
	if got := sinks(db); strings.Contains(got, "lite") {
		t.Errorf("sinks are %s", got)
	}
	insert(t, db, 3)
	closed(t, db)

	db = open(t, data, options()) // it is still configured
	if got := sinks(db); strings.Contains(got, "lite") {
		t.Errorf("a sink that was retired and is still configured: %s", got)
	}
	closed(t, db)

	db = open(t, data, holdfast.Options{})
	if done, err = db.RetireSink(t.Context(), "gone", true); err != nil || done.Rows != 3 || done.Cursors != 0 || done.Error == "" {
		t.Errorf("a sink that is not configured: %+v, %v", done, err)
	}
	if got := sinks(db); got != "" {
		t.Errorf("sinks are %s", got)
	}
	closed(t, db)

	db = open(t, data, holdfast.Options{Sinks: []holdfast.Sink{{Name: "other", Sink: &away{}}}}) // the names are free again
	closed(t, db)
	db = open(t, data, options())
	if got := sinks(db); !strings.Contains(got, "lite:") || !strings.Contains(got, "gone:") {
		t.Errorf("sinks are %s", got)
	}
}

// TestRetireForgives retires a sink whose database is away: that its cursor
// stays is told, and holds nothing up.
func TestRetireForgives(t *testing.T) {
	db := open(t, t.TempDir(), holdfast.Options{Sinks: []holdfast.Sink{{Name: "a", Sink: lite(t, filepath.Join(t.TempDir(), "missing", "rows.db"))}}})
	done, err := db.RetireSink(t.Context(), "a", false)
	if err != nil || done.Cursors != 0 || done.Error == "" {
		t.Errorf("%+v, %v", done, err)
	}
}

// TestSinkBeginsNow adds a sink that wants no older rows, which cannot be
// reached at first: it gets every row since it was first named, and one that
// has lost its cursor does not take itself for new.
func TestSinkBeginsNow(t *testing.T) {
	dir := t.TempDir()
	data, away, file := filepath.Join(dir, "data"), filepath.Join(dir, "volume"), filepath.Join(dir, "volume", "rows.db")
	db := open(t, data, holdfast.Options{})
	insert(t, db, 1, 2)
	closed(t, db)
	with := func() *holdfast.DB {
		return open(t, data, holdfast.Options{Sinks: []holdfast.Sink{{Name: "new", Sink: lite(t, file), Now: true}}})
	}
	db = with()
	insert(t, db, 3)
	closed(t, db)
	db = with() // what came meanwhile is not older than the sink
	insert(t, db, 4)
	if err := os.Mkdir(away, 0o700); err != nil {
		t.Fatal(err)
	}
	drained(t, db)
	if got := ask(t, file, "SELECT a FROM t ORDER BY a"); got != "3 4" {
		t.Errorf("the sink has %q", got)
	}
	closed(t, db)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(file + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	db = with()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(sinks(db), "halted") {
		if time.Now().After(deadline) {
			t.Fatalf("a sink that has lost its rows: %+v", db.Status().Sinks)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestRejectsStreamIsReserved holds that neither tables nor sinks get near it.
func TestRejectsStreamIsReserved(t *testing.T) {
	for _, o := range []holdfast.Options{
		{Streams: []holdfast.Stream{{Name: holdfast.RejectsStream, Tables: []string{"a"}}}},
		{Sinks: []holdfast.Sink{{Name: "x", Sink: &away{}, Streams: []string{holdfast.RejectsStream}}}},
	} {
		if db, err := holdfast.Open(t.TempDir(), o); err == nil {
			t.Errorf("%+v is taken", o)
			db.Close()
		}
	}
	db := open(t, t.TempDir(), holdfast.Options{Sinks: []holdfast.Sink{{Name: "a", Sink: &away{}}}})
	for _, k := range db.Status().Sinks {
		if k.Stream == holdfast.RejectsStream {
			t.Errorf("a sink gets rejects: %+v", k)
		}
	}
}
