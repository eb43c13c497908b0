package journal

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
)

// rowOf is what the row with a seq holds in these tests: so much that few fit
// into a segment.
func rowOf(seq uint64) string { return fmt.Sprintf("%d %s", seq, strings.Repeat("v", 10<<10)) }

// grow appends rows up to seq to, each by itself, and returns the error of the
// first that is refused.
func grow(t *testing.T, j *Journal, to uint64) error {
	t.Helper()
	for seq := j.End().Seq + 1; seq <= to; seq++ {
		if _, err := j.Append(t.Context(), batch(t, j, rowOf(seq)), true); err != nil {
			return err
		}
	}
	return nil
}

// seqs returns which rows a reader gets, from the oldest on; each must be as it
// was appended.
func seqs(t *testing.T, j *Journal) []uint64 {
	t.Helper()
	for {
		all, err := readSeqs(t, j)
		if err == nil {
			return all
		}
		if !errors.Is(err, ErrGone) { // the keeper removes meanwhile
			t.Fatal(err)
		}
	}
}

func readSeqs(t *testing.T, j *Journal) (all []uint64, err error) {
	t.Helper()
	r, err := j.Reader(j.Oldest().Seq + 1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		b, err := r.TryNext()
		if b == nil || err != nil {
			return all, err
		}
		for _, d := range b.Damage {
			if !d.Rolled {
				t.Fatalf("damage: %+v", d)
			}
		}
		for _, one := range b.Rows {
			if string(one.Values[0].Text) != rowOf(one.Seq) {
				t.Fatalf("row %d reads %.40q", one.Seq, one.Values[0].Text)
			}
			all = append(all, one.Seq)
		}
	}
}

// has tells whether all rows of a range are among seqs.
func has(all []uint64, first, last uint64) bool {
	for seq := first; seq <= last; seq++ {
		if !slices.Contains(all, seq) {
			return false
		}
	}
	return true
}

// removal is a way in which rows leave a stream that is tied to no other.
type removal struct {
	name   string
	limits Limits
	// remove does it, once every row up to 30 is there. It returns the journal,
	// which it may have opened anew.
	remove func(t *testing.T, d *disk.Mem, j *Journal, o Options) *Journal
}

func trim(t *testing.T, _ *disk.Mem, j *Journal, _ Options) *Journal {
	j.Mark("sink", j.End().Seq)
	must(0, j.trimHistory())
	return j
}

func tight(t *testing.T, _ *disk.Mem, j *Journal, _ Options) *Journal {
	for to := uint64(30); to <= 90; to += 5 {
		must(0, grow(t, j, to))
		j.Mark("sink", to)
	}
	return j
}

func anew(t *testing.T, d *disk.Mem, j *Journal, o Options) *Journal {
	closeJournal(t, j)
	return open(t, d, o)
}

// removals are all of them.
var removals = []removal{
	{"history", Limits{History: 1}, trim},
	{"budget", Limits{Budget: 900 << 10, Wait: 10 * time.Second}, tight},
	{"min_free", Limits{MinFree: func(int64) int64 { return math.MaxInt64 / 2 }}, nil},
	{"keep: delivered", Limits{KeepDelivered: true}, trim},
	{"clean stop", Limits{KeepDelivered: true}, func(t *testing.T, d *disk.Mem, j *Journal, o Options) *Journal {
		j.Mark("sink", j.End().Seq)
		return anew(t, d, j, o)
	}},
	{"drop_oldest", Limits{Budget: 900 << 10, DropOldest: true, Wait: 10 * time.Second}, func(t *testing.T, _ *disk.Mem, j *Journal, _ Options) *Journal {
		must(0, grow(t, j, 60))
		return j
	}},
	{"retired", Limits{History: 1}, func(t *testing.T, _ *disk.Mem, j *Journal, _ Options) *Journal {
		must(0, j.Retire("sink"))
		must(0, j.trimHistory())
		return j
	}},
	{"restart", Limits{History: 1}, func(t *testing.T, d *disk.Mem, j *Journal, o Options) *Journal {
		j.Mark("sink", j.End().Seq)
		j = anew(t, d, j, o)
		must(0, j.trimHistory())
		return j
	}},
	{"crash", Limits{History: 1}, func(t *testing.T, d *disk.Mem, j *Journal, o Options) *Journal {
		j.Mark("sink", j.End().Seq)
		must(0, j.trimHistory())
		crashed := d.Crash(1)
		closeJournal(t, j)
		j = open(t, crashed, o)
		j.Mark("sink", j.End().Seq)
		must(0, j.trimHistory())
		return j
	}},
}

