package roller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast/internal/cold"
	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/internal/roll"
)

// OnColdFull says what becomes of segments that are to leave for a cold tier
// which does not take them.
type OnColdFull string

// What may become of them.
const (
	ColdBlock OnColdFull = "block" // nothing leaves
	ColdDrop  OnColdFull = "drop"  // they leave for good, as without a cold tier
	ColdHold  OnColdFull = "hold"  // one that cannot be copied stays, as under a hold, and others leave
)

// Cold is the cold tier of a stream. The zero Cold is none.
type Cold struct {
	Store  cold.Store
	OnFull OnColdFull // "": ColdBlock
}

// ColdAccount is what became of a stream's segments at its cold tier, since the
// start.
type ColdAccount struct {
	Segments int64 // that were put there
	Bytes    int64
	Dropped  int64     // that left without a copy
	Held     int64     // that stay because they cannot be copied
	Waiting  int64     // bytes that are there, as far as it tells
	Failing  string    // why it does not work; "": it does
	Since    time.Time // that it is failing

	away   bool      // it is the tier that fails, and not a segment
	needed bool      // something is to leave
	asked  bool      // it failed when it was asked, and nothing was to leave
	asking time.Time // since when it is being asked; zero: it is not
}

// fails notes why the tier does not work.
func (a *ColdAccount) fails(err error, now time.Time) {
	if a.Failing == "" {
		a.Since = now
	}
	a.Failing, a.away = err.Error(), errors.Is(err, cold.ErrAway)
}

func (a *ColdAccount) works() { a.Failing, a.Since, a.asked = "", time.Time{}, false }

// accountsOf are accounts of all streams.
type accountsOf[T any] struct {
	mu sync.Mutex // after every other lock; nothing is called with it held
	by map[string]*T
}

// change calls f with a stream's account.
func (a *accountsOf[T]) change(stream string, f func(*T)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by == nil {
		a.by = map[string]*T{}
	}
	if a.by[stream] == nil {
		a.by[stream] = new(T)
	}
	f(a.by[stream])
}

// cooled tells whether any stream has a cold tier.
func cooled(streams []Stream) bool {
	return slices.ContainsFunc(streams, func(s Stream) bool { return s.Cold.Store != nil })
}

// moves tells whether segments are copied before they leave a tier.
func moves(streams []Stream) bool { return tiered(streams) || cooled(streams) }

// leaves tells whether a step takes a segment away from its stream.
func leaves(s roll.Step) bool { return s.Act == roll.Remove || s.To == roll.Cold }

// want is room that somebody waits for.
type want struct {
	lack int64
	drop bool
}

// wanted notes, with mu held, that a stream wants room which only the mover can
// make, and wakes it.
func (r *Roller) wanted(stream string, w want) {
	if r.wants == nil {
		r.wants = map[string]want{}
	}
	w.drop = w.drop || r.wants[stream].drop
	r.wants[stream] = w
	r.wakeMover()
}

func (r *Roller) wakeMover() {
	if r.mover == nil {
		return
	}
	select {
	case r.mover.wake <- struct{}{}:
	default:
	}
}

// uncopied returns, with mu held, the steps of a plan whose segment is to leave
// for a cold tier and is not there yet.
func (r *Roller) uncopied(plan *roll.Plan, waived map[string][]uint64) (todo []roll.Step) {
	for _, step := range plan.Steps {
		if step.Index || step.To != roll.Cold || slices.Contains(waived[step.Stream], step.Number) {
			continue
		}
		if s := r.streamOf(step.Stream); s != nil && !s.Journal.Cold(step.Number) {
			todo = append(todo, step)
		}
	}
	return todo
}

func (r *Roller) streamOf(name string) *Stream {
	if i := slices.IndexFunc(r.streams, func(s Stream) bool { return s.Name == name }); i >= 0 {
		return &r.streams[i]
	}
	return nil
}

