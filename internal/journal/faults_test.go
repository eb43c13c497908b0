package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/segment"
	"holdfast/row"
)

// TestRegisterIsDurable fails the first registration: the second must not take
// the sink for registered, but make it so.
func TestRegisterIsDurable(t *testing.T) {
	mem := disk.NewMem()
	f := disk.NewFaulty(mem)
	j := open(t, f, Options{SegmentSize: 1 << 20})
	defer j.Close()
	f.Fail(disk.Fault{Kind: disk.CallRename, N: 1, Err: syscall.EIO})
	if _, err := j.Register("sink"); !errors.Is(err, syscall.EIO) {
		t.Fatalf("register on a failing disk: %v", err)
	}
	if _, err := j.Register("sink"); err != nil {
		t.Fatal(err)
	}
	k := open(t, mem.Crash(1), Options{SegmentSize: 1 << 20})
	defer closeJournal(t, k)
	if _, ok := k.Sinks()["sink"]; !ok {
		t.Fatal("a registered sink is unknown after a power cut")
	}
}

// TestCloseWithoutManifest fails the MANIFEST of a clean stop that leaves no
// segment behind: then they must stay, for nothing else knows the seq.
func TestCloseWithoutManifest(t *testing.T) {
	mem := disk.NewMem()
	f := disk.NewFaulty(mem)
	j := open(t, f, Options{SegmentSize: 1 << 20, Limits: Limits{KeepDelivered: true}})
	mustAppend(t, j, "one", "two")
	f.Fail(disk.Fault{Kind: disk.CallCreate, N: 1, Err: syscall.EROFS, Forever: true})
	if err := j.Close(); err == nil {
		t.Fatal("Close does not tell that the MANIFEST was not written")
	}
	j = open(t, mem, Options{SegmentSize: 1 << 20})
	defer closeJournal(t, j)
	if last := mustAppend(t, j, "three"); last != 3 {
		t.Fatalf("the next seq is %d", last)
	}
}

