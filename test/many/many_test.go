package many

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/internal/roll"
	"holdfast/internal/roller"
	"holdfast/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// segments is how many are rolled. The newest of a stream never is, so one more
// is made.
const segments = 10_000

// streamDir is where the stream is in a data directory.
const streamDir = "streams/main"

// open opens the stream in a data directory.
func open(d disk.FS) (*journal.Journal, error) {
	sub, err := d.Sub(streamDir)
	if err != nil {
		return nil, err
	}
	return journal.Open(sub, journal.Options{Name: "main", Link: "id", SegmentSize: 16 << 10, Manifests: true})
}

// world is a data directory with a stream of many sealed segments of one row
// each, in memory.
type world struct {
	stopped *disk.Mem // as a clean stop leaves it
	killed  *disk.Mem // as it was before that
	took    time.Duration
}

// made makes it once, as a server would: that takes seconds.
var made = sync.OnceValues(func() (w world, err error) {
	began := time.Now()
	w.stopped = disk.NewMem()
	if err := w.stopped.Mkdir(streamDir); err != nil {
		return w, err
	}
	j, err := open(w.stopped)
	if err != nil {
		return w, err
	}
	ctx, columns := context.Background(), []row.Column{{Name: "id", Type: "bigint"}}
	for id := 1; id <= segments+1 && err == nil; id++ {
		var b row.Batch
		if err = b.Add(j.Intern("t", columns), 0, []row.Value{row.Text(fmt.Sprint(id))}); err == nil {
			_, err = j.Append(ctx, &b, true)
		}
		if err == nil {
			err = j.Seal(ctx)
		}
	}
	w.killed = w.stopped.Kill()
	w.took = time.Since(began)
	return w, errors.Join(err, j.Close())
})

func theWorld(t *testing.T) world {
	t.Helper()
	w, err := made()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d segments were made in %v", segments+1, w.took)
	return w
}

// reads counts what is read of a disk, by the kind of file.
type reads struct {
	mu    sync.Mutex
	count map[string]int
}

// watch returns a disk whose reads are counted.
func watch(d disk.FS) (*disk.Faulty, *reads) {
	f, r := disk.NewFaulty(d), &reads{count: map[string]int{}}
	f.OnCall(func(c disk.Call) {
		if c.Kind != disk.CallRead {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.count[c.Name[strings.LastIndexByte(c.Name, '.')+1:]]++
	})
	return f, r
}

// since returns what was read since it was called last.
func (r *reads) since() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.count
	r.count = map[string]int{}
	return was
}

// processorTime returns what this process has used so far: others use this
// machine too.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestRollMany rolls 10,000 segments within a second of processor time, and
// reads nothing for that: no row, no footer, no manifest.
func TestRollMany(t *testing.T) {
	d, read := watch(theWorld(t).stopped.Kill())
	r, err := roller.Open(d, roller.Options{})
	if err != nil {
		t.Fatal(err)
	}
	used := processorTime(t)
	j, err := open(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("opened with %v of processor time; read by kind of file: %v", processorTime(t)-used, read.since())
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	if n := len(j.Files()); n != segments+1 {
		t.Fatalf("there are %d segments", n)
	}
	r.Attach([]roller.Stream{{Name: "main", Journal: j, Link: "id", Limits: j.Limits}})
	m, err := roll.ParseMessage("/database", "sizeRoll", "maxSize=0.01MB")
	if err != nil {
		t.Fatal(err)
	}
	read.since()
	for _, apply := range []bool{false, true} {
		start, used := time.Now(), processorTime(t)
		res, err := r.Roll(m, "test", apply)
		used = processorTime(t) - used
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("applied %v: %d steps in %v, %v of processor time", apply, len(res.Plan.Steps), time.Since(start), used)
		if len(res.Plan.Steps) != segments {
			t.Errorf("the plan has %d steps, want %d", len(res.Plan.Steps), segments)
		}
		if used > time.Second {
			t.Errorf("it took %v of processor time", used)
		}
		if got := read.since(); len(got) > 0 {
			t.Errorf("it read, by kind of file, %v", got)
		}
	}
	left, err := d.List(streamDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if strings.HasSuffix(e.Name, ".seg") && e.Name != "0000000000010001.seg" {
			t.Fatalf("%s is left", e.Name)
		}
	}
	if n := len(j.Files()); n != 1 {
		t.Errorf("%d segments are left", n)
	}
}

// TestStartBehindMany starts as after kill -9: the MANIFEST is not written for
// each segment when there are many, so a start reads some of the newest, and
// only these. No row is missing.
func TestStartBehindMany(t *testing.T) {
	d, read := watch(theWorld(t).killed.Kill())
	j, err := open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	got := read.since()
	t.Logf("read by kind of file: %v", got)
	if got["seg"] > 1000 {
		t.Errorf("%d reads of segments", got["seg"])
	}
	if rec := j.Recovery(); len(rec.Damage) > 0 || rec.Cut > 0 {
		t.Errorf("it found %+v", rec)
	}
	if oldest, end, files := j.Oldest().Seq, j.End().Seq, len(j.Files()); oldest != 0 || end != segments+1 || files != segments+1 {
		t.Errorf("rows from behind %d to %d in %d segments", oldest, end, files)
	}
	for i, f := range j.Files() {
		if f.FirstSeq != uint64(i+1) || f.LastSeq != uint64(i+1) || f.Link.First != int64(i+1) || !f.Sealed {
			t.Fatalf("segment %d is %+v", i+1, f)
		}
	}
}
