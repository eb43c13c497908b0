package rejects

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/row"
)

// flip changes one byte of what stands somewhere in the stream's files, once.
func flip(t *testing.T, d disk.FS, what string) {
	t.Helper()
	entries, err := d.List("")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name, ".seg") {
			continue
		}
		b, err := disk.ReadFile(d, e.Name, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, []byte(what))
		if at < 0 {
			continue
		}
		f, err := d.Open(e.Name, true)
		if err != nil {
			t.Fatal(err)
		}
		block := disk.Buffer(disk.Align)
		from := at / disk.Align * disk.Align
		copy(block, b[from:])
		block[at-from] ^= 1
		if err := f.WriteAt(block, int64(from)); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%q is in no segment", what)
}

// TestDamage flips bytes of events: the store opens, says which rejects are
// hurt, and everything else goes on.
func TestDamage(t *testing.T) {
	const rejects = 9
	cases := []struct {
		name  string
		flip  string
		waits int      // how many wait then
		lost  uint64   // the seq of the row whose values are lost, though it waits; 0: none
		named []uint64 // seqs of the rows that Damage names
	}{
		{"the event that refused one", "refused row 4!", rejects - 2, 0, nil},
		{"the values of one", "value 4!", rejects - 1, 4, []uint64{4}},
		{"the event that refused one which was refused again since", "refused row 6!", rejects - 2, 0, []uint64{6}},
		{"the event that discarded one", "note of 8!", rejects, 0, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := begin(t, disk.NewMem(), Options{})
			var other bool
			for seq := uint64(1); seq <= rejects; seq++ {
				r := bad("pg", seq, row.Text(fmt.Sprint(seq)), row.Text(fmt.Sprintf("value %d!", seq)), row.Null)
				r.Why = fmt.Sprintf("refused row %d!", seq)
				keep(t, p.s, r)
			}
			id := func(seq uint64) uint64 { return 2*seq - 1 }
			if err := p.s.Retried(ctx, []Outcome{{ID: id(6), Code: "x", Why: "again"}}); err != nil {
				t.Fatal(err)
			}
			if n, err := p.s.Discard(ctx, Filter{IDs: []uint64{id(8)}}, "note of 8!"); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			p.close()
			flip(t, p.d, c.flip)
			p.open()

			es := collect(t, p.s.Export(ctx, Filter{}))
			if len(es) != c.waits {
				t.Fatalf("%d wait, want %d", len(es), c.waits)
			}
			for _, e := range es {
				if hurt := e.Seq == c.lost; (e.Row == nil) != hurt || (e.Lost != "") != hurt || e.Why == "" {
					t.Errorf("%+v", e)
				}
			}
			damage := p.s.Damage()
			var named []uint64
			for _, d := range damage {
				other = other || d.First > 0 && d.Last >= d.First && d.What != ""
				for _, id := range d.IDs {
					named = append(named, id.Seq)
				}
			}
			if !other || fmt.Sprint(named) != fmt.Sprint(c.named) {
				t.Errorf("damage %+v names rows %v, want %v", damage, named, c.named)
			}
			if c.lost != 0 {
				if _, err := p.s.Edit(ctx, id(c.lost), map[string]row.Value{"who": row.Null}); err == nil {
					t.Error("values that are lost could be edited")
				}
			}
			// Everything goes on, and what lost its event can be kept again.
			for seq := uint64(1); seq <= rejects+1; seq++ {
				keep(t, p.s, bad("pg", seq))
			}
			n, err := p.s.Discard(ctx, Filter{}, "all")
			if err != nil || len(collect(t, p.s.List(ctx, Filter{}))) != 0 {
				t.Errorf("discarded %d, error %v", n, err)
			}
			p.again()
			if es := collect(t, p.s.List(ctx, Filter{})); len(es) != 0 {
				t.Errorf("%d wait after all were discarded", len(es))
			}
		})
	}
}

