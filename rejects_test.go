package holdfast_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast"
	"holdfast/internal/fault"
	"holdfast/row"
)

// run changes a database beside the sink.
func run(t *testing.T, file, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// until waits for a sink to be as ok says.
func until(t *testing.T, db *holdfast.DB, name, what string, ok func(holdfast.SinkStatus) bool) {
	t.Helper()
	var last holdfast.SinkStatus
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, k := range db.Status().Sinks {
			if last = k; k.Name == name && ok(k) {
				return
			}
		}
	}
	t.Fatalf("waited for %s: %+v", what, last)
}

// rejected lists rejects as "seq state".
func rejected(t *testing.T, db *holdfast.DB, f holdfast.RejectFilter) string {
	t.Helper()
	var out []string
	for r, err := range db.Rejects(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(r.Seq, " ", r.State))
	}
	return strings.Join(out, ", ")
}

// TestRejects sets rows aside, alone and with their transactions, over a budget
// and over a restart, and brings them in.
func TestRejects(t *testing.T) {
	dir := t.TempDir()
	data, one, whole := filepath.Join(dir, "data"), filepath.Join(dir, "one.db"), filepath.Join(dir, "whole.db")
	for _, file := range []string{one, whole} {
		run(t, file, "CREATE TABLE t (a INTEGER CHECK (a < 100))")
	}
	with := func() *holdfast.DB {
		return open(t, data, holdfast.Options{Sinks: []holdfast.Sink{
			{Name: "one", Sink: lite(t, one), RejectBudget: 3}, {Name: "whole", Sink: lite(t, whole), WholeTransactions: true},
		}})
	}
	db := with()
	s := schema(t, db, "t", "a")
	tx := db.Begin()
	for _, v := range []string{"1", "200", "3"} {
		if err := tx.Insert(s, []row.Value{row.Text(v)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	insert(t, db, 4, 500)
	drained(t, db)
	const rows = "SELECT a FROM t ORDER BY a"
	if a, b := ask(t, one, rows), ask(t, whole, rows); a != "1 3 4" || b != "4" {
		t.Errorf("one has %q, whole has %q", a, b)
	}
	if a, b := rejected(t, db, holdfast.RejectFilter{Sink: "one"}), rejected(t, db, holdfast.RejectFilter{Sink: "whole"}); a != "2 open, 5 open" || b != "1 open, 2 open, 3 open, 5 open" {
		t.Errorf("rejects of one: %s; of whole: %s", a, b)
	}
	if _, err := db.RetireSink(t.Context(), "one", false); fault.Code(err) != fault.InvalidParameterValue {
		t.Errorf("retire with rejects: %v", err)
	}
	closed(t, db)

	db = with()
	insert(t, db, 600, 700, 8) // the second is one too many
	until(t, db, "one", "the budget to be used up", func(k holdfast.SinkStatus) bool { return k.State == "halted" && k.Reason == "reject budget" })
	until(t, db, "whole", "the other to go on", func(k holdfast.SinkStatus) bool { return k.LagRows == 0 && k.RejectsOpen == 6 })
	if n, err := db.DiscardRejects(t.Context(), holdfast.RejectFilter{Sink: "one", From: 5, To: 5}, "a test"); n != 1 || err != nil {
		t.Fatalf("discarded %d, %v", n, err)
	}
	if err := db.ResumeSink("one", holdfast.Resume{}); err != nil {
		t.Fatal(err)
	}
	drained(t, db)
	if got := rejected(t, db, holdfast.RejectFilter{Sink: "one"}); got != "2 open, 6 open, 7 open" {
		t.Errorf("rejects of one: %s", got)
	}

	for r, err := range db.ExportRejects(t.Context(), holdfast.RejectFilter{Sink: "one", From: 2, To: 2}) {
		if err != nil || r.Row.Values[0].String() != "200" {
			t.Fatalf("exported %+v, %v", r, err)
		}
		if _, err := db.EditReject(t.Context(), r.ID, map[string]row.Value{"a": row.Text("20")}); err != nil {
			t.Fatal(err)
		}
	}
	done, err := db.RetryRejects(t.Context(), holdfast.RejectFilter{Sink: "one"})
	if err != nil || done.Delivered != 1 || done.Refused != 2 || len(done.Why) == 0 {
		t.Errorf("retried %+v, %v", done, err)
	}
	run(t, whole, "CREATE TABLE u (a INTEGER); INSERT INTO u SELECT a FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t")
	for range 2 { // the second finds nothing to do
		if done, err = db.RetryRejects(t.Context(), holdfast.RejectFilter{Sink: "whole"}); err != nil || done.Refused+done.Skipped != 0 {
			t.Errorf("retried %+v, %v", done, err)
		}
	}
	if a, b := ask(t, one, rows), ask(t, whole, rows); a != "1 3 4 8 20" || b != "1 3 4 8 200 500 600 700" {
		t.Errorf("one has %q, whole has %q", a, b)
	}
	if _, err := db.RetryRejects(t.Context(), holdfast.RejectFilter{State: "delivered"}); fault.Code(err) != fault.InvalidParameterValue {
		t.Errorf("a retry of what is delivered: %v", err)
	}
}

// TestPauseSink pauses, over a restart, one stream of a sink or all of it.
func TestPauseSink(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "rows.db")
	with := func() *holdfast.DB {
		return open(t, data, holdfast.Options{
			Streams: []holdfast.Stream{{Name: "other", Tables: []string{"o"}}}, Sinks: []holdfast.Sink{{Name: "s", Sink: lite(t, file)}},
		})
	}
	state := func(db *holdfast.DB, stream string) string {
		for _, k := range db.Status().Sinks {
			if k.Stream == stream {
				return k.State
			}
		}
		return ""
	}
	paused := func(db *holdfast.DB, stream string) {
		t.Helper()
		until(t, db, "s", stream+" to be paused", func(holdfast.SinkStatus) bool { return state(db, stream) == "paused" })
	}
	db := with()
	insert(t, db, 1)
	drained(t, db)
	for _, bad := range []error{db.PauseSink("none", ""), db.PauseSink("s", "none"), db.PauseSink("s", holdfast.RejectsStream), db.ResumeSink("s", holdfast.Resume{Stream: "none"})} {
		if fault.Code(bad) != fault.UndefinedObject || fault.Of(bad).Hint == "" {
			t.Errorf("what is not there: %v", bad)
		}
	}
	if _, err := db.SeekSink(t.Context(), "s", "", 0); fault.Code(err) != fault.InvalidParameterValue {
		t.Errorf("seek of several streams: %v", err)
	}
	if err := db.PauseSink("s", "main"); err != nil {
		t.Fatal(err)
	}
	paused(db, "main")
	insert(t, db, 2)
	if err := db.Insert(t.Context(), "o", []string{"a"}, 9); err != nil {
		t.Fatal(err)
	}
	until(t, db, "s", "the other stream to go on", func(k holdfast.SinkStatus) bool { return k.Stream == "other" && k.Seq == 1 })
	closed(t, db)
	db = with()
	paused(db, "main")
	if got := ask(t, file, "SELECT a FROM t"); got != "1" {
		t.Errorf("a paused sink has %q", got)
	}
	closed(t, db)
	db = open(t, data, holdfast.Options{Streams: []holdfast.Stream{{Name: "other", Tables: []string{"o"}}}})
	if err := db.ResumeSink("s", holdfast.Resume{Replay: true}); fault.Code(err) != fault.CannotConnectNow {
		t.Errorf("replay without the sink: %v", err)
	}
	if err := db.ResumeSink("s", holdfast.Resume{}); err != nil {
		t.Fatal(err)
	}
	closed(t, db)
	db = with()
	drained(t, db)
	if got := ask(t, file, "SELECT a FROM t"); got != "1 2" {
		t.Errorf("the sink has %q", got)
	}
}
