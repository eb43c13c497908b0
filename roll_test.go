package holdfast_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast"
)

// rolling are two linked streams and a ledger.
func rolling() holdfast.Options {
	return holdfast.Options{Undo: time.Hour, Streams: []holdfast.Stream{
		{Name: "session", Tables: []string{"session"}, Link: "id"},
		{Name: "packet", Tables: []string{"packet"}, Link: "id", Parent: "session"},
		{Name: holdfast.LedgerStream},
	}}
}

// sessions stores some, sealed after each, so that segments are small.
func sessions(t *testing.T, db *holdfast.DB, from, to int) {
	t.Helper()
	for id := from; id <= to; id++ {
		for _, table := range []string{"session", "packet"} {
			if err := db.Insert(t.Context(), table, []string{"id", "what"}, id, strings.Repeat("x", 200<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// column returns a column of all rows of a stream.
func column(t *testing.T, db *holdfast.DB, stream, name string) (all []string) {
	t.Helper()
	return columnOf(t, db, holdfast.ReadOptions{Stream: stream}, name)
}

// columnOf returns that of the rows that are asked for; gaps are passed over.
func columnOf(t *testing.T, db *holdfast.DB, o holdfast.ReadOptions, name string) (all []string) {
	t.Helper()
	for r, err := range db.Read(context.Background(), o) {
		var gone *holdfast.DamageError
		if errors.As(err, &gone) && gone.Damage.Gap {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range r.Schema.Columns {
			if c.Name == name {
				all = append(all, string(r.Values[i].Text))
			}
		}
	}
	return all
}

// TestRollAndLedger rolls through the library: what goes stands in the ledger,
// with the rule and who asked, and can be brought back.
func TestRollAndLedger(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, rolling())
	sessions(t, db, 1, 10)
	m, err := holdfast.ParseRoll("/database", "sizeRoll", "type=session,packet maxSize=2MB")
	if err != nil {
		t.Fatal(err)
	}
	done, err := db.Roll(m, "carol", true)
	if err != nil || done.Serial == 0 || !done.Plan.Met {
		t.Fatalf("rolled %+v, error %v", done, err)
	}
	left := column(t, db, "session", "id")
	if len(left) == 0 || left[0] == "1" || fmt.Sprint(left) != fmt.Sprint(column(t, db, "packet", "id")) {
		t.Fatalf("sessions %v are left, and packets of %v", left, column(t, db, "packet", "id"))
	}
	if err := db.Close(); err != nil { // the ledger is written then
		t.Fatal(err)
	}
	db = open(t, dir, rolling())
	what := column(t, db, "ledger", "what")
	if len(what) != 1+len(done.Plan.Steps) || what[0] != "roll" || what[1] != "to the trash" {
		t.Fatalf("the ledger says %v after %d steps", what, len(done.Plan.Steps))
	}
	for i, by := range column(t, db, "ledger", "by") {
		if rule := column(t, db, "ledger", "rule")[i]; by != "carol" || rule != done.Plan.Rule {
			t.Fatalf("entry %d is by %q, of rule %q", i, by, rule)
		}
	}
	if serial, err := db.UndoRoll(0, "dave"); serial != done.Serial || err != nil {
		t.Fatalf("undo: %d, %v", serial, err)
	}
	if all := column(t, db, "packet", "id"); len(all) != 10 {
		t.Fatalf("after the undo there are %v", all)
	}
	if err := db.AddHold(holdfast.Hold{Name: "h", Streams: []string{"ledger"}}); err == nil {
		t.Error("the ledger is held, though it does not roll")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReadHeld rolls around a held segment, and reads it: only who asks for rows
// that are cut off gets its rows.
func TestReadHeld(t *testing.T) {
	db := open(t, t.TempDir(), rolling())
	defer db.Close()
	sessions(t, db, 1, 10)
	if err := db.AddHold(holdfast.Hold{Name: "case", Streams: []string{"session", "packet"}, Links: &holdfast.HoldRange{First: 3, Last: 3}}); err != nil {
		t.Fatal(err)
	}
	m, err := holdfast.ParseRoll("/database", "sizeRoll", "type=session,packet maxSize=2MB")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Roll(m, "carol", true); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []string{"session", "packet"} {
		shown := column(t, db, stream, "id")
		all := columnOf(t, db, holdfast.ReadOptions{Stream: stream, CutOff: true}, "id")
		if slices.Contains(shown, "3") || len(shown) == 0 || fmt.Sprint(all) != fmt.Sprint(append([]string{"3"}, shown...)) {
			t.Errorf("of %s %v are shown, and with what is cut off %v", stream, shown, all)
		}
	}
	links := &holdfast.HoldRange{First: 1, Last: 5}
	if err := db.AddHold(holdfast.Hold{Name: "all", Links: links}); err != nil {
		t.Error(err)
	}
	if err := db.AddHold(holdfast.Hold{Name: "none", Streams: []string{"session", "main"}, Links: links}); err == nil || !strings.Contains(err.Error(), `stream "main" has no link`) {
		t.Errorf("a hold by links on a stream without one: %v", err)
	}
}

// TestKeepBudgets starts with a budget that lost a digit: the old one holds, in
// what is rolled as in what is told, until the small one is meant.
func TestKeepBudgets(t *testing.T) {
	dir := t.TempDir()
	o := holdfast.Options{KeepBudgets: true, Streams: []holdfast.Stream{{Name: "main", Limits: holdfast.Limits{Budget: 400 << 20, History: 400 << 20}}}}
	db := open(t, dir, o)
	for range 60 {
		if err := db.Insert(t.Context(), "calls", []string{"what"}, strings.Repeat("x", 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	small := holdfast.Limits{Budget: 40 << 20, History: 40 << 20}
	for _, step := range []struct {
		keep bool
		want int64
	}{{true, 400 << 20}, {true, 400 << 20}, {false, 40 << 20}} {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		o.KeepBudgets, o.Streams[0].Limits = step.keep, small
		db = open(t, dir, o)
		for range 2 {
			if err := db.SetLimits("main", small); err != nil { // as a reload does
				t.Fatal(err)
			}
		}
		i := slices.IndexFunc(db.Status().Streams, func(s holdfast.StreamStatus) bool { return s.Name == "main" })
		if got := db.Status().Streams[i].Limit; got != step.want {
			t.Errorf("the limit is %d, want %d", got, step.want)
		}
		if !step.keep {
			continue // rows leave while they would be counted
		}
		if n := len(column(t, db, "main", "what")); n != 60 {
			t.Errorf("%d of 60 rows are left", n)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLedgerTakesNoTable holds that nobody else writes to the ledger.
func TestLedgerTakesNoTable(t *testing.T) {
	o := rolling()
	o.Streams[2].Tables = []string{"ledger"}
	if db, err := holdfast.Open(t.TempDir(), o); err == nil {
		db.Close()
		t.Error("a table is routed to the ledger")
	}
	for _, bad := range []holdfast.Stream{{Name: "a", Parent: "session"}, {Name: "a", Parent: "x", Link: "id"}, {Name: "a", Link: "id", Parent: "a"},
		{Name: "a", Link: "id", Limits: holdfast.Limits{KeepDelivered: true}}} {
		o := rolling()
		o.Streams = append(o.Streams, bad)
		if db, err := holdfast.Open(t.TempDir(), o); err == nil {
			db.Close()
			t.Errorf("stream %+v is taken", bad)
		}
	}
}