// threeSegments returns a closed stream of three sealed segments of equal size
// and two rows each.
func threeSegments(t *testing.T) *disk.Mem {
	t.Helper()
	mem := disk.NewMem()
	j := open(t, mem, Options{SegmentSize: 1 << 20})
	if _, err := j.Register("sink"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		mustAppend(t, j, fmt.Sprintf("row %d", 2*i+1))
		mustAppend(t, j, fmt.Sprintf("row %d", 2*i+2))
		if err := j.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	closeJournal(t, j)
	return mem
}

// readDamaged returns what a reader gets from seq 1 on, lost rows as "-", until
// there is no more or an error comes.
func readDamaged(t *testing.T, j *Journal) (got []string, err error) {
	t.Helper()
	r, err := j.Reader(1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		b, err := r.TryNext()
		if err != nil || b == nil {
			return got, err
		}
		lost := 0
		for _, d := range b.Damage {
			if d.First != 0 {
				lost += int(d.Last - d.First + 1)
			}
		}
		for range lost {
			got = append(got, "-")
		}
		for _, w := range b.Rows {
			if w.Seq != uint64(len(got)+1) {
				t.Fatalf("row %q has seq %d behind %q", w.Values[0].Text, w.Seq, got)
			}
			got = append(got, string(w.Values[0].Text))
		}
	}
}

// TestMissingSegment removes one segment's file: its rows are named as lost,
// the others are read, and no seq is given twice.
func TestMissingSegment(t *testing.T) {
	for number, want := range map[uint64]string{
		2: "[row 1 row 2 - - row 5 row 6]",
		3: "[row 1 row 2 row 3 row 4 - -]",
	} {
		for _, manifest := range []bool{true, false} {
			if !manifest && number == 3 {
				continue // nothing is left that knows of it
			}
			mem := threeSegments(t)
			must(0, mem.Remove(segmentName(number)))
			if !manifest {
				must(0, mem.Remove(manifestName))
			}
			j := open(t, mem, Options{SegmentSize: 1 << 20})
			if len(j.Recovery().Damage) == 0 {
				t.Errorf("without segment %d: no damage is named", number)
			}
			if got, err := readDamaged(t, j); fmt.Sprint(got) != want || err != nil {
				t.Errorf("without segment %d: %q, %v; want %s", number, got, err, want)
			}
			if last := mustAppend(t, j, "row 7"); last != 7 {
				t.Errorf("without segment %d: the next seq is %d", number, last)
			}
			if got, err := readDamaged(t, j); fmt.Sprint(got) != want[:len(want)-1]+" row 7]" || err != nil {
				t.Errorf("without segment %d, later: %q, %v", number, got, err)
			}
			closeJournal(t, j)
		}
	}
}

// TestExchangedSegments puts segments in each other's place: no row may come
// under another's seq, and whoever looks is told.
func TestExchangedSegments(t *testing.T) {
	for _, manifest := range []bool{true, false} {
		mem := threeSegments(t)
		must(0, mem.Rename(segmentName(1), "x"))
		must(0, mem.Rename(segmentName(2), segmentName(1)))
		must(0, mem.Rename("x", segmentName(2)))
		if !manifest {
			must(0, mem.Remove(manifestName))
		}
		j := open(t, mem, Options{SegmentSize: 1 << 20})
		told := len(j.Recovery().Damage)
		r, err := j.Reader(j.Oldest().Seq + 1)
		if err != nil {
			t.Fatal(err)
		}
		for {
			b, err := r.TryNext()
			if err != nil {
				told++
			}
			if b == nil {
				break
			}
			told += len(b.Damage)
			for _, w := range b.Rows {
				if got := string(w.Values[0].Text); got != fmt.Sprintf("row %d", w.Seq) {
					t.Errorf("manifest %v: seq %d is %q", manifest, w.Seq, got)
				}
			}
		}
		r.Close()
		if told == 0 {
			t.Errorf("manifest %v: nobody is told", manifest)
		}
		found := 0
		if _, err := j.Verify(t.Context(), func(row.Damage) { found++ }); err != nil || found == 0 {
			t.Errorf("manifest %v: verify finds %d things, %v", manifest, found, err)
		}
		if got := len(j.Status().Damage); got < found {
			t.Errorf("manifest %v: verify found %d things, status tells of %d", manifest, found, got)
		}
		closeJournal(t, j)
	}
}

// write puts content in place of a file.
func write(t *testing.T, d disk.FS, name string, content []byte) {
	t.Helper()
	if err := disk.Replace(d, "", name, content); err != nil {
		t.Fatal(err)
	}
}

// TestManifestDamaged loses or damages the MANIFEST in every way: the segments
// repeat what it says. Without segments a damaged one refuses the start.
func TestManifestDamaged(t *testing.T) {
	older := must(disk.ReadFile(threeSegments(t), manifestName, manifestLimit)) // another journal's
	cases := map[string]func(d *disk.Mem, whole []byte){
		"missing":         func(d *disk.Mem, _ []byte) { must(0, d.Remove(manifestName)) },
		"empty":           func(d *disk.Mem, _ []byte) { write(t, d, manifestName, nil) },
		"garbage":         func(d *disk.Mem, _ []byte) { write(t, d, manifestName, []byte("{}\ncrc32c 00000000\n")) },
		"one bit":         func(d *disk.Mem, b []byte) { b[40] ^= 1; write(t, d, manifestName, b) },
		"cut":             func(d *disk.Mem, b []byte) { write(t, d, manifestName, b[:len(b)-3]) },
		"another journal": func(d *disk.Mem, _ []byte) { write(t, d, manifestName, older) },
	}
	for name, damage := range cases {
		mem := threeSegments(t)
		id := must(readManifest(mem)).ID
		damage(mem, must(disk.ReadFile(mem, manifestName, manifestLimit)))
		j := open(t, mem, Options{SegmentSize: 1 << 20})
		if j.ID() != id {
			t.Errorf("%s: the journal's id is another", name)
		}
		if _, ok := j.Sinks()["sink"]; !ok {
			t.Errorf("%s: the sink is forgotten", name)
		}
		if len(j.Recovery().Damage) == 0 {
			t.Errorf("%s: it is not named", name)
		}
		if got := readAll(t, j, 1); len(got) != 6 {
			t.Errorf("%s: %q", name, got)
		}
		if last := mustAppend(t, j, "row 7"); last != 7 {
			t.Errorf("%s: next seq is %d", name, last)
		}
		closeJournal(t, j)
	}
	mem := disk.NewMem()
	j := open(t, mem, Options{Limits: Limits{KeepDelivered: true}})
	mustAppend(t, j, "one")
	closeJournal(t, j)
	write(t, mem, manifestName, []byte("garbage"))
	if j, err := Open(mem, Options{Name: "main"}); err == nil {
		j.Close()
		t.Error("a damaged MANIFEST without a segment: seqs would be given again")
	}
}

// TestOlderManifest restores the MANIFEST of an earlier time.
func TestOlderManifest(t *testing.T) {
	mem := threeSegments(t)
	older := must(disk.ReadFile(mem, manifestName, manifestLimit))
	j := open(t, mem, Options{SegmentSize: 1 << 20})
	mustAppend(t, j, "row 7")
	if _, err := j.Register("later"); err != nil {
		t.Fatal(err)
	}
	if err := j.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, "row 8")
	closeJournal(t, j)
	epoch := j.epoch
	write(t, mem, manifestName, older)
	j = open(t, mem, Options{SegmentSize: 1 << 20})
	defer closeJournal(t, j)
	if got := readAll(t, j, 1); len(got) != 8 || j.epoch <= epoch {
		t.Fatalf("epoch %d after %d, rows %q", j.epoch, epoch, got)
	}
	if _, ok := j.Sinks()["later"]; !ok {
		t.Error("a sink that the newest segment names is forgotten")
	}
}

