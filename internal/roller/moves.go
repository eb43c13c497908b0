package roller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/journal"
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
	r.landAll()
}

// moveAlong is the mover. While something fails, writers that wait for room have
// it tried once a second and no more: a try may read and write a whole segment.
func (r *Roller) moveAlong(m *mover) {
	defer close(m.done)
	tries, asked := map[string]*try{}, time.Time{}
	for {
		woken, t := false, time.NewTimer(lookAround)
		select {
		case <-m.wake:
			woken = true
		case <-t.C:
		case <-m.stop:
			t.Stop()
			return
		}
		t.Stop()
		r.relieve(m, tries, woken)
		if time.Since(asked) >= askEvery {
			r.askCold(m.stop)
			asked = time.Now()
		}
	}
}

// try is how it last went with a stream. One that fails is left alone for longer
// each time, and the others are not.
type try struct {
	at    time.Time // when it began
	pause time.Duration
	told  time.Time // when the log was told last; zero: it works
	why   string
}

// due tells whether it is time to try again.
func (t *try) due(woken bool) bool {
	since := time.Since(t.at)
	return since >= t.pause || woken && since >= lookAround
}

// ended notes how it went.
func (t *try) ended(err error, log *slog.Logger, stream string) {
	if err == nil || errors.Is(err, errUnderWay) {
		*t = try{at: t.at}
		return
	}
	t.pause = min(max(2*t.pause, lookAround), longestPause)
	if why := err.Error(); why != t.why && time.Since(t.told) >= longestPause && !errors.Is(err, context.Canceled) { // Canceled: it is being closed
		t.told, t.why = time.Now(), why
		log.Error("segments cannot be moved to the next tier; they stay where they are, and writers wait when there is no room", "stream", stream, "error", err)
	}
}

// relieve makes room in each hot tier that lacks it. One stream's trouble does
// not stop the others.
func (r *Roller) relieve(m *mover, tries map[string]*try, woken bool) {
	r.mu.Lock()
	streams := slices.Clone(r.streams)
	r.mu.Unlock()
	for i, s := range streams {
		select {
		case <-m.stop:
			return
		default:
		}
		if !s.Warm && !cooled(streams) {
			continue
		}
		t := tries[s.Name]
		if t == nil {
			t = &try{}
			tries[s.Name] = t
		}
		if t.due(woken) {
			t.at = time.Now()
			t.ended(r.relieveStream(m, i, s), r.o.Log, s.Name)
		}
	}
}

func (r *Roller) relieveStream(m *mover, at int, s Stream) error {
	if !s.Warm {
		return r.relieveCold(m, at)
	}
	lack, err := s.Journal.Short(ahead * s.Journal.SegmentSize())
	if err == nil && lack > 0 {
		err = r.relieveOne(m, at, lack)
	}
	if errors.Is(err, errUnderWay) {
		return err
	}
	return r.moved(s.Name, err)
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
		if err := r.move([]roll.Step{step}, departure{stop: m.stop, glances: true}); err != nil {
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
		short, err := trashForRoom(r.streams[at].Journal, coming)
		if err != nil || short == 0 {
			return nil, err
		}
		return r.reduce(at, roll.Warm, short)
	}
	more := true
	for more {
		more = false
		_, err := r.depart(departure{by: limitsBy, stop: stop, glances: true, plan: plan, wish: func(p *roll.Plan) bool {
			more = slices.ContainsFunc(p.Steps, func(step roll.Step) bool { return step.Stream == coming.Stream })
			return more
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// trashForRoom frees what waits in the trash of a warm tier, as far as a segment that
// comes has no room, and returns what is lacking still.
func trashForRoom(j *journal.Journal, coming roll.Step) (short int64, err error) {
	for {
		if short, err = j.ShortWarm(segment.PackedRoom(coming.Bytes)); err != nil || short == 0 {
			return 0, err
		}
		if freed, err := j.FreeWarm(); err != nil || !freed {
			return short, err
		}
	}
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
func (r *Roller) move(steps []roll.Step, d departure) error {
	var errs []error
	for _, step := range steps {
		select {
		case <-d.stop:
			return errors.Join(errs...)
		default:
		}
		err := r.moveOne(step, d)
		if errors.Is(err, errUnderWay) {
			return err
		}
		if err != nil {
			errs = append(errs, err)
			if fault.Code(err) == fault.DiskFull {
				break // the next ones find no room either
			}
		}
	}
	return errors.Join(errs...)
}

// moveOne moves one segment, or slice, apart: its tier may hang. What is on the
// same way already comes first.
func (r *Roller) moveOne(step roll.Step, d departure) error {
	for {
		r.mu.Lock()
		s := r.streamOf(step.Stream)
		if s == nil { // they are being closed
			r.mu.Unlock()
			return nil
		}
		j, x := s.Journal, s.Index
		f := r.flyLocked(step, func(f *flight) (int64, error) {
			if step.Index {
				return 0, x.Move(step.Number)
			}
			return 0, carryOver(j, step, f)
		})
		r.mu.Unlock()
		if err := r.wait(f, d); err != nil {
			return err
		}
		mine := r.claim(f)
		if f.number == step.Number || mine && f.err != nil {
			return f.err
		}
	}
}

// carryOver moves one segment to the warm tier.
func carryOver(j *journal.Journal, step roll.Step, f *flight) error {
	if _, err := trashForRoom(j, step); err != nil {
		return err
	}
	c, err := j.Copy(step.Number)
	if err != nil && !there(j, step.Number, true) {
		return nil // it has gone, or was moved, meanwhile
	}
	if err != nil {
		return err
	}
	if !f.state.CompareAndSwap(flying, committing) {
		return errLeft
	}
	if err := c.Commit(); !errors.Is(err, journal.ErrChanged) {
		return err
	}
	return nil // a roll let it go meanwhile
}

// there tells whether a segment is there still, in the hot tier if that is asked.
func there(j *journal.Journal, number uint64, hot bool) bool {
	return slices.ContainsFunc(j.Files(), func(f journal.File) bool { return f.Number == number && !(hot && f.Warm) })
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
