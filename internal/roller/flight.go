package roller

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"holdfast/internal/cold"
	"holdfast/internal/roll"
)

// flight is a copy to another tier that is under way, apart from the mover: a
// directory that hangs, as one on NFS does, never answers, and what others have to
// do must not wait for that.
type flight struct {
	to     route
	number uint64
	begun  time.Time
	landed chan struct{} // closed when bytes and err are there
	bytes  int64
	err    error
	state  atomic.Int32 // flying, then one of the others
}

// A copy counts when it is committed, which nobody may do any more once it was left
// behind: others may use the directories by then.
const (
	flying int32 = iota
	committing
	left
)

// route is what one flight at a time is on.
type route struct {
	stream string
	index  bool
	to     roll.Tier
}

// tier is what people call where it leads to.
func (t route) tier() string {
	if t.index {
		return "the warm tier of the index"
	}
	return fmt.Sprintf("the %s tier", t.to)
}

// routeOf returns that of a step.
func routeOf(s roll.Step) route { return route{s.Stream, s.Index, s.To} }

const (
	// glance is how long the mover waits for a copy before it looks after other
	// streams.
	glance = time.Second
	// silence is after how long a copy that does not come to an end counts as one
	// that the tier does not take. A segment has 64 MiB, mostly.
	silence = 2 * time.Minute
	// lastWait is how long a stop waits for copies: what hangs is left behind.
	lastWait = 10 * time.Second
)

// errUnderWay says that a copy is on its way, and that nothing is wrong with that.
var errUnderWay = errors.New("a copy to another tier is under way")

// errLeft says that a copy came to its end when nobody wanted it any more.
var errLeft = errors.New("the copy was left behind by a stop")

// flyCold begins to copy a segment to its stream's cold tier, or returns the copy
// that is under way there already. nil: there is no such stream.
func (r *Roller) flyCold(step roll.Step) (*flight, *Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streamOf(step.Stream)
	if s == nil {
		return nil, nil
	}
	j := s.Journal
	return r.flyLocked(step, func(f *flight) (int64, error) { return j.Chill(f.number) }), s
}

// flyLocked begins a copy, or returns the one that is under way on the same route.
func (r *Roller) flyLocked(step roll.Step, do func(*flight) (int64, error)) *flight {
	to := routeOf(step)
	if f := r.flights[to]; f != nil {
		return f
	}
	f := &flight{to: to, number: step.Number, begun: time.Now(), landed: make(chan struct{})}
	if r.flights == nil {
		r.flights = map[route]*flight{}
	}
	r.flights[to] = f
	go func() {
		f.bytes, f.err = do(f)
		close(f.landed)
		r.mu.Lock()
		r.wakeMover()
		r.mu.Unlock()
	}()
	return f
}

// wait waits for a copy, with moving released meanwhile: for so long, or until it
// has been silent for too long. What is returned then is not what came of it.
func (r *Roller) wait(f *flight, d departure) error {
	patience := max(0, time.Until(f.begun.Add(r.o.silence)))
	late := true
	if d.glances && patience > glance {
		patience, late = glance, false
	}
	r.moving.Unlock()
	defer r.moving.Lock()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-f.landed:
		return nil
	case <-d.stop:
		return f.away(context.Canceled)
	case <-t.C:
	}
	select {
	case <-f.landed:
		return nil
	default:
	}
	if !late {
		return errUnderWay
	}
	return f.away(fmt.Errorf("segment %d of stream %q has been on its way to %s since %s, and no answer comes", f.number, f.to.stream, f.to.tier(), f.begun.UTC().Format(time.DateTime)))
}

// away says that a copy cannot be waited for, for what reason.
func (f *flight) away(why error) error {
	if f.to.to == roll.Cold {
		return fmt.Errorf("%w: %w", cold.ErrAway, why)
	}
	return why
}

// claim takes what came of a copy off the list; it is false where another did.
func (r *Roller) claim(f *flight) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flights[f.to] != f {
		return false
	}
	delete(r.flights, f.to)
	return true
}

// landAll waits for the copies that are under way, and for what cold tiers were
// asked, but not for what hangs.
func (r *Roller) landAll() {
	t := time.NewTimer(lastWait)
	defer t.Stop()
	r.mu.Lock()
	flights := r.flights
	r.flights = nil
	r.mu.Unlock()
	late := false
	for _, f := range flights {
		if !late {
			select {
			case <-f.landed:
				continue
			case <-t.C:
				late = true
			}
		}
		if f.state.CompareAndSwap(flying, left) {
			r.o.Log.Warn("a copy to another tier is left behind: no answer comes", "stream", f.to.stream, "to", f.to.tier(), "segment", f.number)
			continue
		}
		<-f.landed // all that is left to do is in the hot tier
	}
}

// askEvery is how often cold tiers are asked how they are, so that one which is
// away is told of before something has to leave.
const askEvery = 15 * time.Second

// askCold asks the cold tiers how they are, each apart from the others: it waits
// for those that answer soon, and has the others tell when they do.
func (r *Roller) askCold(stop <-chan struct{}) {
	r.mu.Lock()
	streams := append([]Stream{}, r.streams...)
	r.mu.Unlock()
	t := time.NewTimer(glance)
	defer t.Stop()
	var all []chan struct{}
	for _, s := range streams {
		if s.Cold.Store == nil || !r.asks(s.Name) {
			continue
		}
		answered := make(chan struct{})
		all = append(all, answered)
		go func() {
			used, _, err := s.Cold.Store.Used()
			r.answered(s.Name, used, err)
			close(answered)
		}()
	}
	for _, one := range all {
		select {
		case <-one:
		case <-t.C:
			return
		case <-stop:
			return
		}
	}
}

// asks notes that a cold tier is asked; it is false where it was asked before, and
// has not answered. One that does not for too long fails.
func (r *Roller) asks(stream string) (ask bool) {
	now := r.o.Now()
	r.coldAccounts.change(stream, func(a *ColdAccount) {
		if ask = a.asking.IsZero(); ask {
			a.asking = now
			return
		}
		if a.Failing == "" && now.Sub(a.asking) >= r.o.silence {
			a.asked = true
			a.fails(fmt.Errorf("%w: no answer comes since %s", cold.ErrAway, a.asking.UTC().Format(time.DateTime)), now)
		}
	})
	return ask
}

// answered notes how a cold tier is. A failure of one that was needed is over when
// nothing waits for it any more and it answers well.
func (r *Roller) answered(stream string, used int64, err error) {
	r.coldAccounts.change(stream, func(a *ColdAccount) {
		a.asking = time.Time{}
		switch {
		case err == nil:
			a.Waiting = used
			if a.asked || a.away && !a.needed {
				a.works()
			}
		case a.Failing == "":
			a.asked = true
			a.fails(err, r.o.Now())
		}
	})
}
