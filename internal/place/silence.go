package place

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrSilent says that a directory does not answer, as one on NFS whose server is
// away. What it was asked may be done yet.
var ErrSilent = errors.New("does not answer")

// kind is what a call asks of a directory. What hangs is told apart by it: on a
// file system that is frozen nothing can be changed, and all can be read.
type kind int

const (
	asking   kind = iota // how much room there is
	reading              // names and bytes
	changing             // names and bytes
	kinds
)

// patience is for how long calls are waited for.
type patience struct {
	asks  time.Duration // for an answer that takes no work
	names time.Duration // for one name
	bytes time.Duration // for what may be slow, as a flush
}

// usual is the patience outside of tests.
var usual = patience{asks: 3 * time.Second, names: 10 * time.Second, bytes: time.Minute}

// watch gives up calls that take too long, and all that come after one, until it
// has ended: so whatever comes late comes before what is asked next.
type watch struct {
	path string
	patience

	mu   sync.Mutex
	late [kinds]struct {
		calls int // that were given up, and have not ended
		since time.Time
	}
}

// silent returns since when calls are given up; zero: they are not.
func (w *watch) silent() (since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.late {
		if l.calls > 0 && (since.IsZero() || l.since.Before(since)) {
			since = l.since
		}
	}
	return since
}

// silentIn tells whether calls of one kind are given up.
func (w *watch) silentIn(k kind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.late[k].calls > 0
}

// leave closes what is open. That is done where nothing answers as well, and then
// nobody waits for it.
func (w *watch) leave(end func() error) error {
	if w.silent().IsZero() {
		return w.do(changing, w.bytes, end)
	}
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	t := time.NewTimer(w.asks)
	defer t.Stop()
	select {
	case err := <-ended:
		return err
	case <-t.C:
		return nil // its copies failed before, and nothing is lost with it
	}
}

// refuseLocked returns why a call is not made; nil: it is.
func (w *watch) refuseLocked(k kind) error {
	if l := w.late[k]; l.calls > 0 {
		return fmt.Errorf("the directory %q %w since %s", w.path, ErrSilent, l.since.UTC().Format(time.DateTime))
	}
	return nil
}

// answer is what a call may come back with.
type answer[T any] struct {
	value T
	err   error
}

// call makes a call, and waits for it for so long. drop is given what comes when
// nobody waits for it any more; nil: nothing need be done with that.
func call[T any](w *watch, k kind, most time.Duration, f func() (T, error), drop func(T)) (none T, err error) {
	w.mu.Lock()
	if err := w.refuseLocked(k); err != nil {
		w.mu.Unlock()
		return none, err
	}
	w.mu.Unlock()
	begun, given := time.Now(), false // given: up; w.mu guards it
	answers := make(chan answer[T], 1)
	go func() {
		v, err := f()
		w.mu.Lock()
		if !given {
			answers <- answer[T]{v, err}
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		if err == nil && drop != nil {
			drop(v)
		}
		w.mu.Lock()
		w.late[k].calls--
		w.mu.Unlock()
	}()
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-t.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case a := <-answers:
		return a.value, a.err
	default:
	}
	given = true
	if w.late[k].calls++; w.late[k].calls == 1 {
		w.late[k].since = begun
	}
	return none, w.refuseLocked(k)
}

// do is call for what returns an error alone.
func (w *watch) do(k kind, most time.Duration, f func() error) error {
	_, err := call(w, k, most, func() (struct{}, error) { return struct{}{}, f() }, nil)
	return err
}
