package segment

import (
	"bytes"
	"testing"

	"holdfast/internal/disk"
	"holdfast/row"
)

// TestWholePages writes blocks that end exactly where a page does, and a byte
// in front of it and behind: each follows where the one before it ended, for
// readers and for recovery alike.
func TestWholePages(t *testing.T) {
	s := write(t, 0)
	var want []row.Row
	for pages := 1; pages <= 3; pages++ {
		for _, off := range []int{-1, 0, 1} {
			length := pages*disk.Align + off
			text := bytes.Repeat([]byte("x"), length-blockHead-row.RecordHead-4)
			r := row.Row{Seq: 101 + uint64(len(want)), Received: received(len(want)), Schema: acc, Values: []row.Value{{Text: text}}}
			var batch row.Batch
			ok(t, batch.Add(acc, 0, r.Values))
			b := NewBlock(0)
			b.AppendRows(batch.Bytes(), 1)
			if b.n != length {
				t.Fatalf("the block has %d bytes, should have %d", b.n, length)
			}
			_, err := s.w.Write(b, r.Received, true)
			ok(t, err)
			want = append(want, r)
		}
	}
	sum := s.w.Summary()
	c := read(t, source(s.f, &sum), 0)
	wantAll(t, c.rows, want)
	if len(c.damage) > 0 {
		t.Errorf("damage in a whole segment: %+v", c.damage)
	}
	got, err := Recover(s.f, header(), 0, nil)
	ok(t, err)
	if got.Summary.Tail != sum.Tail || len(got.Damage) > 0 {
		t.Errorf("recovered up to %+v with damage %v, was written up to %+v", got.Summary.Tail, got.Damage, sum.Tail)
	}
}