// departure is a roll for which segments are copied to the cold tier first.
type departure struct {
	plan func() (*roll.Plan, error) // made again after each turn; called with mu held
	wish func(*roll.Plan) bool      // whether a plan is worth carrying out; nil: where it takes anything away
	by   string
	undo time.Duration
	stop <-chan struct{}

	glances bool // it has more to do than to wait for a copy
}

// depart copies what is to leave for a cold tier, without mu, makes the plan anew,
// and carries it out when nothing is left to copy. moving is held.
func (r *Roller) depart(d departure) (Result, error) {
	waived := map[string][]uint64{}
	away := map[string]bool{} // tiers that failed already, and need not for each segment
	for {
		r.mu.Lock()
		plan, err := d.plan()
		if err != nil || plan == nil {
			r.mu.Unlock()
			return Result{Plan: plan}, err
		}
		todo := r.uncopied(plan, waived)
		if len(todo) == 0 {
			res := Result{Plan: plan}
			if d.wish == nil || d.wish(plan) {
				res, err = r.carry(plan, waived, d.by, d.undo)
			}
			if err == nil {
				r.tookAway(plan, waived)
			}
			r.mu.Unlock()
			return res, err
		}
		r.mu.Unlock()
		for _, step := range todo {
			select {
			case <-d.stop:
				return Result{Plan: plan}, nil
			default:
			}
			if away[step.Stream] {
				waived[step.Stream] = append(waived[step.Stream], step.Number)
				continue
			}
			before := len(waived[step.Stream])
			if err := r.chill(d, step, waived); err != nil {
				return Result{Plan: plan}, err
			}
			away[step.Stream] = len(waived[step.Stream]) > before && r.ColdAccount(step.Stream).away
		}
	}
}

// tookAway notes which segments left without a copy.
func (r *Roller) tookAway(plan *roll.Plan, waived map[string][]uint64) {
	for _, step := range plan.Steps {
		if !step.Index && leaves(step) && slices.Contains(waived[step.Stream], step.Number) {
			r.coldAccounts.change(step.Stream, func(a *ColdAccount) { a.Dropped++ })
		}
	}
}

// chill copies one segment to its stream's cold tier, or waits for the one that is
// on its way there. Where that fails, what was chosen for it is done.
func (r *Roller) chill(d departure, step roll.Step, waived map[string][]uint64) error {
	f, s := r.flyCold(step)
	if f == nil {
		return nil
	}
	err := r.wait(f, d)
	switch {
	case errors.Is(err, errUnderWay):
		return err
	case err == nil && !r.claim(f):
		return nil // the next plan tells what came of it
	case err == nil:
		step.Number = f.number
		if err = f.err; err != nil && !there(s.Journal, f.number, false) {
			return nil // others let it go meanwhile
		}
	}
	r.coldAccounts.change(s.Name, func(a *ColdAccount) {
		switch {
		case err == nil:
			if a.Failing != "" {
				r.o.Log.Info("the cold tier takes segments again", "stream", s.Name, "failed_since", a.Since)
			}
			a.Segments, a.Bytes, a.Waiting = a.Segments+1, a.Bytes+f.bytes, a.Waiting+f.bytes
			a.works()
		default:
			a.needed, a.asked = true, false
			a.fails(err, r.o.Now())
		}
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled): // a stop is no verdict
		return err
	case s.Cold.OnFull == ColdDrop:
		r.o.Log.Warn("a segment leaves without a copy in the cold tier, as on_cold_full: drop asks", "stream", s.Name, "segment", step.Number, "error", err)
		waived[s.Name] = append(waived[s.Name], step.Number)
		return nil
	case s.Cold.OnFull == ColdHold && !errors.Is(err, cold.ErrAway):
		r.o.Log.Error("a segment cannot be copied to the cold tier, and stays until the next start, as on_cold_full: hold asks", "stream", s.Name, "segment", step.Number, "error", err)
		r.mu.Lock()
		if r.stuck == nil {
			r.stuck = map[string][]uint64{}
		}
		if !slices.Contains(r.stuck[s.Name], step.Number) {
			r.stuck[s.Name] = append(r.stuck[s.Name], step.Number)
			r.coldAccounts.change(s.Name, func(a *ColdAccount) { a.Held++ })
		}
		r.mu.Unlock()
		return nil
	}
	return notTaken(err, s.Name, step.Number)
}

