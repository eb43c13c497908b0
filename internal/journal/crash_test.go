package journal

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/row"
	"holdfast/test/tally"
)

var (
	crashSeed   = flag.Uint64("seed", 0, "seed of the crash tests; 0: a new one")
	crashStates = flag.Int("states", 0, "how many crash states are tried; 0: what test/tally/amounts.txt says")
)

// perWorld is how many crashed disks one history gives: many, since it costs
// as much as they do, and few enough that histories differ.
const perWorld = 80

// world runs one history and collects crashed disks from it.
func world(t *testing.T, seed uint64) (states []snapshot, err error) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	mem, o := disk.NewMem(), newOracle()
	if rnd.IntN(3) == 0 {
		if err := widen(mem); err != nil {
			return nil, err
		}
	}
	share := 3 + rnd.IntN(18)
	for range 2 { // a second life on the same disk
		f := disk.NewFaulty(mem)
		hr := rand.New(rand.NewPCG(rnd.Uint64(), 2))
		f.OnCall(func(disk.Call) {
			o.mu.Lock()
			defer o.mu.Unlock()
			if len(states) >= perWorld || hr.IntN(6) != 0 {
				return
			}
			if hr.IntN(5) == 0 {
				states = append(states, o.snapshot(mem.Kill(), false))
			} else {
				states = append(states, o.snapshot(mem.Crash(hr.Uint64()), true))
			}
		})
		limits := Limits{History: 100 << 10}
		if rnd.IntN(2) == 0 { // segments are used again, and writers refused
			limits = Limits{Budget: 320 << 10}
		}
		j, err := Open(f, wide(f, Options{Name: "main", SegmentSize: 24 << 10, Limits: limits}))
		if err != nil {
			return nil, err
		}
		_, rerr := j.Register("sink")
		o.work(t, j, rnd, share)
		if err := errors.Join(rerr, j.Close()); err != nil {
			return nil, fmt.Errorf("a life without faults: %w", err)
		}
	}
	return states, consistent(mem)
}

// campaign is one run of TestCrash.
type campaign struct {
	t       *testing.T
	want    int64
	tried   atomic.Int64 // crashed disks that were held against the oracle
	twice   atomic.Int64 // of them, those that were recovered a second time
	deeper  atomic.Int64 // crashes during recovery
	deepest atomic.Int64 // of them, the third in a row
	failed  atomic.Bool
}

// TestCrash cuts the power, or kills the process, at random disk calls, and
// holds what is found against what was promised; of some it starts a second
// time, writes on, and crashes while it recovers. A seed gives the history and
// what each crash loses; how its goroutines take turns is the scheduler's, so
// the disk that failed is kept beside it.
func TestCrash(t *testing.T) {
	c := &campaign{t: t, want: int64(*crashStates)}
	if c.want == 0 {
		c.want = int64(tally.Want(t, "crash states"))
	}
	first := *crashSeed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	replay := fmt.Sprintf("-run 'TestCrash$' -seed %d", first)
	t.Log("replay with", replay)
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	seed := atomic.Uint64{}
	seed.Store(first - 1)
	var workers sync.WaitGroup
	for range 3 * runtime.GOMAXPROCS(0) { // some of them wait for a marker
		workers.Go(func() {
			for c.tried.Load() < c.want && !c.failed.Load() {
				c.world(seed.Add(1))
			}
		})
	}
	workers.Wait()
	t.Logf("%d recovered twice, %d crashes during recovery, %d of them the third in a row", c.twice.Load(), c.deeper.Load(), c.deepest.Load())
	if *crashStates == 0 && !t.Failed() {
		tally.Done(t, "crash states", int(c.tried.Load()), replay)
		tally.Done(t, "crashes during recovery", int(c.deeper.Load()), replay)
	}
}

// world tries every crashed disk of one history.
func (c *campaign) world(seed uint64) {
	states, err := world(c.t, seed)
	if err != nil {
		c.fail(seed, nil, err)
	}
	for i, s := range states {
		if c.failed.Load() {
			return
		}
		if err := c.state(seed, i, s); err != nil {
			c.fail(seed, s.d, fmt.Errorf("state %d: %w", i, err))
			return
		}
	}
}

// state tries one crashed disk. s.d stays as it is.
func (c *campaign) state(seed uint64, i int, s snapshot) error {
	if i%20 == 0 {
		if err := c.whileRecovering(seed, s); err != nil {
			return err
		}
	}
	if i%5 == 0 {
		return c.twiceOver(seed, s)
	}
	s.d = s.d.Kill()
	j, _, err := s.check()
	if err != nil {
		return err
	}
	c.tried.Add(1)
	if i%5 != 1 {
		abandon(j)
		return nil
	}
	upTo := j.End()
	shown := s.d.Crash(seed) // what was shown after the start must outlive a power cut
	abandon(j)
	return endsAt(shown, upTo)
}

