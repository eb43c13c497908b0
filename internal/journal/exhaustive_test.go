package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"holdfast/internal/disk"
	"holdfast/test/tally"
)

// mostOutcomes bounds how many outcomes of one crash are tried one by one. Few
// crashes have more: a large row that met a full disk, a large transaction in
// front of its first flush. Of theirs, some more are drawn.
const (
	mostOutcomes  = 512
	drawnOutcomes = 128
)

// exhaustive is one run of TestExhaustive.
type exhaustive struct {
	t                        *testing.T
	points, outcomes, capped atomic.Int64
}

// TestExhaustive goes through all histories of a few operations, cuts the
// power at every disk call, and tries everything that the disk may have kept:
// every subset of the sectors that were not flushed, every name that was
// changed there or not. A history's earlier operations are histories of their
// own, so only the calls of its last one are crash points.
func TestExhaustive(t *testing.T) {
	most := tally.Want(t, "operations in exhaustive histories")
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	e := &exhaustive{t: t}
	work := make(chan []int)
	t.Run("histories", func(t *testing.T) {
		for part := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint("part ", part), func(t *testing.T) {
				t.Parallel()
				for h := range work {
					if !e.t.Failed() {
						e.history(t, h)
					}
				}
			})
		}
		go func() {
			defer close(work)
			for n := range most + 1 {
				eachHistory(n, nil, func(h []int) { work <- h })
			}
		}()
	})
	t.Logf("histories of up to %d operations: %d outcomes, %d points with more than %d", most, e.outcomes.Load(), e.capped.Load(), mostOutcomes)
	tally.Done(t, "operations in exhaustive histories", most, "-run TestExhaustive")
	tally.Done(t, "exhaustive crash points", int(e.points.Load()), "-run TestExhaustive, which draws nothing by chance")
}

// eachHistory calls do with every history of n operations behind before.
func eachHistory(n int, before []int, do func([]int)) {
	if n == 0 {
		do(append([]int(nil), before...))
		return
	}
	for op := range operations {
		eachHistory(n-1, append(before, op), do)
	}
}

// point is the disk in front of one disk call.
type point struct {
	snapshot
	call disk.Call
}

// history crashes at every disk call of the last operation of h; without one,
// of the first start.
func (e *exhaustive) history(t *testing.T, h []int) {
	var points []point
	synctest.Test(t, func(t *testing.T) {
		l := newLife(t, disk.NewMem())
		if len(h) == 0 {
			l.collect(&points)
		}
		err := l.start()
		for i, op := range h {
			if i == len(h)-1 {
				l.collect(&points)
			}
			err = errors.Join(err, operations[op].do(l))
		}
		l.f.OnCall(nil)
		points = append(points, point{l.o.snapshot(l.mem.Kill(), true), disk.Call{Kind: "end"}})
		if err = errors.Join(err, l.stop()); err != nil {
			t.Errorf("%s: %v", nameOf(h), err)
		}
	})
	for i, p := range points {
		e.points.Add(1)
		if err := e.crash(p); err != nil {
			t.Errorf("%s: crash %d, in front of %s %q: %v", nameOf(h), i, p.call.Kind, p.call.Name, err)
			return
		}
	}
}

// collect notes the disk in front of each call that changes it, with what is
// unflushed on it.
func (l *life) collect(points *[]point) {
	l.f.OnCall(func(c disk.Call) {
		switch c.Kind {
		case disk.CallOpen, disk.CallRead, disk.CallSize, disk.CallList, disk.CallSpace, disk.CallClose:
			return // the disk is the same in front of the next call
		}
		l.o.mu.Lock()
		defer l.o.mu.Unlock()
		*points = append(*points, point{l.o.snapshot(l.mem.Kill(), true), c})
	})
}

func nameOf(h []int) string {
	names := []string{"start"}
	for _, op := range h {
		names = append(names, operations[op].name)
	}
	return strings.Join(names, ", ")
}

// crash tries everything that can be left of the disk at p, a process kill too.
func (e *exhaustive) crash(p point) error {
	s := p.snapshot
	s.cut = false
	s.d = p.d.Kill()
	if err := e.outcome(s, 0); err != nil {
		return fmt.Errorf("killed: %w", err)
	}
	s.cut = true
	n := 0
	for s.d = range p.d.Crashes(mostOutcomes) {
		if err := e.outcome(s, n); err != nil {
			return fmt.Errorf("outcome %d: %w", n, err)
		}
		n++
	}
	if n < mostOutcomes {
		return nil
	}
	e.capped.Add(1)
	for seed := range uint64(drawnOutcomes) {
		s.d = p.d.Crash(seed)
		if err := e.outcome(s, int(seed)); err != nil {
			return fmt.Errorf("outcome of seed %d: %w", seed, err)
		}
	}
	return nil
}

// outcome recovers one disk, which is its own; each third one twice, the
// second time from where the first began or from where it ended.
func (e *exhaustive) outcome(s snapshot, n int) error {
	e.outcomes.Add(1)
	s.d.SetQuota(0, 0)
	before := s.d.Kill()
	j, rows, err := s.check()
	if err != nil {
		return err
	}
	end := j.End()
	if n%3 != 0 {
		abandon(j)
		return nil
	}
	if n%6 == 0 {
		if _, err = j.Append(context.Background(), rowsOf(table(j, 0), "goes on"), true); err == nil {
			err = errors.Join(j.Close(), consistent(s.d))
		}
		s.d = before
	} else {
		err = errors.Join(j.Close(), consistent(s.d))
	}
	if err != nil {
		return err
	}
	j, again, err := s.check()
	if err != nil {
		return fmt.Errorf("a second time: %w", err)
	}
	defer abandon(j)
	if again != rows || j.End() != end {
		return fmt.Errorf("recovered %d rows up to %+v, then %d up to %+v", rows, end, again, j.End())
	}
	return nil
}
