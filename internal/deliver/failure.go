package deliver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"holdfast/internal/mutant"
	"holdfast/sink"
)

// works forgets what failed before.
func (d *Deliverer) works() {
	if d.quiet == "" {
		return
	}
	d.failures, d.quiet = 0, ""
	d.cfg.Log.Info("delivery goes on", "sink", d.cfg.Name, "stream", d.cfg.Stream.Name())
	d.update(func(s *Status) { s.LastError = "" })
}

// failed notes what an attempt ended with. The log gets each error once, not
// once per attempt.
func (d *Deliverer) failed(err error) {
	reason := judge(err)
	d.failures++
	d.out, d.ahead = leaveOut{}, nil
	if mutant.On(29) && reason == Fenced {
		d.release()
		reason = ""
	}
	d.peek()
	d.cfg.Failed(err)
	d.update(func(s *Status) {
		s.State, s.Reason = Waiting, reason
		if reason != "" {
			s.State = Halted
		}
		s.LastError = explain(err)
		s.Retries++
	})
	if text := explain(err); text != d.quiet {
		d.quiet = text
		log := d.cfg.Log.With("sink", d.cfg.Name, "stream", d.cfg.Stream.Name())
		if reason == "" {
			log.Warn("delivery waits, and tries again by itself", "error", text)
		} else {
			log.Warn("delivery is halted", "reason", string(reason), "error", text)
		}
	}
}

// explain returns what an operator reads: for a bad row also which one it is.
func explain(err error) string {
	var bad *sink.RowError
	if errors.As(err, &bad) && bad.Seq != 0 {
		return fmt.Sprintf("row %d: %v", bad.Seq, err)
	}
	return err.Error()
}

// peek learns how old the oldest row is that waits, where nothing was read yet
// because the sink was away from the start.
func (d *Deliverer) peek() {
	d.mu.Lock()
	known, seq := !d.status.Oldest.IsZero(), d.status.Seq
	d.mu.Unlock()
	if known {
		return
	}
	r, err := d.cfg.Stream.Reader(seq + 1)
	if err != nil {
		return // the attempt that needs it will say so
	}
	defer r.Close()
	if b, err := r.TryNext(); err == nil && b != nil && len(b.Rows) > 0 {
		d.update(func(s *Status) { s.Oldest = time.UnixMicro(b.Rows[0].Received) })
	}
}

// rest waits while delivery is paused, and returns false where nothing is to
// follow. Commands are attended to meanwhile.
func (d *Deliverer) rest(ctx context.Context) bool {
	for ctx.Err() == nil {
		d.mu.Lock()
		paused, called := d.paused, len(d.commands) > 0
		d.mu.Unlock()
		if !paused {
			return true
		}
		if d.Status().State != Paused {
			d.update(func(s *Status) {
				if d.paused { // and not resumed meanwhile
					s.State = Paused
				}
			})
			d.failures = 0
		}
		if called {
			d.attend(ctx)
			continue
		}
		select {
		case <-ctx.Done():
		case <-d.wake:
		}
	}
	return false
}

// pause waits before the next attempt, and returns false where there is to be
// none. Halted for a reason that waits for Resume, it waits for that alone.
func (d *Deliverer) pause(ctx context.Context) bool {
	d.mu.Lock()
	reason := d.status.Reason
	d.mu.Unlock()
	if reason.disowned() {
		d.refuse(d.Status().forbids())
	}
	for {
		var timer <-chan time.Time
		if !reason.waits() {
			timer = time.After(d.delay(reason))
		}
		select {
		case <-ctx.Done():
			return false
		case <-timer:
			return true
		case <-d.wake:
			d.mu.Lock()
			asked, called := d.resume != nil || d.paused, len(d.commands) > 0
			d.mu.Unlock()
			if asked || !reason.waits() {
				d.failures = 0
				return true
			}
			if called {
				d.attend(ctx)
			}
		}
	}
}

// delay returns how long to wait after so many failures: doubling, and spread
// over half of it, so that many sinks do not come back at one moment. What
// cannot heal by itself is looked at as seldom as may be.
func (d *Deliverer) delay(reason Reason) time.Duration {
	wait := d.cfg.MaxWait
	if n := d.failures - 1; n < 20 && reason != Damage && reason != Gap && reason != Budget {
		wait = min(wait, d.cfg.MinWait<<max(n, 0))
	}
	return wait/2 + rand.N(wait/2+1)
}

// Batches that a sink takes too long for come again in halves, down to one
// block, and grow back by as much after some that went well.
const (
	mostHalves  = 20
	growsBehind = 8
)

// tookTooLong reports whether err says that the sink, or the way to it, was too
// slow for the batch.
func tookTooLong(err error) bool {
	var slow interface{ Timeout() bool }
	var coded interface{ SQLState() string }
	return errors.As(err, &slow) && slow.Timeout() || errors.As(err, &coded) && coded.SQLState() == "57014"
}

// A batch that was committed within quick may be followed by one of twice its
// size, where the sink is glad of that; one that took longer than slow by half:
// others wait for the locks of a transaction, and a stop waits for its end.
const (
	quick = 150 * time.Millisecond
	slow  = 500 * time.Millisecond
)

// grow lets batches grow, and grow back, now that b was committed in so long a
// time.
func (d *Deliverer) grow(b *batch, took time.Duration) {
	if b.count == 0 || b.rows > 0 && b.bytes > 0 {
		return // it was not full, and says nothing
	}
	switch {
	case d.shrunk > 0:
		if d.steady++; d.steady >= growsBehind {
			d.shrunk, d.steady = d.shrunk-1, 0
		}
	case b.aside.count > 0: // what is refused is found sooner among fewer
		d.grown = 0
	case took > slow && d.grown > 0:
		d.grown--
	case took < quick && 2<<d.grown <= d.cfg.Most:
		d.grown++
	}
}
