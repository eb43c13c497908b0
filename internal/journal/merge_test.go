package journal

import (
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/row"
)

// TestGapsMerge drops the oldest again and again before a sink that is away:
// what it lacks is one gap, over a restart too, and not one for each drop.
func TestGapsMerge(t *testing.T) {
	mem := disk.NewMem()
	o := Options{SegmentSize: 48 << 10, Limits: Limits{Budget: 900 << 10, Wait: 10 * time.Second, DropOldest: true}}
	j := open(t, mem, o)
	must(j.Register("away"))
	for run := range 2 {
		must(0, grow(t, j, uint64(200*(run+1))))
		st := j.Status()
		if len(st.Gaps) != 1 || st.GapRows != st.FirstSeq-1 || st.Gaps[0].First != 1 || st.Gaps[0].Last != st.FirstSeq-1 || st.GapRows < 100 {
			t.Errorf("run %d: rows before %d are gone, %d rows are in the gaps %+v", run, st.FirstSeq, st.GapRows, st.Gaps)
		}
		closeJournal(t, j)
		j = open(t, mem, o)
	}
	r := must(j.Reader(1))
	defer r.Close()
	b := must(r.TryNext())
	if len(b.Damage) != 1 || !b.Damage[0].Rolled || b.Damage[0].First != 1 || b.Damage[0].Last != j.Status().FirstSeq-1 {
		t.Errorf("the sink meets %+v", b.Damage)
	}
	closeJournal(t, j)
}

// TestMerged merges only what follows each other and was rolled.
func TestMerged(t *testing.T) {
	g := func(first, last uint64, what string, rolled bool, aside string) gap {
		return gap{Damage: row.Damage{First: first, Last: last, What: what, Gap: true, Rolled: rolled}, Made: int64(last), Quarantine: aside}
	}
	got := merged([]gap{
		g(1, 9, "rolled away by roll 1", true, ""), g(10, 19, "rolled away by roll 2", true, ""), g(20, 29, several+"rolled away by roll 3", true, ""),
		g(31, 39, "x", true, ""), g(40, 49, "repair", false, ""), g(50, 59, "x", true, "q"), g(60, 69, "x", true, ""), g(70, 70, "x", true, ""),
	})
	want := []gap{
		g(1, 29, several+"rolled away by roll 3", true, ""), g(31, 39, "x", true, ""), g(40, 49, "repair", false, ""), g(50, 59, "x", true, "q"), g(60, 70, "x", true, ""),
	}
	if len(got) != len(want) {
		t.Fatalf("merged to %+v", got)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("gap %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}