// notTaken tells a user why a segment stays.
func notTaken(err error, stream string, number uint64) error {
	code, hint := fault.IOError, "empty the cold tier, or bring it back; on_cold_full says what else may become of segments"
	switch {
	case !errors.Is(err, cold.ErrAway):
		code, hint = fault.DataCorrupted, "holdfast verify names what is damaged, and repair gives it up; with on_cold_full: hold it stays, and others leave"
	case disk.IsFull(err):
		code = fault.DiskFull
	}
	return fault.New(code, "segment %d of stream %q stays, because it could not be copied to the cold tier", number, stream).Because(err).WithHint("%s", hint)
}

// relieveCold lets so much of one stream go that lack bytes become free in its
// hot tier, by way of the cold one.
func (r *Roller) relieveCold(m *mover, at int) error {
	r.moving.Lock()
	defer r.moving.Unlock()
	r.mu.Lock()
	if at >= len(r.streams) {
		r.mu.Unlock()
		return nil
	}
	s := r.streams[at]
	w := r.wants[s.Name]
	r.mu.Unlock()
	if s.Cold.Store != nil {
		lack, err := s.Journal.Short(ahead * s.Journal.SegmentSize())
		if err != nil {
			return err
		}
		w.lack = max(w.lack, lack)
	}
	if w.lack == 0 {
		r.coldAccounts.change(s.Name, func(a *ColdAccount) { a.needed = false })
		return nil
	}
	_, err := r.depart(departure{
		by: limitsBy, stop: m.stop, glances: true,
		plan: func() (*roll.Plan, error) {
			if at >= len(r.streams) {
				return nil, nil
			}
			return r.reduceBy(at, roll.Hot, w)
		},
		wish: func(p *roll.Plan) bool {
			delete(r.wants, s.Name)
			own := slices.ContainsFunc(p.Steps, func(step roll.Step) bool { return step.Stream == s.Name && !step.Index })
			if !own {
				r.tried(p, 0, limitsBy, []string{s.Name})
			}
			return own
		},
	})
	return err
}

// ColdAccount returns that of a stream.
func (r *Roller) ColdAccount(stream string) (one ColdAccount) {
	r.coldAccounts.change(stream, func(a *ColdAccount) { one = *a })
	return one
}

// refuseWarm refuses a limit of the warm tier where there is none.
func (r *Roller) refuseWarm(m roll.Message) error {
	if m.Size != nil && m.Size.MaxSizeWarm > 0 && !tiered(r.streams) && !(m.Node == roll.Index && warmIndexed(r.streams)) {
		return fault.New(fault.FeatureNotSupported, "maxSizeWarm is not taken: no stream has a warm tier").WithHint("leave it out, or give streams a warm tier")
	}
	return nil
}

// rollTiers is Roll where segments are copied before they leave a tier. What
// leaves is committed as ever; the moves behind that are each committed by their
// stream.
func (r *Roller) rollTiers(m roll.Message, by string) (Result, error) {
	r.moving.Lock()
	defer r.moving.Unlock()
	res, err := r.depart(departure{
		by: by, undo: r.o.Undo,
		plan: func() (*roll.Plan, error) { return r.plan(m) },
		wish: func(p *roll.Plan) bool {
			if len(p.Steps) == 0 {
				r.tried(p, 0, by, m.Types())
				return false
			}
			return len(movesOf(p)) < len(p.Steps) || len(p.Watermarks) > 0
		},
	})
	if err != nil {
		return res, err
	}
	if err := r.move(movesOf(res.Plan), departure{}); err != nil {
		return res, fmt.Errorf("not every segment was moved to the warm tier: %w", err)
	}
	return res, nil
}

// stays tells, with mu held, whether a segment stays because the cold tier cannot
// take it.
func (r *Roller) stays(stream string, f journal.File) bool {
	return slices.Contains(r.stuck[stream], f.Number)
}