// TestHeldOnEveryPath holds that what is held stays whatever removes rows, that
// the rest goes, and that it goes when the hold is lifted.
func TestHeldOnEveryPath(t *testing.T) {
	holds := []Hold{{Name: "case", Seqs: &Ends{First: 7, Last: 9}}}
	for _, p := range removals {
		t.Run(p.name, func(t *testing.T) {
			d := disk.NewMem()
			o := Options{SegmentSize: 48 << 10, Limits: p.limits, Holds: holds}
			begun := o
			if p.remove == nil { // nothing could be taken under it
				begun.Limits, p.remove = Limits{}, func(t *testing.T, _ *disk.Mem, j *Journal, o Options) *Journal {
					j.SetLimits(o.Limits)
					return trim(t, nil, j, o)
				}
			}
			j := open(t, d, begun)
			j.SetHolds(holds)
			must(j.Register("sink"))
			must(0, grow(t, j, 30))
			must(0, j.Seal(t.Context()))
			j = p.remove(t, d, j, o)
			defer func() { closeJournal(t, j) }()
			got := seqs(t, j)
			if !has(got, 7, 9) {
				t.Fatalf("held rows are gone: %v are left", got)
			}
			if has(got, 1, 4) {
				t.Fatalf("nothing was removed: %v are left", got)
			}
			j.SetHolds(nil)
			j.SetLimits(Limits{History: 1})
			for name := range j.Sinks() {
				j.Mark(name, j.End().Seq)
			}
			must(0, j.trimHistory())
			if got = seqs(t, j); has(got, 7, 9) {
				t.Errorf("what was held stays when the hold is lifted: %v are left", got)
			}
		})
	}
}

// TestSecondSinkOnEveryPath holds that nothing of what a second sink needs goes
// because the first one has it. drop_oldest and retiring give up a need, so
// they are not tried.
func TestSecondSinkOnEveryPath(t *testing.T) {
	for _, p := range removals {
		if p.limits.DropOldest || p.name == "retired" {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			d := disk.NewMem()
			o := Options{SegmentSize: 48 << 10, Limits: p.limits}
			full := p.limits.Budget > 0
			if full || p.remove == nil {
				p.remove = trim
				o.Limits.Wait = 0
			}
			begun := o
			if o.Limits.MinFree != nil {
				begun.Limits = Limits{}
			}
			j := open(t, d, begun)
			must(j.Register("slow"))
			must(j.Register("sink"))
			must(0, grow(t, j, 30))
			must(0, j.Seal(t.Context()))
			j.Mark("slow", 10)
			if !full { // else the writer's own room is what asks
				j.SetLimits(o.Limits)
				j = p.remove(t, d, j, o)
			} else {
				j.Mark("sink", j.End().Seq)
				if err := grow(t, j, 200); fault.Code(err) != fault.DiskFull {
					t.Errorf("the budget is used up by what a sink needs, and rows are answered with %v", err)
				}
			}
			defer func() { closeJournal(t, j) }()
			got := seqs(t, j)
			if !has(got, 11, 30) {
				t.Fatalf("rows that the second sink needs are gone: %v are left", got)
			}
			if has(got, 1, 4) {
				t.Errorf("what both have is not removed: %v are left", got)
			}
		})
	}
}

// TestKeepAtLeast holds that the newest that keep_at_least names stay, by each
// of its three measures, and that what is older goes.
func TestKeepAtLeast(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name string
		keep Keep
		gone bool // even so, something went
	}{
		{"files", Keep{Files: 6}, true},
		{"bytes", Keep{Bytes: 250 << 10}, true},
		{"age", Keep{Age: time.Hour}, true},
		{"the most of them counts", Keep{Files: 1, Bytes: 1, Age: time.Hour}, true},
		{"all", Keep{Files: 1000}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := now.Add(-2 * time.Hour)
			j := open(t, disk.NewMem(), Options{
				SegmentSize: 48 << 10, Limits: Limits{History: 1, Keep: test.keep}, Now: func() time.Time { return at },
			})
			defer func() { closeJournal(t, j) }()
			must(j.Register("sink"))
			must(0, grow(t, j, 20))
			must(0, j.Seal(t.Context()))
			at = now
			must(0, grow(t, j, 30))
			must(0, j.Seal(t.Context()))
			trim(t, nil, j, Options{})
			got := seqs(t, j)
			if !has(got, 21, 30) && test.keep.Age > 0 || !has(got, 24, 30) {
				t.Errorf("%+v keeps only %v", test.keep, got)
			}
			if has(got, 1, 2) == test.gone {
				t.Errorf("%+v keeps %v", test.keep, got)
			}
			j.SetLimits(Limits{History: 1})
			must(0, j.trimHistory())
			if got = seqs(t, j); has(got, 1, 20) || has(got, 24, 27) {
				t.Errorf("nothing is kept at least any more, and %v stay", got)
			}
		})
	}
}

