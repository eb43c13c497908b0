package deliver

import (
	"context"
	"sync"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

// Deliverer delivers one stream to one sink. All its methods are safe for
// concurrent use.
type Deliverer struct {
	cfg Config

	mu        sync.Mutex
	status    Status
	pace      pace
	changed   chan struct{} // closed, and made anew, at every change of status
	resume    *resumed      // asked for, and not yet taken up
	paused    bool
	commands  []*command         // asked for, and not yet taken up
	interrupt context.CancelFunc // ends the wait for the next block; nil: none
	cancel    context.CancelFunc

	wake chan struct{} // holds one token: end a pause now
	done chan struct{} // closed when the goroutine has ended

	// What stands below belongs to the goroutine.
	session  sink.Session
	how      Resumption // until it was of use
	moved    bool       // the cursor is not where commits have brought it
	shrunk   uint       // batches are smaller by so many halves, because the sink took too long
	grown    uint       // batches are larger by so many doublings, because the sink is quick
	steady   int        // batches of that size, in full, since the last that took too long
	failures int        // attempts that failed since the last that worked
	careful  uint64     // up to this seq, one block or one transaction per batch
	quiet    string     // the last error that was logged

	mold   *mold
	kept   map[uint64]struct{} // rows behind the cursor that are in rejects already
	out    leaveOut
	window window       // of rejects, as of the last commit
	ahead  []row.Damage // gaps that the next batch passes over
	noted  uint64       // gaps up to here are noted in the sink
}

// Resumption says how an operator resumes delivery.
type Resumption struct {
	// Replay makes the cursor in the sink count even where it is behind what was
	// committed before, so that a restored sink gets those rows again.
	Replay bool
	// AcceptGap moves a cursor that is behind what the stream still holds to the
	// oldest row kept, and notes in the sink which rows it will never get.
	AcceptGap bool

	claim bool // the cursor may be of another journal: an operator is about to say where it stands
}

// resumed is what was resumed, and from what.
type resumed struct {
	how    Resumption
	reason Reason
}

// New returns a Deliverer that does nothing before Start.
func New(cfg Config) *Deliverer {
	cfg = cfg.withDefaults()
	return &Deliverer{
		cfg:     cfg,
		status:  Status{Name: cfg.Name, Stream: cfg.Stream.Name(), State: Connecting, Since: time.Now(), Seq: cfg.Mark},
		paused:  cfg.Paused,
		mold:    newMold(cfg.Shape, cfg.Stream.Name()),
		changed: make(chan struct{}),
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
}

// Start begins to deliver, in a goroutine that Close ends. It must be called
// at most once, and not after Close.
func (d *Deliverer) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	d.mu.Lock()
	d.cancel = cancel
	d.mu.Unlock()
	go d.run(ctx)
}

// Close stops delivering, and waits until it has stopped. A commit that is
// under way is finished or rolled back by the sink; what is not delivered
// stays in the stream. Idempotent. It does not close the sink.
func (d *Deliverer) Close() error {
	d.mu.Lock()
	cancel := d.cancel
	d.mu.Unlock()
	if cancel != nil {
		cancel()
		<-d.done
	}
	return nil
}

// Drain waits until the sink has committed what is durable now, and returns
// nil then. Otherwise it returns what is left, when ctx ends or when nothing
// more can be expected. A pause between attempts ends at once.
func (d *Deliverer) Drain(ctx context.Context) error {
	target := d.cfg.Stream.End().Seq
	d.nudge()
	for {
		d.mu.Lock()
		s, changed := d.status, d.changed
		d.mu.Unlock()
		if s.Seq >= target {
			return nil
		}
		if s.State == Halted || s.State == Paused {
			return s.left(target)
		}
		select {
		case <-changed:
		case <-d.done:
			return s.left(target)
		case <-ctx.Done():
			return s.left(target)
		}
	}
}

// Pause stops delivering until Resume, once a commit that is under way is
// finished. It does not wait for that. What is not delivered stays in the
// stream, and the cursor with this instance. A Deliverer that is made anew
// knows of it by Config.Paused only.
func (d *Deliverer) Pause() {
	d.mu.Lock()
	d.paused = true
	d.mu.Unlock()
	d.nudge()
}

// Resume makes a Deliverer go on that is paused, or halted for a reason that
// waits for it. After a flood, all rejects are set aside until the window ends.
// After a fence, or where the cursor in the sink was not what it should be, it
// attaches again, and another instance that had taken the cursor over is fenced
// thereby. Otherwise Resume only ends the wait between two attempts: it never
// attaches where nobody needed to look.
func (d *Deliverer) Resume(how Resumption) {
	d.update(func(s *Status) {
		r := s.Reason
		if d.resume != nil { // resumed twice before it was taken up: the last word counts
			r = d.resume.reason
		}
		if r.waits() || r == Gap {
			d.resume = &resumed{how, r}
		}
		d.paused = false
		// From here on, and not only once the goroutine has come to it: who resumes
		// and then drains must not be told that it is halted.
		if s.State == Halted || s.State == Paused {
			s.State, s.Reason = Connecting, ""
		}
	})
	d.nudge()
}

// nudge ends whatever the goroutine waits for, so that it looks around.
func (d *Deliverer) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
	d.mu.Lock()
	if d.interrupt != nil {
		d.interrupt()
	}
	d.mu.Unlock()
}

// called reports whether delivery has to stop for something else.
func (d *Deliverer) called() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.paused || len(d.commands) > 0
}

// next is Next of r that also ends when somebody calls: then with nil, nil.
func (d *Deliverer) next(ctx context.Context, r Reader, wait time.Duration) (*row.Block, error) {
	if wait == 0 {
		wait = time.Hour // and then again
	}
	wctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	d.mu.Lock()
	d.interrupt = cancel
	if d.paused || len(d.commands) > 0 {
		cancel()
	}
	d.mu.Unlock()
	b, err := r.Next(wctx)
	d.mu.Lock()
	d.interrupt = nil
	d.mu.Unlock()
	if err != nil && wctx.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return b, err
}
