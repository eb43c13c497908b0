package journal

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/segment"
	"holdfast/row"
)

// zero overwrites pages of a file.
func zero(t *testing.T, d disk.FS, name string, page, n int64) {
	t.Helper()
	f := must(d.Open(name, true))
	defer f.Close()
	must(0, f.WriteSyncAt(disk.Buffer(int(n)*disk.Align), page*disk.Align))
}

// remove removes a file of segment number.
func remove(t *testing.T, d disk.FS, number uint64) {
	t.Helper()
	must(0, d.Remove(segmentName(number)))
	must(0, d.SyncDir(""))
}

// hopeless makes a segment's header and footer unreadable.
func hopeless(t *testing.T, d disk.FS, number uint64) {
	t.Helper()
	zero(t, d, segmentName(number), 0, 2)
	f := must(d.Open(segmentName(number), true))
	defer f.Close()
	size := must(f.Size())
	must(0, f.WriteSyncAt(disk.Buffer(disk.Align), size-disk.Align))
}

// rowsPage is the page of the first block with rows in a segment of
// threeSegments, behind header and schemas.
const rowsPage = segment.DataStart/disk.Align + 1

// ruin is one way to damage a stream of threeSegments, six rows in all.
type ruin struct {
	name   string
	do     func(t *testing.T, d disk.FS)
	do2    string // what repair does about it, in order
	want   string // what a reader gets, "-" for a lost row
	bytes  bool   // whether the first one has bytes to keep
	reopen bool   // a second start still knows which rows are lost, before any repair
}

var ruins = []ruin{
	{"row", func(t *testing.T, d disk.FS) { flip(t, d, segmentName(2), rowsPage*disk.Align+100) }, "gap", "[row 1 row 2 - row 4 row 5 row 6]", true, true},
	{"block", func(t *testing.T, d disk.FS) { zero(t, d, segmentName(2), rowsPage, 1) }, "gap", "[row 1 row 2 - row 4 row 5 row 6]", true, true},
	{"all blocks", func(t *testing.T, d disk.FS) { zero(t, d, segmentName(2), rowsPage, 2) }, "gap", "[row 1 row 2 - - row 5 row 6]", true, true},
	{"first segment gone", func(t *testing.T, d disk.FS) { remove(t, d, 1) }, "gap", "[- - row 3 row 4 row 5 row 6]", false, true},
	{"middle segment gone", func(t *testing.T, d disk.FS) { remove(t, d, 2) }, "gap", "[row 1 row 2 - - row 5 row 6]", false, true},
	{"last segment gone", func(t *testing.T, d disk.FS) { remove(t, d, 3) }, "gap", "[row 1 row 2 row 3 row 4 - -]", false, true},
	{"segment without header and footer", func(t *testing.T, d disk.FS) { hopeless(t, d, 2) }, "gap", "[row 1 row 2 - - row 5 row 6]", true, true},
	{"that, and no MANIFEST", func(t *testing.T, d disk.FS) { hopeless(t, d, 2); must(0, d.Remove(manifestName)) }, "leave set aside gap", "[row 1 row 2 - - row 5 row 6]", false, true},
	{"MANIFEST", func(t *testing.T, d disk.FS) { must(0, disk.Replace(d, "", manifestName, []byte("{}"))) }, "leave", "[row 1 row 2 row 3 row 4 row 5 row 6]", false, false},
	{"one header copy", func(t *testing.T, d disk.FS) { zero(t, d, segmentName(2), 0, 1) }, "leave", "[row 1 row 2 row 3 row 4 row 5 row 6]", false, true},
}

