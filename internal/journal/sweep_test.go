package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/disk"
	"holdfast/test/tally"
)

// ways are the ways in which a disk call goes wrong.
var ways = []struct {
	name  string
	fault disk.Fault
}{
	{"EIO", disk.Fault{Err: syscall.EIO}},
	{"ENOSPC", disk.Fault{Err: syscall.ENOSPC}},
	{"EROFS", disk.Fault{Err: syscall.EROFS}},
	{"EMFILE", disk.Fault{Err: syscall.EMFILE}},
	{"short", disk.Fault{Err: syscall.ENOSPC, Short: disk.Align}},
	{"late EIO", disk.Fault{Err: syscall.EIO, Late: true}}, // the call did its work
}

// journalKinds are the kinds of calls that a journal makes.
var journalKinds = []disk.Kind{
	disk.CallCreate, disk.CallOpen, disk.CallRename, disk.CallRemove, disk.CallList, disk.CallSyncDir, disk.CallSpace,
	disk.CallRead, disk.CallWrite, disk.CallWriteSync, disk.CallSync, disk.CallTruncate, disk.CallSize, disk.CallClose,
}

// swept is the history whose every disk call fails: each thing a journal does,
// once, and a second start.
func swept(l *life) {
	if l.start() == nil {
		for _, op := range operations {
			if op.name == "full and freed" {
				continue // a full disk is one of the faults
			}
			if l.j == nil || op.do(l) != nil {
				break
			}
		}
	}
	if l.j != nil {
		l.append(1, 12000, true)
		l.append(1, 12000, true)
	}
	_ = l.stop()
}

// recovered starts on the disk of a life that a crash ended, and goes on.
func recovered(l *life) {
	if l.start() == nil {
		l.append(1, 12000, true)
		l.append(1, 12000, true)
	}
	_ = l.stop()
}

// sweep is one run over all faults.
type sweep struct {
	mu     sync.Mutex
	tried  int
	failed map[disk.Kind]int
}

// TestFaults lets each disk call of a history fail in every way, once and from
// then on, and holds that an ack is never taken back, that a refusal is true,
// that the journal goes on when the disk does, and that it starts again with
// every acked row, after a kill and after a power cut. The nightly run does
// the same to starts after a crash.
func TestFaults(t *testing.T) {
	want := tally.Want(t, "disk errors")
	s := &sweep{failed: map[disk.Kind]int{}}
	t.Run("life", func(t *testing.T) {
		s.all(t, want, swept, func(t *testing.T) *life { return newLife(t, disk.NewMem()) })
	})
	for k, from := range crashedLives(t) {
		if s.tried < want {
			t.Run(fmt.Sprintf("start %d", k), func(t *testing.T) { s.all(t, want-s.tried, recovered, from.again) })
		}
	}
	if t.Failed() {
		return
	}
	for _, kind := range journalKinds {
		t.Logf("%6d x %s", s.failed[kind], kind)
		if s.failed[kind] == 0 && want >= 1000 { // fewer are drawn from all calls, of which some are rare
			t.Errorf("no %s call ever failed", kind)
		}
	}
	tally.Done(t, "disk errors", s.tried, "-run TestFaults/NAME as the failure names it")
}

// crashedLife is what a power cut left in the middle of a life: a disk, and what
// had been promised.
type crashedLife struct {
	mem *disk.Mem
	o   *oracle
	n   int
}

// again returns the life that begins with it.
func (c crashedLife) again(t *testing.T) *life {
	l := newLife(t, c.mem.Kill())
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	l.o, l.n = c.o.survivor(), c.n
	return l
}

// crashedLives returns what crashes leave of a life, one every few disk calls.
func crashedLives(t *testing.T) (all []crashedLife) {
	synctest.Test(t, func(t *testing.T) {
		l := newLife(t, disk.NewMem())
		calls := 0
		l.f.OnCall(func(disk.Call) {
			l.o.mu.Lock()
			defer l.o.mu.Unlock()
			if calls++; calls%7 == 0 {
				all = append(all, crashedLife{l.mem.Crash(uint64(calls)), l.o.survivor(), len(l.o.tries)})
			}
		})
		swept(l)
	})
	return all
}

