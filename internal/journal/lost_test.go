package journal

import (
	"fmt"
	"strings"
	"testing"

	"holdfast/internal/disk"
)

// TestNewestLost cuts the newest segment off, removes it, or spoils its header
// and does as the answer says, after a kill. What is missing is named, all of it;
// no seq is given twice; and starts after that say the same, and no more, until
// repair gives the rows up.
func TestNewestLost(t *testing.T) {
	whole := disk.NewMem()
	o := Options{Name: "main", SegmentSize: 256 << 10}
	j := open(t, whole, o)
	must(j.Register("sink"))
	for range 3 {
		must(0, grow(t, j, j.End().Seq+20))
		must(0, j.Seal(t.Context()))
	}
	must(0, grow(t, j, j.End().Seq+10))
	j.Mark("sink", 65)
	acked := j.End().Seq
	files := j.Files()
	newest := segmentName(files[len(files)-1].Number)
	first := files[len(files)-1].FirstSeq
	killed := whole.Kill()
	closeJournal(t, j)
	size := must(must(killed.Open(newest, false)).Size())

	readable := func(j *Journal) map[uint64]bool {
		seqs := map[uint64]bool{}
		r := must(j.Reader(1))
		defer r.Close()
		for b := must(r.TryNext()); b != nil; b = must(r.TryNext()) {
			for _, one := range b.Rows {
				seqs[one.Seq] = true
			}
		}
		return seqs
	}
	type spoil struct {
		name string
		do   func(d disk.FS)
	}
	spoils := []spoil{
		{"removed", func(d disk.FS) { must(0, d.Remove(newest)) }},
		{"another header", func(d disk.FS) {
			f := must(d.Open(newest, true))
			must(0, f.WriteAt(disk.Buffer(8192), 0))
			must(0, f.Close())
			if _, err := Open(d, o); err == nil || !strings.Contains(err.Error(), "are given up") {
				t.Errorf("without a header: %v", err)
			}
			must(0, d.Rename(newest, "away"))
		}},
	}
	for to := int64(0); to < size; to += 1000 {
		spoils = append(spoils, spoil{fmt.Sprintf("cut to %d", to), func(d disk.FS) {
			f := must(d.Open(newest, true))
			must(0, f.Truncate(to))
			must(0, f.Sync())
			must(0, f.Close())
		}})
	}
	for _, s := range spoils {
		d := killed.Kill()
		s.do(d)
		k, err := Open(d, o)
		if err != nil {
			if to := strings.TrimPrefix(s.name, "cut to "); len(to) <= 4 && strings.Contains(err.Error(), "are given up") { // its header is cut
				continue
			}
			t.Fatalf("%s: %v", s.name, err)
		}
		given := must(k.Append(t.Context(), batch(t, k, rowOf(1)), true))
		if given <= acked {
			t.Fatalf("%s: seq %d is given again", s.name, given)
		}
		named := map[uint64]bool{}
		said := fmt.Sprint(k.Recovery().Damage)
		for _, g := range k.Recovery().Damage {
			for seq := g.First; seq <= min(g.Last, acked); seq++ {
				named[seq] = true
			}
		}
		have := readable(k)
		for seq := uint64(1); seq <= acked; seq++ {
			if have[seq] == named[seq] {
				t.Fatalf("%s: row %d of %d can be read: %t, is named as missing: %t\n%s", s.name, seq, acked, have[seq], named[seq], said)
			}
		}
		if len(named) > int(acked-first)+1 {
			t.Errorf("%s: %d rows are named: %s", s.name, len(named), said)
		}
		end := k.End().Seq
		closeJournal(t, k)
		again := must(Open(d, o))
		if again.End().Seq != end {
			t.Errorf("%s: it ends at %d, and then at %d", s.name, end, again.End().Seq)
		}
		closeJournal(t, again)
	}
}