// repairs runs Repair and returns what it reports.
func repairs(t testing.TB, j *Journal, apply bool) (all []Repair) {
	t.Helper()
	if _, err := j.Repair(context.Background(), apply, func(r Repair) error { all = append(all, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// did tells what repair does, in words.
func did(all []Repair) string {
	words := make([]string, 0, len(all))
	for _, r := range all {
		words = append(words, r.Do)
	}
	return strings.Join(words, " ")
}

// gapsRead returns the rows that a reader is told to be gaps, and fails where
// it meets damage instead.
func gapsRead(t *testing.T, j *Journal) (lost []uint64) {
	t.Helper()
	r := must(j.Reader(1))
	defer r.Close()
	for {
		b := must(r.TryNext())
		if b == nil {
			return lost
		}
		for _, d := range b.Damage {
			if d.First != 0 && !d.Gap {
				t.Errorf("a reader meets damage %+v", d)
			}
			for seq := d.First; d.Gap && seq <= d.Last; seq++ {
				lost = append(lost, seq)
			}
		}
	}
}

// dashes returns the seqs of the rows that are lost in want.
func dashes(want string) (lost []uint64) {
	seq := uint64(0)
	for word := range strings.FieldsSeq(strings.Trim(want, "[]")) {
		if word != "row" {
			seq++
		}
		if word == "-" {
			lost = append(lost, seq)
		}
	}
	return lost
}

// TestRepair damages a stream in every way that has a name, and holds that the
// plan changes nothing, that repair gives up the rows named and no other, that
// it keeps their bytes, that a second one finds nothing to do, and that a gap
// stays one without the MANIFEST.
func TestRepair(t *testing.T) {
	for _, r := range ruins {
		t.Run(r.name, func(t *testing.T) {
			mem := threeSegments(t)
			r.do(t, mem)
			if r.reopen {
				closeJournal(t, open(t, mem, Options{SegmentSize: 64 << 10}))
			}
			j := open(t, mem, Options{SegmentSize: 64 << 10})
			plan := repairs(t, j, false)
			want := r.do2
			if r.name == "that, and no MANIFEST" {
				want = "set aside gap" // the second start found the MANIFEST that the first one made
			}
			if got := did(plan); got != want {
				t.Fatalf("the plan is %q, want %q: %+v", got, want, plan)
			}
			for _, e := range must(mem.List("")) {
				if e.Name == gapsName || e.Name == quarantineDir {
					t.Fatalf("planning made %s", e.Name)
				}
			}
			if got, err := readDamaged(t, j); fmt.Sprint(got) != r.want || err != nil {
				t.Fatalf("before repair a reader gets %q, %v; want %s", got, err, r.want)
			}
			r.repaired(t, mem, j, plan)
			closeJournal(t, j)
			j = open(t, mem, Options{SegmentSize: 64 << 10})
			r.holds(t, j)
			closeJournal(t, j)
			if r.name == "last segment gone" {
				return // without a row behind it the MANIFEST alone knows that there were any
			}
			must(0, mem.Remove(manifestName))
			j = open(t, mem, Options{SegmentSize: 64 << 10})
			r.holds(t, j)
			closeJournal(t, j)
		})
	}
}

// repaired applies the plan and checks what it did.
func (r *ruin) repaired(t *testing.T, d disk.FS, j *Journal, plan []Repair) {
	t.Helper()
	var want []byte
	if r.bytes {
		whole := must(disk.ReadFile(d, segmentName(plan[0].Segment), 1<<20))
		want = whole[plan[0].Offset:min(int64(len(whole)), plan[0].Offset+plan[0].Length)]
	}
	done := repairs(t, j, true)
	if did(done) != did(plan) {
		t.Errorf("repair did %q, planned was %q", did(done), did(plan))
	}
	for _, one := range done {
		if one.Done != (one.Do != Leave) {
			t.Errorf("not done: %+v", one)
		}
	}
	if r.bytes {
		if got := must(disk.ReadFile(d, done[0].Quarantine, 1<<20)); string(got) != string(want) {
			t.Errorf("the quarantine holds %d bytes which are not the %d damaged ones", len(got), len(want))
		}
		must(disk.ReadFile(d, strings.TrimSuffix(done[0].Quarantine, "bin")+"json", 1<<20))
	}
	r.holds(t, j)
}

// holds checks that exactly the lost rows are a gap, and that nothing is left
// to do.
func (r *ruin) holds(t *testing.T, j *Journal) {
	t.Helper()
	for _, again := range repairs(t, j, true) {
		// A file that only the MANIFEST knew is of no use once that is gone.
		if again.Do != Leave && again.Do != SetAside {
			t.Errorf("a second repair does %+v", again)
		}
	}
	if got, want := gapsRead(t, j), dashes(r.want); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("gaps are %v, want %v", got, want)
	}
	if got := j.Status().GapRows; got != uint64(len(dashes(r.want))) {
		t.Errorf("status counts %d rows in gaps, want %d", got, len(dashes(r.want)))
	}
	for _, d := range j.Status().Damage {
		if d.First != 0 {
			t.Errorf("status still names %+v", d)
		}
	}
	for seq := uint64(1); seq <= 6; seq++ { // a cursor in a gap is of this journal
		if err := j.Check(row.Position{Seq: seq, Chain: j.chainAt(t, seq)}); err != nil {
			t.Errorf("cursor at seq %d: %v", seq, err)
		}
	}
}

// chainAt returns the chain value at the end of the block that holds seq, 7
// where nothing is left to tell it.
func (j *Journal) chainAt(t *testing.T, seq uint64) uint32 {
	t.Helper()
	r := must(j.Reader(seq))
	defer r.Close()
	for {
		b := must(r.TryNext())
		switch {
		case b == nil:
			return 7
		case b.End.Seq == seq:
			return b.End.Chain
		case b.End.Seq > seq:
			return 7
		}
	}
}

// TestRepairCrash cuts the power at each disk call of a repair: the next start
// finds the damage as it was, or the gap with the bytes in the quarantine.
func TestRepairCrash(t *testing.T) {
	for _, r := range ruins {
		if !strings.HasSuffix(r.do2, MakeGap) || r.name == "last segment gone" {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			mem := threeSegments(t)
			r.do(t, mem)
			f := disk.NewFaulty(mem)
			j := open(t, f, Options{SegmentSize: 64 << 10})
			var mu sync.Mutex
			var states []*disk.Mem
			f.OnCall(func(c disk.Call) {
				switch c.Kind {
				case disk.CallRead, disk.CallList, disk.CallSize, disk.CallOpen, disk.CallClose, disk.CallSpace:
					return
				}
				mu.Lock()
				defer mu.Unlock()
				for seed := range uint64(3) {
					states = append(states, mem.Crash(seed))
				}
			})
			repairs(t, j, true)
			f.OnCall(nil)
			mu.Lock() // a call of the keeper may still be on its way
			states = append(states, mem.Crash(1))
			mu.Unlock()
			closeJournal(t, j)
			made := 0
			for i, d := range states {
				j := open(t, d, Options{SegmentSize: 64 << 10})
				if got, err := readDamaged(t, j); fmt.Sprint(got) != r.want || err != nil {
					t.Fatalf("state %d: a reader gets %q, %v; want %s", i, got, err, r.want)
				}
				for _, g := range j.gaps.list {
					made++
					if g.Quarantine == "" {
						continue
					}
					if n := len(must(disk.ReadFile(d, g.Quarantine, 1<<20))); int64(n) != g.Length {
						t.Fatalf("state %d: gap %+v has %d bytes in the quarantine", i, g, n)
					}
				}
				repairs(t, j, true)
				r.holds(t, j)
				closeJournal(t, j)
			}
			if made == 0 || made == len(states) {
				t.Errorf("of %d states %d have the gap: the cuts were not around its making", len(states), made)
			}
			t.Logf("%d states, %d with the gap", len(states), made)
		})
	}
}

// TestRepairFaults lets each disk call of a repair fail once: it says so, and
// the next repair does the rest.
func TestRepairFaults(t *testing.T) {
	for _, r := range []ruin{ruins[0], ruins[2], ruins[6]} {
		for n := 1; ; n++ {
			mem := threeSegments(t)
			r.do(t, mem)
			f := disk.NewFaulty(mem)
			j := open(t, f, Options{SegmentSize: 64 << 10})
			f.Fail(disk.Fault{Kind: disk.AnyCall, N: n, Err: syscall.EIO})
			before := f.Count(disk.AnyCall)
			_, err := j.Repair(context.Background(), true, func(Repair) error { return nil })
			calls := f.Count(disk.AnyCall) - before
			f.Fail()
			if err != nil && !errors.Is(err, syscall.EIO) {
				t.Fatalf("%s, call %d: %v", r.name, n, err)
			}
			repairs(t, j, true)
			r.holds(t, j)
			closeJournal(t, j)
			j = open(t, mem, Options{SegmentSize: 64 << 10})
			r.holds(t, j)
			closeJournal(t, j)
			if err == nil && n > calls {
				t.Logf("%s: %d calls", r.name, n-1)
				break
			}
		}
	}
}

// TestRepairRunning removes a segment, and the MANIFEST, under a running
// journal: a reader is told of damage instead of an error, and passes after
// the repair.
func TestRepairRunning(t *testing.T) {
	mem := threeSegments(t)
	j := open(t, mem, Options{SegmentSize: 64 << 10})
	defer closeJournal(t, j)
	mustAppend(t, j, "row 7")
	remove(t, mem, 2)
	must(0, mem.Remove(manifestName))
	want := "[row 1 row 2 - - row 5 row 6 row 7]"
	if got, err := readDamaged(t, j); fmt.Sprint(got) != want || err != nil {
		t.Fatalf("a reader gets %q, %v; want %s", got, err, want)
	}
	if got := did(repairs(t, j, true)); got != "renew gap" {
		t.Fatalf("repair does %q, want it to write the MANIFEST and make a gap", got)
	}
	if got := gapsRead(t, j); fmt.Sprint(got) != "[3 4]" {
		t.Errorf("gaps are %v", got)
	}
	if m := must(readManifest(mem)); m.ID != j.ID() {
		t.Errorf("the MANIFEST is %+v", m)
	}
	if again := repairs(t, j, true); len(again) != 0 {
		t.Errorf("a second repair finds %+v", again)
	}
}

// TestGapGoesWithItsSegment holds that a gap is forgotten once the segments
// behind it are removed and every sink has passed it, and not before.
func TestGapGoesWithItsSegment(t *testing.T) {
	mem := threeSegments(t)
	remove(t, mem, 1)
	j := open(t, mem, Options{SegmentSize: 64 << 10, Limits: Limits{History: 1}})
	defer closeJournal(t, j)
	repairs(t, j, true)
	must(0, j.trimGaps())
	if n := len(j.Status().Gaps); n != 1 {
		t.Fatalf("%d gaps while a sink has yet to pass it, want 1", n)
	}
	j.Mark("sink", 6)
	await(t, func() bool {
		j.chore()
		return len(j.Status().Gaps) == 0
	})
	var f gapsFile
	must(0, readChecked(mem, gapsName, &f))
	if len(f.Gaps) != 0 {
		t.Errorf("the file still has %+v", f.Gaps)
	}
}

// TestQuarantineIsCounted holds that the budget counts what repair keeps, and
// notices when it was taken away.
func TestQuarantineIsCounted(t *testing.T) {
	mem := threeSegments(t)
	zero(t, mem, segmentName(2), rowsPage, 2)
	j := open(t, mem, Options{SegmentSize: 64 << 10})
	defer closeJournal(t, j)
	repairs(t, j, true)
	counted := func() bool {
		j.chore()
		total := int64(0)
		for _, dir := range []string{"", quarantineDir} {
			for _, e := range must(mem.List(dir)) {
				total += e.Size
			}
		}
		return j.Status().Bytes == total
	}
	await(t, counted)
	kept := must(mem.List(quarantineDir))
	if len(kept) != 2 {
		t.Fatalf("the quarantine holds %+v, want the bytes and what they are", kept)
	}
	for _, e := range kept {
		must(0, mem.Remove(quarantineDir+"/"+e.Name))
	}
	await(t, counted)
}

// await waits until ok.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen within 20 s")
		}
	}
}

