package roller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/roll"
	"holdfast/internal/segment"
)

const (
	// lookAround is how often the mover looks whether a hot tier runs full, though
	// nobody waits for room.
	lookAround = time.Second
	// ahead is for how many segments to come the mover keeps room in a hot tier, so
	// that writers rarely wait for a move.
	ahead = 2
	// longestPause is how long the mover waits, at most, after what went wrong.
	longestPause = time.Minute
)

// mover is the goroutine that moves segments to the warm tier when the hot one
// runs full: off the path of the writers, because a move reads and writes a whole
// segment, perhaps over a network.
type mover struct {
	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

// tiered tells whether any stream has a warm tier.
func tiered(streams []Stream) bool {
	return slices.ContainsFunc(streams, func(s Stream) bool { return s.Warm })
}

// startMover starts the mover where a stream has a warm tier, or a cold one.
func (r *Roller) startMover(streams []Stream) {
	if !moves(streams) {
		return
	}
	m := &mover{wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	r.mover = m
	go r.moveAlong(m)
}

// stopMover ends the mover, after the move that it is at.
func (r *Roller) stopMover() {
	r.mu.Lock()
	m := r.mover
	r.mover = nil
	r.mu.Unlock()
	if m != nil {
		close(m.stop)
		<-m.done
	}
}

// moveAlong is the mover. While something fails, writers that wait for room wake
// it once a second and no more: a try may read and write a whole segment.
func (r *Roller) moveAlong(m *mover) {
	defer close(m.done)
	pause, asked := lookAround, time.Time{}
	var told time.Time // when what fails was logged; zero: nothing fails
	last := ""
	for {
		if !m.rest(pause, !told.IsZero()) {
			return
		}
		switch err := r.relieve(m); {
		case err == nil:
			pause, told, last = lookAround, time.Time{}, ""
		case errors.Is(err, context.Canceled): // it is being closed
		default:
			pause = min(2*pause, longestPause)
			if now := time.Now(); now.Sub(told) >= longestPause && err.Error() != last {
				told, last = now, err.Error()
				r.o.Log.Error("segments cannot be moved to the next tier; they stay where they are, and writers wait when there is no room", "error", err)
			}
		}
		if time.Since(asked) >= askEvery {
			r.askCold(m.stop)
			asked = time.Now()
		}
	}
}

// rest waits for a while, or until somebody wants room; it is false when the mover
// is to end.
func (m *mover) rest(pause time.Duration, failing bool) bool {
	if failing {
		t := time.NewTimer(lookAround)
		defer t.Stop()
		select {
		case <-t.C:
			pause -= lookAround
		case <-m.stop:
			return false
		}
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-m.wake:
	case <-t.C:
	case <-m.stop:
		return false
	}
	return true
}

// relieve makes room in each hot tier that lacks it. One stream's trouble does
// not stop the others.
func (r *Roller) relieve(m *mover) error {
	r.mu.Lock()
	streams := slices.Clone(r.streams)
	r.mu.Unlock()
	var errs []error
	for i, s := range streams {
		select {
		case <-m.stop:
			return nil
		default:
		}
		if !s.Warm {
			if cooled(streams) {
				errs = append(errs, r.relieveCold(m, i))
			}
			continue
		}
		lack, err := s.Journal.Short(ahead * s.Journal.SegmentSize())
		if err == nil && lack > 0 {
			err = r.relieveOne(m, i, lack)
		}
		errs = append(errs, r.moved(s.Name, err))
	}
	return errors.Join(errs...)
}

// relieveOne moves so much of one stream that lack bytes become free in its hot
// tier, each segment after making room for it in the warm one.
func (r *Roller) relieveOne(m *mover, at int, lack int64) error {
	r.moving.Lock()
	defer r.moving.Unlock()
	r.mu.Lock()
	if at >= len(r.streams) { // they are being closed
		r.mu.Unlock()
		return nil
	}
	s := r.streams[at]
	plan, err := r.reduce(at, roll.Hot, lack)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	moves := slices.DeleteFunc(movesOf(plan), func(step roll.Step) bool { return step.Stream != s.Name })
	if len(moves) == 0 && len(plan.Obstacles) > 0 {
		return fault.New(fault.DiskFull, "nothing can leave the hot tier of %s: %s", s.Name, plan.Obstacles[0])
	}
	for _, step := range moves {
		if err := r.roomInWarm(at, step, m.stop); err != nil {
			return err
		}
		if err := r.move([]roll.Step{step}, m.stop); err != nil {
			return err
		}
	}
	return nil
}

// roomInWarm lets leave what the warm tier has no room for when one more segment
// comes. Where nothing may leave, whoever copies the segment finds no room.
func (r *Roller) roomInWarm(at int, coming roll.Step, stop <-chan struct{}) error {
	plan := func() (*roll.Plan, error) {
		if at >= len(r.streams) {
			return nil, nil
		}
		j := r.streams[at].Journal
		for {
			short, err := j.ShortWarm(segment.PackedRoom(coming.Bytes))
			if err != nil || short == 0 {
				return nil, err
			}
			if freed, err := j.FreeWarm(); err != nil {
				return nil, err
			} else if !freed {
				return r.reduce(at, roll.Warm, short)
			}
		}
	}
	more := true
	for more {
		more = false
		_, err := r.depart(departure{by: limitsBy, stop: stop, plan: plan, wish: func(p *roll.Plan) bool {
			more = slices.ContainsFunc(p.Steps, func(step roll.Step) bool { return step.Stream == coming.Stream })
			return more
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// reduce plans how a tier of one stream comes to take lack bytes less.
func (r *Roller) reduce(at int, tier roll.Tier, lack int64) (*roll.Plan, error) {
	return r.reduceBy(at, tier, want{lack, true})
}

// reduceBy is reduce where rows that sinks need may go only if that is wanted.
func (r *Roller) reduceBy(at int, tier roll.Tier, w want) (*roll.Plan, error) {
	st, err := r.state()
	if err != nil {
		return nil, err
	}
	if !w.drop {
		for i := range st.Stores {
			st.Stores[i].DropOldest = false
		}
	}
	used := int64(0)
	for _, f := range st.Stores[at].Files {
		if f.Tier == tier {
			used += f.Bytes
		}
	}
	what := fmt.Sprintf("room in the %s tier of %s", tier, st.Stores[at].Stream)
	return roll.Make(st, roll.Rule{Text: what, Goals: []roll.Goal{{
		What: what, Kind: roll.MaxBytes, Tier: tier, Limit: max(0, used-w.lack), UpTo: true, Stores: []int{at},
	}}})
}

// move carries out the moves of a plan, one after the other. moving is held, and
// mu is not: a roll or a hold need not wait for what is copied.
func (r *Roller) move(steps []roll.Step, stop <-chan struct{}) error {
	var errs []error
	for _, step := range steps {
		select {
		case <-stop:
			return errors.Join(errs...)
		default:
		}
		if err := r.moveOne(step); err != nil {
			errs = append(errs, err)
			if fault.Code(err) == fault.DiskFull {
				break // the next ones find no room either
			}
		}
	}
	return errors.Join(errs...)
}

func (r *Roller) moveOne(step roll.Step) error {
	r.mu.Lock()
	i := slices.IndexFunc(r.streams, func(s Stream) bool { return s.Name == step.Stream })
	if i < 0 {
		r.mu.Unlock()
		return nil
	}
	j, x := r.streams[i].Journal, r.streams[i].Index
	r.mu.Unlock()
	if step.Index {
		return x.Move(step.Number)
	}
	c, err := j.Copy(step.Number)
	if err != nil {
		return err
	}
	return c.Commit()
}

// movesOf returns the steps of a plan that move.
func movesOf(plan *roll.Plan) (moves []roll.Step) {
	for _, s := range plan.Steps {
		if s.To == roll.Warm {
			moves = append(moves, s)
		}
	}
	return moves
}
