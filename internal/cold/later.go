package cold

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Later is a store that is opened apart, because a directory may hang. While it
// does, what is asked of it fails, with ErrAway; where opening it failed, it is
// tried again by whoever asks next.
type Later struct {
	where string
	open  func() (Store, error)

	mu     sync.Mutex
	now    *opening // nil: nobody has tried, or it failed
	closed bool
}

// opening is an attempt to open a store.
type opening struct {
	begun time.Time
	ended chan struct{}
	store Store
	err   error
}

var _ Store = (*Later)(nil)

// OpenLater begins to open the store that people call where. It returns what went
// wrong with that within patience, and late where it took longer.
func OpenLater(where string, patience time.Duration, open func() (Store, error)) (l *Later, late bool, err error) {
	l = &Later{where: where, open: open}
	o := l.begin()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-o.ended:
		return l, false, o.err
	case <-t.C:
		return l, true, nil
	}
}

// errClosed says that a store was given up.
var errClosed = fmt.Errorf("%w: it is closed", ErrAway)

// begin returns the attempt that is under way, or was the last and went well, or
// begins one. nil: the store is closed.
func (l *Later) begin() *opening {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	if o := l.now; o != nil {
		return o
	}
	o := &opening{begun: time.Now(), ended: make(chan struct{})}
	l.now = o
	go func() {
		o.store, o.err = l.open()
		l.mu.Lock()
		defer l.mu.Unlock()
		if o.err != nil {
			l.now = nil
		}
		if l.closed && o.err == nil { // nobody waits for it any more
			o.err = errors.Join(errClosed, o.store.Close())
		}
		close(o.ended)
	}()
	return o
}

// longestOpening is for how long an opening is waited for, from its beginning on.
const longestOpening = 10 * time.Second

// get returns the store when it is open.
func (l *Later) get() (Store, error) {
	o := l.begin()
	if o == nil {
		return nil, errClosed
	}
	t := time.NewTimer(max(0, time.Until(o.begun.Add(longestOpening))))
	defer t.Stop()
	select {
	case <-o.ended:
	case <-t.C:
		select {
		case <-o.ended:
		default:
			return nil, fmt.Errorf("%w: %q does not answer since it was to be opened, at %s", ErrAway, l.where, o.begun.UTC().Format(time.DateTime))
		}
	}
	if o.err != nil {
		return nil, away(o.err)
	}
	return o.store, nil
}

// Put implements Store.
func (l *Later) Put(name string, replace bool, fill func(io.Writer) error) error {
	s, err := l.get()
	if err != nil {
		return err
	}
	return s.Put(name, replace, fill)
}

// Open implements Store.
func (l *Later) Open(name string) (File, error) {
	s, err := l.get()
	if err != nil {
		return nil, err
	}
	return s.Open(name)
}

// Where implements Store.
func (l *Later) Where() string { return l.where }

// Used implements Store.
func (l *Later) Used() (bytes, size int64, err error) {
	s, err := l.get()
	if err != nil {
		return 0, 0, err
	}
	return s.Used()
}

// Close implements Store. It does not wait for an opening.
func (l *Later) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, closed := l.now, l.closed
	l.closed = true
	if o == nil || closed {
		return nil
	}
	select {
	case <-o.ended:
		if o.err == nil {
			return o.store.Close()
		}
	default: // whoever opens it closes it
	}
	return nil
}
