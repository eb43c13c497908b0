package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/disk"
)

// life is a journal in a bubble of testing/synctest: each step waits until all
// that it set off in the background has come to rest, so a history has the same
// disk calls each time, and a second of silence passes at once.
type life struct {
	t   *testing.T
	o   *oracle
	mem *disk.Mem
	f   *disk.Faulty
	j   *Journal // nil: it did not start
	n   int      // attempts so far
}

func newLife(t *testing.T, mem *disk.Mem) *life {
	return &life{t: t, o: newOracle(), mem: mem, f: disk.NewFaulty(mem)}
}

// scripted is what a life is opened with: what a sink has read goes at once.
func scripted() Options {
	return Options{Name: "main", SegmentSize: 24 << 10, Limits: Limits{
		History: 1, MinFree: func(int64) int64 { return 0 },
	}}
}

// start opens the journal and registers the sink.
func (l *life) start() error {
	j, err := Open(l.f, scripted())
	if err == nil {
		l.j = j
		_, err = j.Register("sink")
	}
	synctest.Wait()
	return err
}

// attempt enters the next attempt, of n rows with pad more bytes each.
func (l *life) attempt(n, pad int, durable bool) *attempt {
	l.n++
	return l.o.enter(fmt.Sprintf("%d.%d", l.j.epoch, l.n), n, pad, durable)
}

func (l *life) append(n, pad int, durable bool) {
	l.o.transaction(l.j, table(l.j, l.n%3), l.attempt(n, pad, durable))
	l.read()
}

// together appends twice within one group: the committer is held back until
// both are in it.
func (l *life) together() {
	gate := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.j.command(context.Background(), func() error { <-gate; return nil }) })
	synctest.Wait()
	for _, a := range []*attempt{l.attempt(1, 0, true), l.attempt(2, 300, false)} {
		wg.Go(func() { l.o.transaction(l.j, table(l.j, 0), a) })
	}
	synctest.Wait()
	close(gate)
	wg.Wait()
	l.read()
}

// read notes how far a reader gets: what it was given must stay.
func (l *life) read() {
	synctest.Wait()
	r, err := l.j.Reader(l.o.seen + 1)
	if err != nil {
		l.t.Error(err)
		return
	}
	defer r.Close()
	for {
		b, err := r.TryNext()
		if b == nil || err != nil { // an error is the disk's
			return
		}
		l.o.mu.Lock()
		l.o.seen = b.End.Seq
		l.o.mu.Unlock()
	}
}

func (l *life) seal() {
	_ = l.j.Seal(context.Background())
	synctest.Wait()
}

// stop closes the journal; what fails is told by the disk that it leaves.
func (l *life) stop() error {
	if l.j == nil {
		return nil
	}
	j := l.j
	l.j = nil
	return j.Close()
}

// operations are what the histories of TestExhaustive are made of.
var operations = []struct {
	name string
	do   func(l *life) error
}{
	{"append", func(l *life) error { l.append(1, 0, true); return nil }},
	{"append off", func(l *life) error { l.append(2, 100, false); return nil }},
	{"append together", func(l *life) error { l.together(); return nil }},
	{"stage", func(l *life) error {
		l.o.staged(l.j, l.attempt(3, 100, true)) // three files
		l.read()
		return nil
	}},
	{"roll", func(l *life) error {
		l.append(1, 0, true)
		l.seal()
		l.append(1, 0, true)
		return nil
	}},
	{"mark", func(l *life) error {
		l.j.Mark("sink", l.o.seen)
		synctest.Wait()
		return nil
	}},
	{"idle", func(l *life) error { time.Sleep(2 * silence); synctest.Wait(); return nil }},
	{"reopen", func(l *life) error { return errors.Join(l.stop(), l.start()) }},
	{"full and freed", func(l *life) error {
		room, err := l.mem.Space()
		l.mem.SetQuota(max(room.Total-room.Free, 1), 0)
		l.append(1, 12000, true)
		l.append(1, 12000, true) // into the reserve, or refused
		l.append(1, 12000, true)
		l.mem.SetQuota(0, 0)
		l.append(1, 12000, true)
		return err
	}},
}