// TestScrub flips a bit under a running journal: the scrubber names segment,
// offset and seq, changes nothing, and the rows around are served.
func TestScrub(t *testing.T) {
	mem := threeSegments(t)
	j := open(t, mem, Options{SegmentSize: 64 << 10, Scrub: Scrub{Rate: 1 << 30, Pause: time.Millisecond}})
	defer closeJournal(t, j)
	rounds := func() uint64 { return j.Status().Scrub.Rounds }
	await(t, func() bool { return rounds() > 0 })
	if s := j.Status(); len(s.Damage) > 0 || s.Scrub.Damage > 0 || s.Scrub.Bytes == 0 || s.Scrub.Ended.IsZero() {
		t.Fatalf("after a round over whole segments: %+v, damage %v", s.Scrub, s.Damage)
	}
	at := int64(rowsPage*disk.Align + 100)
	flip(t, mem, segmentName(2), at)
	from := rounds()
	await(t, func() bool { return rounds() > from+1 })
	s := j.Status()
	if len(s.Damage) != 1 || s.Scrub.Damage != 1 {
		t.Fatalf("after the flip: %+v, damage %+v", s.Scrub, s.Damage)
	}
	if d := s.Damage[0]; d.Segment != 2 || d.First != 3 || d.Last != 3 || d.Offset > at || d.Offset+d.Length <= at {
		t.Errorf("it names %+v, the flip is in row 3, at %d of segment 2", d, at)
	}
	if _, err := mem.Open(gapsName, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the scrubber made %s: %v", gapsName, err)
	}
	if got, err := readDamaged(t, j); fmt.Sprint(got) != "[row 1 row 2 - row 4 row 5 row 6]" || err != nil {
		t.Errorf("a reader gets %q, %v", got, err)
	}
	repairs(t, j, true)
	from = rounds()
	await(t, func() bool { return rounds() > from+1 })
	if s := j.Status(); len(s.Damage) != 0 || s.Scrub.Damage != 1 {
		t.Errorf("after the repair: %+v, damage %+v", s.Scrub, s.Damage)
	}
}

