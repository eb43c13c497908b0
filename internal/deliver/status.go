package deliver

import (
	"fmt"
	"time"
)

// State is what a Deliverer is doing.
type State string

// The states.
const (
	Connecting State = "connecting" // attaching to the sink, or reading its cursor
	Delivering State = "delivering" // rows are on their way
	Idle       State = "idle"       // the sink has every durable row
	Waiting    State = "waiting"    // the last attempt failed; the next comes by itself
	Paused     State = "paused"     // by an operator, until Resume
	Halted     State = "halted"     // somebody must look; Reason says why
)

// Status is how one stream's delivery to one sink stands.
type Status struct {
	Name   string // the sink's
	Stream string
	State  State
	Reason Reason    // why it is halted; else ""
	Since  time.Time // when State became what it is

	Seq      uint64    // last row committed in the sink, as far as is known here
	LagRows  uint64    // durable rows that the sink has not
	LagBytes int64     // about, on disk; -1 where the stream cannot tell
	Oldest   time.Time // about when the oldest row that the sink has not was received; zero where there is none

	DrainRate float64       // rows per second that the cursor went forward over the last minute
	ETA       time.Duration // until the backlog is gone, at the rates at which it shrinks and grows; 0: there is none, or it does not shrink

	LastError string // of the last attempt that failed; "" once one worked
	Retries   uint64 // attempts that failed since the start
	Rows      uint64 // committed since the start
	Commits   uint64 // since the start
	Rejects   uint64 // rows set aside since the start
	GapRows   uint64 // passed over since the start, because repair gave them up
}

// Status returns how it stands. Safe for concurrent use, and never waits for
// the sink.
func (d *Deliverer) Status() Status {
	end := d.cfg.Stream.End().Seq
	now := time.Now()
	d.mu.Lock()
	s := d.status
	out, in := d.pace.rates(now, s.Seq, end)
	d.mu.Unlock()
	s.LagBytes = -1
	s.DrainRate = out
	if end > s.Seq {
		s.LagRows = end - s.Seq
		if out > in {
			s.ETA = time.Duration(min(float64(s.LagRows)/(out-in), mostETA.Seconds()) * float64(time.Second))
		}
	} else {
		s.Oldest = time.Time{}
	}
	if b, ok := d.cfg.Stream.(Backlog); ok {
		s.LagBytes = b.BytesAfter(s.Seq)
	}
	return s
}

// update changes the status and wakes whoever waits for a change.
func (d *Deliverer) update(f func(s *Status)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.status.State
	f(&d.status)
	if d.status.State != before {
		d.status.Since = time.Now()
	}
	close(d.changed)
	d.changed = make(chan struct{})
}

// enter changes the state alone. While attempts fail, the state stays what the
// first of them made it, so that Since tells how long that has been so.
func (d *Deliverer) enter(state State) {
	d.mu.Lock()
	same := d.status.State == state
	d.mu.Unlock()
	if !same && d.failures == 0 {
		d.update(func(s *Status) { s.State, s.Reason = state, "" })
	}
}

// floor returns the seq that the sink's cursor must not be behind.
func (d *Deliverer) floor() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status.Seq
}

// left describes what is not delivered up to target.
func (s Status) left(target uint64) error {
	text := fmt.Sprintf("sink %q has not committed rows %d to %d of stream %q", s.Name, s.Seq+1, target, s.Stream)
	if s.LastError != "" {
		return fmt.Errorf("%s: %s", text, s.LastError)
	}
	return fmt.Errorf("%s", text)
}

// mostETA is what an estimate says at most: it is as good as never.
const mostETA = 100 * 365 * 24 * time.Hour

// paceTime is what rates are taken over.
const paceTime = time.Minute

// pace remembers, about once a second for a minute, how far the sink and the
// stream were.
type pace []step

type step struct {
	at       time.Time
	seq, end uint64
}

// note is called whenever the cursor has moved to seq.
func (p *pace) note(now time.Time, seq, end uint64) {
	if n := len(*p); n > 0 && seq < (*p)[n-1].seq {
		*p = (*p)[:0] // it was moved back
	} else if n > 0 && now.Sub((*p)[n-1].at) < time.Second {
		return
	}
	for len(*p) > 1 && now.Sub((*p)[1].at) > paceTime {
		*p = append((*p)[:0], (*p)[1:]...)
	}
	*p = append(*p, step{now, seq, end})
}

// rates returns the rows per second that went out to the sink and came in to the
// stream.
func (p pace) rates(now time.Time, seq, end uint64) (out, in float64) {
	if len(p) == 0 || seq < p[0].seq || end < p[0].end {
		return 0, 0
	}
	base := p[0] // the last that is a minute old, else the first
	for _, s := range p {
		if now.Sub(s.at) >= paceTime {
			base = s
		}
	}
	took := now.Sub(base.at).Seconds()
	if took <= 0 || seq < base.seq {
		return 0, 0
	}
	return float64(seq-base.seq) / min(took, paceTime.Seconds()), float64(end-base.end) / took
}
