package holdfast_test

import (
	"strings"
	"testing"

	"holdfast"
	"holdfast/internal/fault"
	"holdfast/row"
)

// TestSend has a thousand commits of one goroutine under way: each is stored
// once, in order, when its Done is closed, and few channels stand for all.
func TestSend(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, holdfast.Options{})
	s := schema(t, db, "cdr", "a", "b")
	tx := db.Begin()
	insert := func(n int, value string) {
		for range n {
			if err := tx.Insert(s, []row.Value{row.Text(value), row.Null}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var under []holdfast.Pending
	groups := map[<-chan struct{}]bool{}
	for i := range 1000 {
		insert(1+i%2, strings.Repeat("x", 1+i%7))
		under = append(under, tx.Send(t.Context(), true))
		groups[under[i].Done()] = true
	}
	for i := range under {
		<-under[i].Done()
		if err := under[i].Err(); err != nil {
			t.Fatalf("commit %d: %v", i, err)
		}
	}
	if len(groups) > 500 {
		t.Errorf("1000 commits were answered by %d channels", len(groups))
	}
	insert(3, strings.Repeat("y", 500<<10)) // staged, so done at once
	for _, p := range []holdfast.Pending{tx.Send(t.Context(), true), tx.Send(t.Context(), true)} {
		<-p.Done()
		if err := p.Err(); err != nil {
			t.Errorf("a staged, or an empty, transaction: %v", err)
		}
	}
	lines, flags := all(t, db, holdfast.ReadOptions{})
	if len(lines) != 1503 || flags[1] != row.TxBegin || flags[2] != row.TxEnd {
		t.Errorf("%d rows, want 1503; the second commit has flags %v, %v", len(lines), flags[1], flags[2])
	}
}

// TestSendToClosed holds that what is not taken is answered so.
func TestSendToClosed(t *testing.T) {
	db, err := holdfast.Open(t.TempDir(), holdfast.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := schema(t, db, "cdr", "a")
	tx := db.Begin()
	if err := tx.Insert(s, []row.Value{row.Text("1")}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	p := tx.Send(t.Context(), true)
	<-p.Done()
	if err := p.Err(); fault.Code(err) != fault.AdminShutdown {
		t.Errorf("answered %v", err)
	}
}