// endsAt opens d and holds that its rows go up to end, none missing.
func endsAt(d *disk.Mem, end row.Position) error {
	j, err := crashed(d)
	if err != nil {
		return fmt.Errorf("does not start after a power cut: %w", err)
	}
	defer abandon(j)
	if err := eachRow(j, j.Oldest().Seq+1, func(row.Row) error { return nil }); err != nil {
		return err
	}
	if j.End() != end {
		return fmt.Errorf("showed rows up to %+v, after a power cut there are rows up to %+v", end, j.End())
	}
	return nil
}

// twiceOver recovers s twice, which must give the same (I8); the first of them
// goes on writing, and is consistent when it ends.
func (c *campaign) twiceOver(seed uint64, s snapshot) error {
	before := s.d
	s.d = before.Kill()
	j, rows, err := s.check()
	if err != nil {
		return err
	}
	c.tried.Add(1)
	end, goesOn := j.End(), seed%2 == 0
	if goesOn {
		last, err := j.Append(context.Background(), rowsOf(table(j, 0), "goes on"), true)
		if err != nil || last != end.Seq+1 {
			abandon(j)
			return fmt.Errorf("a row behind seq %d gets seq %d, error %w", end.Seq, last, err)
		}
	}
	if err := errors.Join(j.Close(), consistent(s.d)); err != nil {
		return fmt.Errorf("after the start: %w", err)
	}
	if !goesOn { // and recover what was recovered
		before = s.d
	}
	s.d = before.Kill()
	j, again, err := s.check()
	if err != nil {
		return fmt.Errorf("a second time: %w", err)
	}
	defer abandon(j)
	if again != rows || j.End() != end {
		return fmt.Errorf("recovered %d rows up to %+v, then %d up to %+v", rows, end, again, j.End())
	}
	c.twice.Add(1)
	return nil
}

// whileRecovering crashes s again while it recovers, up to three deep; now and
// then the disk is full meanwhile.
func (c *campaign) whileRecovering(seed uint64, s snapshot) error {
	rnd := rand.New(rand.NewPCG(seed, 3))
	d := s.d.Kill()
	for deep := 1; deep <= 3; deep++ {
		next, err := crashWhileOpening(d, rnd)
		if next == nil || err != nil {
			return err
		}
		d = next
		s.d, s.cut = d.Kill(), true
		j, _, err := s.check()
		if err != nil {
			return fmt.Errorf("crashed %d times while recovering: %w", deep, err)
		}
		abandon(j)
		c.deeper.Add(1)
		if deep == 3 {
			c.deepest.Add(1)
		}
	}
	return nil
}

// crashWhileOpening returns the disk that a power cut in the middle of a start
// leaves; nil where the start was over before. A full disk may refuse it.
func crashWhileOpening(d *disk.Mem, rnd *rand.Rand) (cut *disk.Mem, err error) {
	full := rnd.IntN(4) == 0
	if full {
		room := must(d.Space())
		d.SetQuota(room.Total-room.Free+int64(rnd.IntN(4))*disk.Align, 0)
	}
	f := disk.NewFaulty(d)
	at, calls := 1+rnd.IntN(40), 0
	var mu sync.Mutex
	f.OnCall(func(disk.Call) {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls == at {
			cut = d.Crash(rnd.Uint64())
			cut.SetQuota(0, 0)
		}
	})
	j, err := crashed(f)
	switch {
	case err == nil:
		err = j.Close()
		if full { // it could not seal all, and says so
			err = nil
		}
	case full && disk.IsFull(err):
		err = nil
	}
	f.OnCall(nil)
	return cut, err
}

// fail reports what went wrong, once, and keeps the disk.
func (c *campaign) fail(seed uint64, d *disk.Mem, err error) {
	if c.failed.Swap(true) {
		return
	}
	kept := ""
	if d != nil {
		kept = "; the crashed disk is in " + keepDisk(c.t, d)
	}
	c.t.Errorf("seed %d: %v%s", seed, err, kept)
}

// keepDisk copies a disk into a directory that outlives the test.
func keepDisk(t *testing.T, d *disk.Mem) string {
	dir, err := os.MkdirTemp("", "holdfast-crashed-*")
	if err := errors.Join(err, keepUnder(d, "", dir)); err != nil {
		t.Error(err)
	}
	return dir
}

// keepUnder copies what is in directory from, with the hot directories in it.
func keepUnder(d *disk.Mem, from, to string) error {
	entries, err := d.List(from)
	for _, e := range entries {
		name, copied := path.Join(from, e.Name), filepath.Join(to, e.Name)
		if e.Dir {
			err = errors.Join(err, os.Mkdir(copied, 0o700), keepUnder(d, name, copied))
			continue
		}
		b, rerr := disk.ReadFile(d, name, 1<<30)
		err = errors.Join(err, rerr, os.WriteFile(copied, b, 0o600))
	}
	return err
}