// all tries every fault in every call that history makes in the lives that from
// returns; where want is less than that, evenly fewer.
func (s *sweep) all(t *testing.T, want int, history func(*life), from func(*testing.T) *life) {
	calls := 0
	synctest.Test(t, func(t *testing.T) {
		l := from(t)
		history(l)
		calls = l.f.Count(disk.AnyCall)
	})
	total := calls * len(ways) * 2
	t.Logf("%d disk calls, so %d faults", calls, total)
	step := max(1, total/max(want, 1))
	for step%2 == 0 || step%3 == 0 { // so that each way and both durations come up
		step--
	}
	parts := runtime.GOMAXPROCS(0)
	t.Run("calls", func(t *testing.T) {
		for part := range parts {
			t.Run(fmt.Sprint("part ", part), func(t *testing.T) {
				t.Parallel()
				for i := part * step; i < total && !t.Failed(); i += parts * step {
					n, way, forever := 1+i/2/len(ways), ways[i/2%len(ways)], i%2 == 1
					fault := way.fault
					fault.N, fault.Forever = n, forever
					synctest.Test(t, func(t *testing.T) { s.one(t, from(t), history, fault) })
					if t.Failed() {
						t.Logf("that was call %d, %s, forever %v, of %d", n, way.name, forever, calls)
					}
				}
			})
		}
	})
}

// one lets history meet one fault.
func (s *sweep) one(t *testing.T, l *life, history func(*life), fault disk.Fault) {
	l.f.Fail(fault)
	history(l)
	hit := l.f.Failed()
	l.f.Fail()
	for _, cut := range []bool{false, true} {
		d := l.mem.Kill()
		if cut {
			d = l.mem.Crash(uint64(fault.N))
		}
		// On a disk that failed for good, rows acked before their flush had
		// nowhere to go: as in a power cut.
		j, _, err := l.o.snapshot(d, cut || fault.Forever).check()
		if err != nil {
			t.Errorf("cut %v: %v", cut, err)
			return
		}
		last, err := j.Append(context.Background(), rowsOf(table(j, 0), "goes on"), true)
		if err = errors.Join(err, j.Close(), consistent(d)); err != nil || last != j.End().Seq {
			t.Errorf("cut %v: a row behind seq %d gets seq %d: %v", cut, j.End().Seq, last, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried++
	for kind, n := range hit {
		s.failed[kind] += n
	}
}

// TestHeals lets every call of one kind fail for a while, in a journal that is
// in the middle of its life, and holds that it takes rows again by itself when
// the disk is whole, with nothing lost or stored twice.
func TestHeals(t *testing.T) {
	for _, kind := range append([]disk.Kind{disk.AnyCall}, journalKinds...) {
		for _, way := range ways {
			t.Run(fmt.Sprintf("%s/%s", kind, way.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLife(t, disk.NewMem())
					if err := l.start(); err != nil {
						t.Fatal(err)
					}
					l.append(1, 0, true)
					fault := way.fault
					fault.Kind, fault.N, fault.Forever = kind, 1, true
					l.f.Fail(fault)
					for range 3 {
						l.append(1, 0, false)
						l.append(1, 9000, true)
						l.seal()
						time.Sleep(time.Second)
					}
					l.f.Fail()
					for wait := time.Now(); ; time.Sleep(again) {
						l.append(1, 0, true)
						if last := l.o.acked[len(l.o.acked)-1]; last != 0 && last != refused {
							break
						}
						if time.Since(wait) > 5*time.Second {
							t.Fatalf("does not take rows again: %+v", l.j.Status())
						}
					}
					_ = l.stop()
					j, _, err := l.o.snapshot(l.mem.Kill(), false).check()
					if err != nil {
						t.Fatal(err)
					}
					closeJournal(t, j)
				})
			})
		}
	}
}
