package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// bench is one run: all contenders on one disk, each work in several rounds.
// In each round every contender has one turn, in an order that is drawn anew.
type bench struct {
	dir    string // its own
	all    []contender
	works  []work
	rounds int
	time   time.Duration // of a turn
	random *rand.Rand
	say    func(format string, a ...any)

	stay map[string]*resident
}

// resident is a contender that is open over the whole run.
type resident struct {
	session  *session
	appended int
}

// turn is what one contender did in one round of one work.
type turn struct {
	rate float64 // records per second
	took *histogram
}

// outcome is all turns of one contender at one work, by round.
type outcome struct {
	contender contender
	work      work
	turns     []turn
	err       error
}

// run measures everything. An outcome with an error has no figures.
func (b *bench) run() []*outcome {
	b.stay = map[string]*resident{}
	var all []*outcome
	for _, w := range b.works {
		started := time.Now()
		var these []*outcome
		for _, c := range b.all {
			if c.skip == nil || !c.skip(w) {
				these = append(these, &outcome{contender: c, work: w})
			}
		}
		for range b.rounds {
			for _, i := range b.random.Perm(len(these)) {
				o := these[i]
				if o.err != nil {
					continue
				}
				t, err := b.measure(o.contender, w)
				if o.err = err; err != nil {
					b.say("%s: %s: %v", w.name, o.contender.id(), err)
				}
				o.turns = append(o.turns, t)
			}
		}
		b.say("%s: %d contenders, %d rounds, %.0f s", w.name, len(these), b.rounds, time.Since(started).Seconds())
		all = append(all, these...)
	}
	b.leave(all)
	return all
}

// leave ends those that stayed, and counts what they hold.
func (b *bench) leave(all []*outcome) {
	for name, r := range b.stay {
		err := check(r.session, r.appended)
		for _, o := range all {
			if err != nil && o.contender.id() == name {
				o.err = err
			}
		}
		if err != nil {
			b.say("%s: %v", name, err)
		}
	}
}

// check ends a session that has acked so many records.
func check(s *session, appended int) error {
	held, err := s.held()
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if held != appended {
		return fmt.Errorf("holds %d records of the %d that it was given", held, appended)
	}
	return nil
}

// measure lets a contender have one turn, on new files unless it stays, after
// a quarter of a turn to warm up.
func (b *bench) measure(c contender, w work) (t turn, err error) {
	r := b.stay[c.id()]
	if r == nil {
		dir, err := os.MkdirTemp(b.dir, "turn-")
		if err != nil {
			return t, err
		}
		s, err := c.open(dir, w)
		if err != nil {
			return t, fmt.Errorf("open: %w", err)
		}
		r = &resident{session: s}
		if c.stays {
			b.stay[c.id()] = r
		} else {
			defer os.RemoveAll(dir)
		}
	}
	if err := settle(b.dir); err != nil {
		return t, err
	}
	_, n, err := drive(r.session, w, b.time/4)
	r.appended += n
	if err != nil {
		return t, err
	}
	runtime.GC()
	t, n, err = drive(r.session, w, b.time)
	r.appended += n
	if err == nil && !c.stays {
		err = check(r.session, r.appended)
	}
	return t, err
}

// settle waits until the file system has written what others left behind, the
// removal of their files above all, so that nobody pays for it but they.
func settle(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(d.Fd())), d.Close())
}

// drive lets all writers of w append for about d, and returns how many
// records they were acked.
func drive(s *session, w work, d time.Duration) (turn, int, error) {
	var over atomic.Bool
	var failed atomic.Pointer[error]
	var appended atomic.Int64
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	took := make([]histogram, w.writers)
	ready.Add(w.writers)
	for i := range w.writers {
		write := s.writer()
		done.Go(func() {
			records := sameRecords(w.batch)
			ready.Done()
			<-begin
			n, last := 0, time.Now()
			for first := true; first || !over.Load(); first = false {
				if err := write(records); err != nil {
					failed.CompareAndSwap(nil, &err)
					over.Store(true)
					break
				}
				now := time.Now()
				took[i].add(now.Sub(last))
				last = now
				n += len(records)
			}
			appended.Add(int64(n))
		})
	}
	ready.Wait()
	started := time.Now()
	close(begin)
	timer := time.AfterFunc(d, func() { over.Store(true) })
	done.Wait()
	elapsed := time.Since(started)
	timer.Stop()
	if err := failed.Load(); err != nil {
		return turn{}, 0, *err
	}
	t := turn{rate: float64(appended.Load()) / elapsed.Seconds(), took: &took[0]}
	for i := range took[1:] {
		t.took.merge(&took[i+1])
	}
	return t, int(appended.Load()), nil
}

// sameRecords returns n records: text, so that every contender takes them, and
// drawn, so that none compresses them well.
func sameRecords(n int) [][]byte {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"
	random := rand.New(rand.NewPCG(1, 2))
	all := make([][]byte, n)
	for i := range all {
		all[i] = make([]byte, recordSize)
		for j := range all[i] {
			all[i][j] = letters[random.IntN(len(letters))]
		}
	}
	return all
}

// newDir makes the directory of a run.
func newDir(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "holdfast-peers-")
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

// onDisk refuses a directory in memory, where a flush costs nothing.
func onDisk(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("ask what %q is on: %w", dir, err)
	}
	if st.Type == unix.TMPFS_MAGIC {
		return fmt.Errorf("%q is in memory (tmpfs), which has no flushes to measure: name a directory on a disk", dir)
	}
	return nil
}