// TestAsyncIsFlushedInTime writes, without waiting for the flush, a second row
// while the first is not flushed: that must not put the first one's flush off.
func TestAsyncIsFlushedInTime(t *testing.T) {
	j := open(t, disk.NewMem(), Options{SegmentSize: 1 << 20})
	defer closeJournal(t, j)
	took := time.Duration(0)
	for range 5 { // a busy machine may be late now and then
		seq := must(j.Append(t.Context(), batch(t, j, "first"), false))
		start := time.Now()
		time.Sleep(90 * time.Millisecond)
		must(j.Append(t.Context(), batch(t, j, "second"), false))
		for j.End().Seq < seq {
			time.Sleep(time.Millisecond)
		}
		if took = time.Since(start); took < 180*time.Millisecond {
			return
		}
		waitDurable(t, j, seq+1)
	}
	t.Fatalf("a row is flushed after %v", took)
}

// TestManySchemas commits rows of so many wide tables together that their
// definitions take several blocks.
func TestManySchemas(t *testing.T) {
	mem := disk.NewMem()
	j := open(t, mem, Options{})
	var b row.Batch
	const tables = 60
	for i := range tables {
		var cols []row.Column
		for c := range 1600 {
			cols = append(cols, row.Column{Name: fmt.Sprintf("column_%d_%050d", i, c), Type: "text"})
		}
		must(0, b.Add(j.Intern(fmt.Sprintf("t%d", i), cols), 0, make([]row.Value, 1600)))
	}
	must(j.Append(t.Context(), &b, true))
	d := mem.Crash(1)
	closeJournal(t, j)
	j = open(t, d, Options{})
	defer closeJournal(t, j)
	r := must(j.Reader(1))
	defer r.Close()
	blk, err := r.TryNext()
	if err != nil || blk == nil || len(blk.Rows) != tables || blk.Damage != nil {
		t.Fatalf("%v %+v", err, blk)
	}
}

// TestNothingIsHeld reads a stream through: what is known of a sealed segment
// beside its place is given up when its reader leaves.
func TestNothingIsHeld(t *testing.T) {
	mem := threeSegments(t)
	j := open(t, mem, Options{SegmentSize: 1 << 20})
	defer closeJournal(t, j)
	readAll(t, j, 1)
	for _, s := range j.segs {
		if s.summary != nil {
			t.Errorf("the footer of segment %d stays in memory", s.number)
		}
	}
	if got := readAll(t, j, 4); fmt.Sprint(got) != "[row 4 row 5 row 6]" {
		t.Fatalf("read again: %q", got)
	}
}