// TestKeepAtLeastRefuses holds that writers wait, and are refused with a hint,
// where keep_at_least leaves no room.
func TestKeepAtLeastRefuses(t *testing.T) {
	o := Options{SegmentSize: 48 << 10, Limits: Limits{Budget: 900 << 10, Wait: time.Millisecond, DropOldest: true, Keep: Keep{Files: 1000}}}
	j := open(t, disk.NewMem(), o)
	defer func() { closeJournal(t, j) }()
	must(j.Register("sink"))
	err := grow(t, j, 200)
	if fault.Code(err) != fault.DiskFull || fault.Of(err).Hint == "" {
		t.Fatalf("answered %v", err)
	}
	if got := seqs(t, j); !has(got, 1, j.End().Seq) {
		t.Errorf("%v are left of %d", got, j.End().Seq)
	}
	l := o.Limits
	l.Keep, l.Wait = Keep{}, 10*time.Second // what the keeper does at that moment is waited for
	j.SetLimits(l)
	must(0, grow(t, j, 200))
}

// TestDropOldest holds what on_full: drop_oldest promises: writes do not fail,
// what every sink has goes first, what a sink loses is the oldest, and a gap
// names exactly that, also after a power cut.
func TestDropOldest(t *testing.T) {
	mem := disk.NewMem()
	o := Options{SegmentSize: 48 << 10, Limits: Limits{Budget: 1100 << 10, Wait: 10 * time.Second, DropOldest: true}}
	j := open(t, mem, o)
	must(j.Register("dead"))
	must(0, grow(t, j, 40))
	j.Mark("dead", 30)
	must(0, grow(t, j, 60))
	if got := seqs(t, j); !has(got, 31, 60) || has(got, 1, 3) {
		t.Fatalf("rows are given up while there are others: %v are left", got)
	}
	must(0, grow(t, j, 150))
	lost := func(j *Journal) (first, last, n uint64) {
		left := seqs(t, j)
		for _, g := range j.Status().Gaps {
			if first == 0 || g.First < first {
				first = g.First
			}
			last = max(last, g.Last)
			n += g.Last + 1 - g.First
		}
		if len(left) == 0 || !has(left, last+1, 150) || slices.Contains(left, last) {
			t.Errorf("the gaps end at %d, and %v are left", last, left)
		}
		return first, last, n
	}
	first, last, n := lost(j)
	if first != 31 || n != last-first+1 || last >= 150 {
		t.Fatalf("gaps over %d rows from %d to %d, where the sink has 30 of 150", n, first, last)
	}
	for _, crashed := range []*disk.Mem{mem.Kill(), mem.Crash(3)} {
		k := open(t, crashed, o)
		if f, l, m := lost(k); f != first || l != last || m != n {
			t.Errorf("after a crash the gaps are %d rows from %d to %d, before it %d from %d to %d", m, f, l, n, first, last)
		}
		closeJournal(t, k)
	}
	closeJournal(t, j)
}

// TestReadWhileRecycled has a reader in the middle of a segment whose limit
// lets it go: it reads on what was there, whatever becomes of the file.
func TestReadWhileRecycled(t *testing.T) {
	j := open(t, disk.NewMem(), Options{SegmentSize: 8 << 20, Limits: Limits{History: 1}})
	defer func() { closeJournal(t, j) }()
	must(j.Register("sink"))
	large := func(f File) bool { return f.Bytes >= 7<<20 } // the file of a smaller one, as the first is, is of no use
	rows := uint64(2100)                                   // more than memory keeps
	must(0, grow(t, j, rows))
	must(0, j.Seal(t.Context()))
	for len(j.Files()) < slices.IndexFunc(j.Files(), large)+3 || !slices.ContainsFunc(j.Files(), large) { // how soon a large one is ready depends on the machine
		rows += 700
		must(0, grow(t, j, rows))
	}
	all := j.Files()
	at := slices.IndexFunc(all, large)
	next, end := all[at].FirstSeq, all[at].LastSeq
	if end < next+300 {
		t.Fatalf("the segment holds %d to %d", next, end)
	}
	r := must(j.Reader(next))
	defer r.Close()
	read := func(to uint64) {
		for next <= to {
			b, err := r.TryNext()
			if err != nil || b == nil || len(b.Damage) > 0 {
				t.Fatalf("at row %d of %d: %v, block %+v", next, end, err, b)
			}
			for _, one := range b.Rows {
				if one.Seq != next || string(one.Values[0].Text) != rowOf(next) {
					t.Fatalf("row %d is %.20q where row %d stood", one.Seq, one.Values[0].Text, next)
				}
				next++
			}
		}
	}
	read(next + 2)
	j.mu.Lock()
	spare := j.reserve // taken away, so that a file that leaves has reason to become one
	j.reserve = nil
	j.mu.Unlock()
	if spare != nil {
		must(0, j.discard(spare))
	}
	j.Mark("sink", j.End().Seq)
	must(0, j.trimHistory())
	must(0, grow(t, j, rows+2000))
	read(end)
}
