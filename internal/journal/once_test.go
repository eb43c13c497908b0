package journal

import (
	"fmt"
	"slices"
	"testing"

	"holdfast/internal/disk"
	"holdfast/row"
)

// TestDamageIsCountedOnce loses a segment, and has a start, readers that begin
// within it, verify and the plan of repair meet it: Status has it once.
func TestDamageIsCountedOnce(t *testing.T) {
	for _, lost := range []uint64{1, 2, 4, 5} {
		for _, how := range []func(testing.TB, disk.FS){
			func(t testing.TB, d disk.FS) { must(0, d.Remove(segmentName(lost))) },
			func(t testing.TB, d disk.FS) {
				must(0, disk.Replace(d, "", segmentName(lost), make([]byte, must(must(d.Open(segmentName(lost), false)).Size()))))
			},
		} {
			mem := fiveSegments(t, false)
			how(t, mem)
			j := open(t, mem, Options{SegmentSize: 1 << 20})
			mustAppend(t, j, "row 11")
			first, last := 2*lost-1, 2*lost
			for _, from := range []uint64{last, first, 1} {
				r := must(j.Reader(from))
				for b := must(r.TryNext()); b != nil; {
					b = must(r.TryNext())
				}
				must(0, r.Close())
			}
			verifySays(t, j)
			repairs(t, j, false)
			var rows []row.Damage
			for _, d := range j.Status().Damage {
				if d.First != 0 {
					rows = append(rows, d)
				}
			}
			if len(rows) != 1 || rows[0].First != first || rows[0].Last != last {
				t.Errorf("without segment %d status has %+v", lost, rows)
			}
			closeJournal(t, j)
		}
	}
}

// TestOnce holds which damage is new, and which is one with what is known.
func TestOnce(t *testing.T) {
	at := func(first, last uint64, offset, length int64) row.Damage {
		return row.Damage{Stream: "main", Segment: 1, First: first, Last: last, Offset: offset, Length: length, What: fmt.Sprint(first)}
	}
	harmless := row.Damage{Stream: "main", Segment: 1, What: "one header copy"}
	for _, c := range []struct {
		name  string
		all   []row.Damage
		d     row.Damage
		want  []row.Damage
		fresh bool
	}{
		{"the first", nil, at(2, 3, 0, 0), []row.Damage{at(2, 3, 0, 0)}, true},
		{"the same", []row.Damage{at(2, 3, 0, 0)}, at(2, 3, 0, 0), []row.Damage{at(2, 3, 0, 0)}, false},
		{"a part", []row.Damage{at(2, 9, 0, 0)}, at(9, 9, 0, 0), []row.Damage{at(2, 9, 0, 0)}, false},
		{"the whole of two", []row.Damage{at(3, 3, 0, 0), at(5, 9, 0, 0)}, at(2, 9, 0, 0), []row.Damage{at(2, 9, 0, 0)}, true},
		{"beside", []row.Damage{at(2, 3, 0, 0)}, at(4, 5, 0, 0), []row.Damage{at(2, 3, 0, 0), at(4, 5, 0, 0)}, true},
		{"across", []row.Damage{at(2, 4, 100, 50)}, at(4, 6, 120, 80), []row.Damage{at(2, 6, 100, 100)}, true},
		{"no row", []row.Damage{at(2, 4, 0, 0)}, harmless, []row.Damage{at(2, 4, 0, 0), harmless}, true},
		{"no row, again", []row.Damage{harmless}, harmless, []row.Damage{harmless}, false},
	} {
		before := slices.Clone(c.all)
		got, fresh := once(c.all, c.d)
		if !slices.Equal(got, c.want) || fresh != c.fresh {
			t.Errorf("%s: %+v, new %v; want %+v, new %v", c.name, got, fresh, c.want, c.fresh)
		}
		if !slices.Equal(c.all, before) {
			t.Errorf("%s: what was known is changed to %+v", c.name, c.all)
		}
	}
}