// TestLastBlockDamaged destroys the last block of a sealed segment: its end is
// known from elsewhere, so a sink's cursor there is still one of this journal.
func TestLastBlockDamaged(t *testing.T) {
	mem := threeSegments(t)
	j := open(t, mem, Options{SegmentSize: 1 << 20})
	pos := must(j.positionAt(2, j.Oldest()))
	end := j.segs[0].end
	closeJournal(t, j)
	for off := int64(segment.DataStart) + 2*disk.Align; off < end; off += disk.Align {
		for i := range int64(40) {
			flip(t, mem, segmentName(1), off+i)
		}
	}
	j = open(t, mem, Options{SegmentSize: 1 << 20})
	defer closeJournal(t, j)
	if err := j.Check(pos); err != nil {
		t.Fatal(err)
	}
}

// TestNoDescriptorLeaks fails each disk call of a life in turn and counts the
// descriptors that are left.
func TestNoDescriptorLeaks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts in /proc/self/fd")
	}
	count := func() int { return len(must(os.ReadDir("/proc/self/fd"))) }
	for n := 1; ; n++ {
		dir := t.TempDir()
		d := must(disk.OpenReal(dir))
		j := open(t, d, Options{SegmentSize: 64 << 10})
		mustAppend(t, j, strings.Repeat("x", 40<<10))
		closeJournal(t, j) // leaves a reserve
		before := count()
		f := disk.NewFaulty(d)
		f.Fail(disk.Fault{N: n, Err: syscall.EIO, Forever: n%2 == 0})
		j, err := Open(f, Options{Name: "main", SegmentSize: 64 << 10})
		if err == nil {
			for range 4 {
				_, _ = j.Append(context.Background(), batch(t, j, strings.Repeat("x", 20<<10)), true)
			}
			_ = j.Close()
		}
		over := f.Count(disk.AnyCall) < n
		if after := count(); after != before {
			t.Errorf("call %d: %d descriptors, then %d", n, before, after)
		}
		d.Close()
		if over {
			t.Logf("%d disk calls", n-1)
			return
		}
	}
}

