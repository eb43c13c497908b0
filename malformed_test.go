package holdfast_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"holdfast"
	"holdfast/row"
	"holdfast/sink/sqlite"
)

// TestInsertMalformed has lines that are no rows between rows, in one move of a
// source: they are kept byte for byte, set aside with where they stood, and
// cost no row.
func TestInsertMalformed(t *testing.T) {
	to, err := sqlite.Open(filepath.Join(t.TempDir(), "rows.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, t.TempDir(), holdfast.Options{Sinks: []holdfast.Sink{{Name: "k", Sink: to, RejectFlood: -1}}})
	s := schema(t, db, "acc", "a")
	tx := db.BeginMove(holdfast.Move{Source: "calls", To: "1"})
	raw := "\xff\x00|forged\r"
	for _, err := range []error{
		tx.InsertMalformed(holdfast.Line{Table: "acc", Raw: []byte(raw), Why: "it holds a NUL", File: "/log/acc_129.log.1", At: 17}),
		tx.Insert(s, []row.Value{row.Text("kept")}),
		tx.InsertMalformed(holdfast.Line{Table: "acc", Raw: nil, Why: "it is empty", File: "f", At: 0}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.InsertMalformed(holdfast.Line{}); err == nil {
		t.Error("a line for no table was taken")
	}
	if err := tx.Commit(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := db.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	var found []holdfast.Reject
	for e, err := range db.ExportRejects(context.Background(), holdfast.RejectFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, e)
	}
	if len(found) != 2 || found[0].Row == nil {
		t.Fatalf("rejects: %+v, want the two lines", found)
	}
	one := found[0]
	if got := string(one.Row.Values[0].Text); got != raw || one.Code != "malformed" || one.Table != "acc" {
		t.Errorf("the first is %q of table %q with code %q", got, one.Table, one.Code)
	}
	for _, want := range []string{"it holds a NUL", "/log/acc_129.log.1", "byte 17"} {
		if !strings.Contains(one.Why, want) {
			t.Errorf("it says %q, without %q", one.Why, want)
		}
	}
	if at := db.Status().Sinks[0]; at.Seq != 3 || at.Rows != 1 {
		t.Errorf("the sink stands at %d with %d rows, want 3 and 1", at.Seq, at.Rows)
	}
	if at, err := db.Position("calls"); err != nil || at != "1" {
		t.Errorf("the source stands at %q, %v", at, err)
	}
}
