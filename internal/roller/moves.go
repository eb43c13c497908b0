package roller

import (
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

// startMover starts the mover where a stream has a warm tier.
func (r *Roller) startMover(streams []Stream) {
	if !tiered(streams) {
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

// moveAlong is the mover.
func (r *Roller) moveAlong(m *mover) {
	defer close(m.done)
	pause, last := lookAround, ""
	for {
		t := time.NewTimer(pause)
		select {
		case <-m.wake:
		case <-t.C:
		case <-m.stop:
			t.Stop()
			return
		}
		t.Stop()
		switch err := r.relieve(m); {
		case err == nil:
			pause, last = lookAround, ""
		case err.Error() == last:
			pause = min(2*pause, longestPause)
		default:
			last = err.Error()
			r.o.Log.Error("segments cannot be moved to the warm tier; they stay in the hot one, and writers wait when that is full", "error", err)
		}
	}
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
			continue
		}
		lack, err := s.Journal.Short(ahead * s.Journal.SegmentSize())
		if err == nil && lack > 0 {
			err = r.relieveOne(m, i, lack)
		}
		errs = append(errs, err)
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
	for _, step := range movesOf(plan) {
		if step.Stream != s.Name {
			continue
		}
		if err := r.roomInWarm(at, step); err != nil {
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
func (r *Roller) roomInWarm(at int, coming roll.Step) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at >= len(r.streams) {
		return nil
	}
	s := r.streams[at]
	for {
		short, err := s.Journal.ShortWarm(segment.PackedRoom(coming.Bytes))
		if err != nil || short == 0 {
			return err
		}
		if freed, err := s.Journal.FreeWarm(); err != nil {
			return err
		} else if freed {
			continue
		}
		plan, err := r.reduce(at, roll.Warm, short)
		if err != nil || !slices.ContainsFunc(plan.Steps, func(step roll.Step) bool { return step.Stream == s.Name }) {
			return err
		}
		if _, err := r.carry(plan, limitsBy, 0); err != nil {
			return err
		}
	}
}

// reduce plans how a tier of one stream comes to take lack bytes less.
func (r *Roller) reduce(at int, tier roll.Tier, lack int64) (*roll.Plan, error) {
	st, err := r.state()
	if err != nil {
		return nil, err
	}
	used := int64(0)
	for _, f := range st.Stores[at].Files {
		if f.Tier == tier {
			used += f.Bytes
		}
	}
	what := fmt.Sprintf("room in the %s tier of %s", tier, st.Stores[at].Stream)
	return roll.Make(st, roll.Rule{Text: what, Goals: []roll.Goal{{
		What: what, Kind: roll.MaxBytes, Tier: tier, Limit: max(0, used-lack), UpTo: true, Stores: []int{at},
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
	j := r.streams[i].Journal
	r.mu.Unlock()
	c, err := j.Copy(step.Number)
	if err != nil {
		return err
	}
	return c.Commit()
}

// movesOf returns the steps of a plan that move.
func movesOf(plan *roll.Plan) (moves []roll.Step) {
	for _, s := range plan.Steps {
		if s.Act == roll.Move {
			moves = append(moves, s)
		}
	}
	return moves
}

// rollTiers is Roll where segments may move. Removals are committed as ever; the
// moves behind them are each committed by their stream.
func (r *Roller) rollTiers(m roll.Message, by string) (Result, error) {
	r.moving.Lock()
	defer r.moving.Unlock()
	r.mu.Lock()
	plan, err := r.plan(m)
	if err != nil || len(plan.Steps) == 0 {
		if err == nil {
			r.tried(plan, 0, by, m.Types())
		}
		r.mu.Unlock()
		return Result{Plan: plan}, err
	}
	res := Result{Plan: plan}
	if moves := movesOf(plan); len(moves) < len(plan.Steps) || len(plan.Watermarks) > 0 {
		res, err = r.carry(plan, by, r.o.Undo)
	}
	r.mu.Unlock()
	if err != nil {
		return res, err
	}
	if err := r.move(movesOf(plan), nil); err != nil {
		return res, fmt.Errorf("not every segment was moved to the warm tier: %w", err)
	}
	return res, nil
}