// TestScrubIsSlow holds that the scrubber keeps to its rate.
func TestScrubIsSlow(t *testing.T) {
	mem := threeSegments(t)
	start := time.Now()
	j := open(t, mem, Options{SegmentSize: 64 << 10, Scrub: Scrub{Rate: 1 << 20, Pause: time.Hour}})
	defer closeJournal(t, j)
	await(t, func() bool { return j.Status().Scrub.Rounds > 0 })
	took, read := time.Since(start), j.Status().Scrub.Bytes
	// The last read is not waited for, and is at most a segment's content.
	if least := time.Duration(float64(read)/(1<<20)*float64(time.Second)) - 100*time.Millisecond; took < least {
		t.Errorf("%d bytes in %v, want at least %v at 1 MiB/s", read, took, least)
	}
}

// TestFormatDocumentGaps holds that the GAPS shown in the format document is
// what this program reads and would write, and that the row in it stands where
// the document's hex example shows it.
func TestFormatDocumentGaps(t *testing.T) {
	text := string(must(os.ReadFile("../../docs/format.md")))
	_, shown, _ := strings.Cut(text, "\n```gaps\n")
	shown, _, found := strings.Cut(shown, "```\n")
	if !found {
		t.Fatal("the document shows no GAPS")
	}
	mem := disk.NewMem()
	must(0, disk.Replace(mem, "", gapsName, []byte(shown)))
	var f gapsFile
	if err := readChecked(mem, gapsName, &f); err != nil {
		line, _, _ := strings.Cut(shown, "\n")
		t.Fatalf("read the GAPS shown: %v; its checksum is crc32c %08x", err, crc32.Checksum([]byte(line), castagnoli))
	}
	must(writeChecked(mem, gapsName, f))
	if got := string(must(disk.ReadFile(mem, gapsName, 1<<20))); got != shown {
		t.Errorf("written anew it is\n%s\nthe document shows\n%s", got, shown)
	}
	golden := must(os.ReadFile("../segment/testdata/version1.seg"))
	g := f.Gaps[0]
	block := golden[12288:] // the salt is 0, so only the place counts
	p, err := row.Parse(golden[g.Offset:g.Offset+g.Length], crc32.Checksum(block[40:64], castagnoli))
	if err != nil || f.Version != gapsVersion || g.Segment != 3 || g.First != 101 || p.Index != 0 {
		t.Errorf("the row shown is %+v, %v, in %+v", p, err, f)
	}
	if g.Quarantine != quarantineName(g.Damage) || time.UnixMicro(g.Made).Year() != 2023 {
		t.Errorf("the gap shown is %+v", g)
	}
}
