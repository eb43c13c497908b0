package journal

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
)

// registered returns the names of the sinks of j, sorted and apart by spaces.
func registered(j *Journal) string {
	all := j.Sinks()
	return strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(all), "map["), "]")
}

// TestRetireLetsSegmentsGo holds that a sink which was retired keeps no row,
// and that neither the header of a segment that was active then, nor a kill,
// brings it back.
func TestRetireLetsSegmentsGo(t *testing.T) {
	mem := disk.NewMem()
	j := open(t, mem, Options{SegmentSize: 1 << 20, Limits: Limits{History: 1}})
	must(j.Register("dead"))
	must(j.Register("alive"))
	for i := range 4 {
		mustAppend(t, j, fmt.Sprint("row ", i))
		if i < 3 {
			must(0, j.Seal(t.Context()))
		}
	}
	j.Mark("alive", 4)
	if n := j.Status().Segments; n != 4 {
		t.Fatalf("%d segments are kept for a sink that has nothing, want 4", n)
	}
	must(0, j.Retire("dead"))
	must(0, j.Retire("dead")) // nothing to do
	for deadline := time.Now().Add(20 * time.Second); j.Status().Segments > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d segments are kept for nobody", j.Status().Segments)
		}
	}
	for _, crashed := range []*disk.Mem{mem.Kill(), mem.Crash(1)} {
		k := open(t, crashed, Options{SegmentSize: 1 << 20})
		if got := registered(k); !strings.HasPrefix(got, "alive:") || strings.Contains(got, "dead") {
			t.Errorf("after a crash %q are registered, want alive alone", got)
		}
		closeJournal(t, k)
	}
	closeJournal(t, j)
	// Registered again it is a new sink, which a crash does not take for the retired one.
	j = open(t, mem, Options{SegmentSize: 1 << 20})
	must(j.Register("dead"))
	mustAppend(t, j, "row 5")
	k := open(t, mem.Crash(1), Options{SegmentSize: 1 << 20})
	if got := registered(k); !strings.Contains(got, "dead:") {
		t.Errorf("a sink that was registered anew is forgotten: %q", got)
	}
	closeJournal(t, k)
	closeJournal(t, j)
}

// TestRosterFails fails each change of a registration: it must be as before,
// also after a power cut, and the next try must work.
func TestRosterFails(t *testing.T) {
	for _, test := range []struct {
		name, after string
		change      func(j *Journal) error
	}{
		{"retire", "b:0", func(j *Journal) error { return j.Retire("a") }},
		{"rename", "b:0 c:2", func(j *Journal) error { return j.Rename("a", "c") }},
		{"register at a place", "a:2 b:0 c:1", func(j *Journal) error { _, err := j.RegisterAt("c", 1); return err }},
		{"register beyond the end", "a:2 b:0 c:2", func(j *Journal) error { _, err := j.RegisterAt("c", 9); return err }},
	} {
		mem := disk.NewMem()
		f := disk.NewFaulty(mem)
		j := open(t, f, Options{SegmentSize: 1 << 20})
		must(j.Register("a"))
		must(j.Register("b"))
		mustAppend(t, j, "one", "two")
		j.Mark("a", 2)
		f.Fail(disk.Fault{Kind: disk.CallRename, N: 1, Err: syscall.EIO, Forever: true})
		if err := test.change(j); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s on a failing disk: %v", test.name, err)
		}
		if got := registered(j); got != "a:2 b:0" {
			t.Errorf("%s that failed leaves %q", test.name, got)
		}
		if must(j.RegisterAt("b", 2)) != 0 {
			t.Errorf("%s: a sink that was registered lost its place", test.name)
		}
		k := open(t, mem.Crash(1), Options{SegmentSize: 1 << 20})
		if got := k.Sinks(); len(got) != 2 {
			t.Errorf("%s that failed leaves %v after a power cut", test.name, got)
		}
		closeJournal(t, k)
		f.Fail()
		must(0, test.change(j))
		if got := registered(j); got != test.after {
			t.Errorf("%s: %q are registered, want %q", test.name, got, test.after)
		}
		k = open(t, mem.Crash(1), Options{SegmentSize: 1 << 20})
		for name := range j.Sinks() {
			if _, ok := k.Sinks()[name]; !ok || len(k.Sinks()) != len(j.Sinks()) {
				t.Errorf("%s: after a power cut %v are registered, want those of %v", test.name, k.Sinks(), j.Sinks())
			}
		}
		closeJournal(t, k)
		closeJournal(t, j)
	}
}

// TestRenameAtEveryCrash cuts the power at every call to the disk while a sink
// is renamed: exactly one of its names is registered, with rows kept for it.
func TestRenameAtEveryCrash(t *testing.T) {
	mem := disk.NewMem()
	f := disk.NewFaulty(mem)
	j := open(t, f, Options{SegmentSize: 1 << 20})
	must(j.Register("old"))
	mustAppend(t, j, "one", "two")
	var mu sync.Mutex // several goroutines use the disk
	var crashed []*disk.Mem
	seed := uint64(0)
	f.OnCall(func(disk.Call) {
		mu.Lock()
		defer mu.Unlock()
		seed++
		crashed = append(crashed, mem.Crash(seed), mem.Kill())
	})
	must(0, j.Rename("old", "new"))
	f.OnCall(nil)
	closeJournal(t, j)
	mu.Lock()
	defer mu.Unlock()
	if len(crashed) < 4 {
		t.Fatalf("only %d calls were met", len(crashed))
	}
	for i, mem := range append(crashed, mem) {
		k := open(t, mem, Options{SegmentSize: 1 << 20, Limits: Limits{History: 1}})
		if got := k.Sinks(); len(got) != 1 {
			t.Errorf("crash %d leaves %v", i, got)
		}
		if rows := readAll(t, k, 1); len(rows) != 2 {
			t.Errorf("crash %d leaves rows %q", i, rows)
		}
		closeJournal(t, k)
	}
}

func TestRenameRefused(t *testing.T) {
	j := open(t, disk.NewMem(), Options{SegmentSize: 1 << 20})
	defer closeJournal(t, j)
	must(j.Register("a"))
	must(j.Register("b"))
	for _, test := range []struct{ from, to, code string }{
		{"a", "b", fault.InvalidParameterValue},
		{"a", "a", fault.InvalidParameterValue},
		{"x", "y", fault.UndefinedObject},
		{"a", strings.Repeat("x", 5000), fault.LimitExceeded},
	} {
		if err := j.Rename(test.from, test.to); fault.Code(err) != test.code {
			t.Errorf("%.10q to %.10q: %v, want code %s", test.from, test.to, err, test.code)
		}
	}
	if got := registered(j); got != "a:0 b:0" {
		t.Errorf("%q are registered after refusals", got)
	}
}

// TestRewind holds that rows which a sink is to get again are kept for it, also
// after a power cut.
func TestRewind(t *testing.T) {
	mem := disk.NewMem()
	j := open(t, mem, Options{SegmentSize: 1 << 20})
	must(j.Register("a"))
	mustAppend(t, j, "one", "two", "three")
	j.Mark("a", 3)
	for _, seq := range []uint64{3, 9, 1} {
		must(0, j.Rewind("a", seq))
		must(0, j.Rewind("unknown", seq))
	}
	if got := registered(j); got != "a:1" {
		t.Errorf("%q are registered, want a:1", got)
	}
	k := open(t, mem.Crash(1), Options{SegmentSize: 1 << 20})
	if got := registered(k); got != "a:1" {
		t.Errorf("after a power cut %q are registered, want a:1", got)
	}
	closeJournal(t, k)
	closeJournal(t, j)
}