// TestForgedRecord hides a well-formed record in a value and flips a bit in
// front of it: what a client wrote as text must never be taken for a row.
func TestForgedRecord(t *testing.T) {
	mem := disk.NewMem()
	j := open(t, mem, Options{SegmentSize: 1 << 20})
	forged := row.AppendRecord(nil, row.KindRow, 1, 0, []row.Value{row.Text("forged"), row.Text("1")})
	row.Stamp(forged, 1, 0) // the salt is not known to who writes this
	mustAppend(t, j, strings.Repeat("x", 100)+string(forged), "true")
	if err := j.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	flip(t, mem, segmentName(1), segment.DataStart+disk.Align+80+1) // the first record's length
	j = open(t, mem, Options{SegmentSize: 1 << 20})
	defer closeJournal(t, j)
	if got, err := readDamaged(t, j); fmt.Sprint(got) != "[- true]" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestFlushFails fails the flush of rows once: whoever waits for it is told
// that the outcome is unknown, the file is never flushed again, and the next
// row goes into another one.
func TestFlushFails(t *testing.T) {
	mem := disk.NewMem()
	f := disk.NewFaulty(mem)
	j := open(t, f, Options{SegmentSize: 1 << 20})
	mustAppend(t, j, "one")
	awaitMarker(t, f)
	f.Fail(disk.Fault{Kind: disk.CallWriteSync, N: 1, Err: syscall.EIO})
	_, err := j.Append(t.Context(), batch(t, j, "two"), true)
	if fault.Code(err) != fault.OutcomeUnknown || !errors.Is(err, syscall.EIO) {
		t.Fatalf("a failed flush is answered %v", err)
	}
	var touched []disk.Call
	var mu sync.Mutex
	f.OnCall(func(c disk.Call) {
		mu.Lock()
		touched = append(touched, c)
		mu.Unlock()
	})
	mustAppend(t, j, "three")
	f.OnCall(nil)
	mu.Lock()
	for _, c := range touched {
		if c.Name == segmentName(1) && (c.Kind == disk.CallSync || c.Kind == disk.CallWrite || c.Kind == disk.CallWriteSync) {
			t.Errorf("the poisoned segment gets a %s", c.Kind)
		}
	}
	mu.Unlock()
	if got := fmt.Sprint(readAll(t, j, 1)); got != "[one three]" {
		t.Fatalf("rows are %s", got)
	}
	if len(j.Status().Damage) == 0 {
		t.Error("status does not tell of the failed flush")
	}
	closeJournal(t, j)
	j = open(t, mem.Crash(7), Options{SegmentSize: 1 << 20})
	if got := fmt.Sprint(readAll(t, j, 1)); got != "[one three]" {
		t.Fatalf("after a crash rows are %s", got)
	}
	closeJournal(t, j)
}

// TestWritebackFails loses, behind the writer's back, a row that was acked
// before its flush. Only the descriptor that wrote it is told, by its next
// flush: the row must go into another segment, whoever that flush was for.
func TestWritebackFails(t *testing.T) {
	mem := disk.NewMem()
	f := disk.NewFaulty(mem)
	j := open(t, f, Options{SegmentSize: 1 << 20})
	mustAppend(t, j, "one")
	awaitMarker(t, f)
	f.Fail(disk.Fault{Kind: disk.CallWrite, N: 1, Err: syscall.EIO, Behind: true})
	must(j.Append(t.Context(), batch(t, j, "two"), false))
	if f.Failed()[disk.CallWrite] != 1 {
		t.Fatal("the row without a flush met no fault, so nothing is tried")
	}
	_, err := j.Append(t.Context(), batch(t, j, "three"), true)
	if err != nil && fault.Code(err) != fault.OutcomeUnknown {
		t.Fatalf("a failed flush is answered %v", err)
	}
	want := "[one two three four]" // where silence made the flush before the row came
	if err != nil {
		want = "[one two four]"
	}
	mustAppend(t, j, "four")
	cut := mem.Crash(7)
	closeJournal(t, j)
	j = open(t, cut, Options{SegmentSize: 1 << 20})
	if got := fmt.Sprint(readAll(t, j, 1)); got != want {
		t.Fatalf("after a power cut rows are %s, want %s", got, want)
	}
	closeJournal(t, j)
}

// TestWithdrawnCommit lets the directory flushes of a large commit fail, from
// each of them on, and cuts the power: the transaction is there whole or not
// at all, and what is left of its files is not called damage.
func TestWithdrawnCommit(t *testing.T) {
	for n := 1; n <= 5; n++ {
		for seed := range uint64(60) {
			mem := disk.NewMem()
			f := disk.NewFaulty(mem)
			j := open(t, f, Options{SegmentSize: 24 << 10})
			mustAppend(t, j, "before")
			s := must(j.Stage())
			for range 20 {
				if err := s.Add(batch(t, j, strings.Repeat("s", 9000))); err != nil {
					t.Fatal(err)
				}
			}
			f.Fail(disk.Fault{Kind: disk.CallSyncDir, N: n, Err: syscall.EIO, Forever: true})
			_, err := s.Commit(t.Context())
			_ = j.Close()
			j = open(t, mem.Crash(seed), Options{SegmentSize: 24 << 10})
			for _, d := range j.Recovery().Damage {
				t.Errorf("flush %d, seed %d: %+v", n, seed, d)
			}
			if got := len(readAll(t, j, 1)); got != 21 && (got != 1 || err == nil) {
				t.Errorf("flush %d, seed %d: %d rows after a commit answered %v", n, seed, got, err)
			}
			closeJournal(t, j)
			if t.Failed() {
				return
			}
		}
	}
}

// awaitMarker waits for the marker block behind the last row, so that it does
// not meet the fault that is meant for the next row.
func awaitMarker(t *testing.T, f *disk.Faulty) {
	t.Helper()
	for before := -1; ; {
		n := f.Count(disk.CallWriteSync)
		if n == before {
			return
		}
		before = n
		time.Sleep(5 * silence)
	}
}