// TestForeignRows holds that rows in the stream that are none of the store's are
// passed over, and those that look like its own are named.
func TestForeignRows(t *testing.T) {
	p := begin(t, disk.NewMem(), Options{})
	keep(t, p.s, bad("pg", 1))
	put := func(table string, columns []row.Column, values ...row.Value) {
		t.Helper()
		var b row.Batch
		if err := b.Add(p.j.Intern(table, columns), 0, values); err != nil {
			t.Fatal(err)
		}
		if _, err := p.j.Append(ctx, &b, true); err != nil {
			t.Fatal(err)
		}
	}
	text := []row.Column{{Name: "event"}}
	put("acc", text, row.Text("x"))
	put(valuesTable, text, row.Text("x"))
	put(eventTable, text, row.Text("refused"))
	put(eventTable, nil)
	ev := event{kind: "invented later", state: StateOpen, id: 1, columns: -1, streamID: "x", seq: 1}
	put(eventTable, eventColumns, ev.values()...)
	keep(t, p.s, bad("pg", 2)) // catches up with the others first
	p.again()
	if es := collect(t, p.s.Export(ctx, Filter{})); len(es) != 2 || es[0].Row == nil || es[1].Row == nil {
		t.Fatalf("%+v", es)
	}
	if d := p.s.Damage(); len(d) != 3 {
		t.Fatalf("damage %+v, want the three rows that are no events", d)
	}
}

// TestReopen puts a sink back: what was delivered waits again, with the values
// that were delivered, and what was discarded does not come again.
func TestReopen(t *testing.T) {
	p := begin(t, disk.NewMem(), Options{small: 1, closed: 4, PerSink: 10})
	for seq := uint64(1); seq <= 9; seq++ {
		keep(t, p.s, bad("pg", seq))
	}
	keep(t, p.s, bad("other", 1))
	var outcomes []Outcome
	for _, e := range collect(t, p.s.List(ctx, Filter{})) {
		if e.Seq == 5 {
			if _, err := p.s.Edit(ctx, e.ID, map[string]row.Value{"who": row.Text("five")}); err != nil {
				t.Fatal(err)
			}
		}
		if e.Seq < 8 {
			outcomes = append(outcomes, Outcome{ID: e.ID, Delivered: true})
		}
	}
	if err := p.s.Retried(ctx, outcomes); err != nil {
		t.Fatal(err)
	}
	if n, err := p.s.Discard(ctx, Filter{Sink: "pg", From: 8, To: 8}, ""); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	p.again()
	id := bad("pg", 1).StreamID
	n, lost, err := p.s.Reopen(ctx, id, "pg")
	if n != 7 || lost != 0 || err != nil {
		t.Fatalf("reopened %d, lost %d, error %v; want 7", n, lost, err)
	}
	if n, _, err := p.s.Reopen(ctx, id, "pg"); n != 0 || err != nil {
		t.Fatalf("reopened %d more, error %v", n, err)
	}
	p.again()
	es := collect(t, p.s.Export(ctx, Filter{Sink: "pg"}))
	if len(es) != 8 || es[4].Seq != 5 || string(es[4].Row.Values[1].Text) != "five" || es[4].Edits != 1 || es[0].ID != 1 {
		t.Fatalf("%d wait: %+v", len(es), es)
	}
	if len(collect(t, p.s.List(ctx, Filter{Sink: "other", State: StateDelivered}))) != 1 {
		t.Error("another sink's rejects were touched")
	}
	if _, _, err := p.s.Reopen(ctx, id, "pg"); err != nil {
		t.Fatal(err)
	}
	kept, err := p.s.Kept(ctx, id, "pg", 3)
	if err != nil || fmt.Sprint(kept) != "[3 4 5 6 7 8 9]" {
		t.Errorf("kept %v, error %v", kept, err)
	}
}

// TestDiskErrors fails calls of the disk, one after the other: what Keep returned
// for waits once, now and after a start, and the store goes on when the disk does.
func TestDiskErrors(t *testing.T) {
	mem := disk.NewMem()
	f := disk.NewFaulty(mem)
	p := &place{t: t, d: f, jo: journal.Options{Name: "rejects", SegmentSize: 64 << 10}}
	p.open()
	t.Cleanup(p.close)
	acked, failed := map[uint64]bool{}, 0
	seq := uint64(0)
	for _, kind := range []disk.Kind{disk.CallWriteSync, disk.CallWrite, disk.CallSync, disk.CallCreate, disk.AnyCall} {
		for n := 1; n <= 12; n++ {
			f.Fail(disk.Fault{Kind: kind, N: 1 + n/4, Err: errors.New("broken"), Late: n%2 == 0, Forever: n%3 == 0})
			for range 3 {
				seq++
				if err := p.s.Keep(ctx, []Reject{bad("pg", seq)}); err == nil {
					acked[seq] = true
				} else {
					failed++
				}
			}
			f.Fail()
			keep(t, p.s, bad("pg", seq), bad("pg", seq-1)) // the batch comes again
			acked[seq], acked[seq-1] = true, true
		}
	}
	if failed == 0 {
		t.Error("no call failed")
	}
	for range 2 {
		seen := map[uint64]bool{}
		for _, e := range collect(t, p.s.Export(ctx, Filter{})) {
			if seen[e.Seq] || e.Row == nil || e.Seq > seq {
				t.Errorf("%+v is there twice, or without values", e)
			}
			seen[e.Seq] = true
		}
		for s := range acked {
			if !seen[s] {
				t.Errorf("reject of row %d was kept, and does not wait", s)
			}
		}
		p.again()
	}
}

// TestBehindItsBack holds that the store notices what came into the log without
// it, as an append does whose outcome nobody learned.
func TestBehindItsBack(t *testing.T) {
	p := begin(t, disk.NewMem(), Options{})
	other, err := Open(p.j, Options{})
	if err != nil {
		t.Fatal(err)
	}
	keep(t, other, bad("pg", 1))
	if kept, err := p.s.Kept(ctx, bad("pg", 1).StreamID, "pg", 1); err != nil || fmt.Sprint(kept) != "[1]" {
		t.Errorf("kept %v, error %v", kept, err)
	}
	keep(t, p.s, bad("pg", 1))
	if end := p.j.End().Seq; end != 2 {
		t.Errorf("the log ends at %d: the reject was stored twice", end)
	}
}

// TestForgotten closes and opens rejects while few closed ones are remembered:
// what waits is never forgotten.
func TestForgotten(t *testing.T) {
	p := begin(t, disk.NewMem(), Options{closed: 2})
	keep(t, p.s, bad("pg", 1))
	if err := p.s.Retried(ctx, []Outcome{{ID: 1, Delivered: true}}); err != nil {
		t.Fatal(err)
	}
	keep(t, p.s, bad("pg", 1)) // waits again
	for seq := uint64(2); seq < 8; seq++ {
		keep(t, p.s, bad("pg", seq))
		if n, err := p.s.Discard(ctx, Filter{From: seq}, ""); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	keep(t, p.s, bad("pg", 1))
	keep(t, p.s, bad("pg", 2)) // was discarded, and nobody remembers: it waits as a new one
	for range 2 {
		es := collect(t, p.s.List(ctx, Filter{}))
		if len(es) != 2 || es[0].ID != 1 || es[1].Seq != 2 || es[1].ID < 3 {
			t.Fatalf("%+v", es)
		}
		p.again()
	}
}

// TestRename gives a sink another name: its rejects go with it, over a start and
// when they are told again.
func TestRename(t *testing.T) {
	p := begin(t, disk.NewMem(), Options{})
	r := bad("old", 1)
	keep(t, p.s, r, bad("old", 2), bad("other", 1), bad("old", 3))
	if n, err := p.s.Discard(ctx, Filter{Sink: "old", From: 3}, ""); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := p.s.Rename(ctx, r.StreamID, "old", "other"); err == nil {
		t.Fatal("took the name of a sink whose rejects wait")
	}
	if err := p.s.Rename(ctx, r.StreamID, "old", "new"); err != nil {
		t.Fatal(err)
	}
	for _, small := range []int64{0, 1} {
		p.o.small = small
		keep(t, p.s, bad("new", 2))
		es := collect(t, p.s.Export(ctx, Filter{Sink: "new"}))
		if len(es) != 2 || es[0].Sink != "new" || es[0].ID != 1 || es[0].Row == nil || len(collect(t, p.s.List(ctx, Filter{Sink: "old"}))) != 0 {
			t.Fatalf("%+v", es)
		}
		if kept, err := p.s.Kept(ctx, r.StreamID, "new", 1); err != nil || fmt.Sprint(kept) != "[1 2 3]" {
			t.Fatalf("kept %v, error %v", kept, err)
		}
		if _, err := p.s.Edit(ctx, 1, map[string]row.Value{"who": row.Text("x")}); err != nil {
			t.Fatal(err)
		}
		p.again()
		if d := p.s.Damage(); len(d) != 0 {
			t.Fatalf("damage %+v", d)
		}
	}
	if n, err := p.s.Discard(ctx, Filter{Sink: "new"}, ""); n != 2 || err != nil {
		t.Fatal(n, err)
	}
}
