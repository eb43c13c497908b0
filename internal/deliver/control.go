package deliver

import (
	"context"
	"sync"
	"time"

	"holdfast/sink"
)

// Deliverer delivers one stream to one sink. All its methods are safe for
// concurrent use.
type Deliverer struct {
	cfg Config

	mu      sync.Mutex
	status  Status
	changed chan struct{} // closed, and made anew, at every change of status
	resume  *resumed      // asked for, and not yet taken up
	cancel  context.CancelFunc

	wake chan struct{} // holds one token: end a pause now
	done chan struct{} // closed when the goroutine has ended

	// What stands below belongs to the goroutine.
	session  sink.Session
	failures int    // attempts that failed since the last that worked
	careful  uint64 // up to this seq, one block or one transaction per batch
	quiet    string // the last error that was logged

	kept   map[uint64]struct{} // rows behind the cursor that are in rejects already
	out    leaveOut
	window window // of rejects, as of the last commit
}

// Resumption says how an operator resumes delivery.
type Resumption struct {
	// Replay makes the cursor in the sink count even where it is behind what was
	// committed before, so that a restored sink gets those rows again.
	Replay bool
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
// more can be expected. A pause that is under way ends at once.
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
		if s.State == Halted {
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

// Resume makes a Deliverer that waits for it go on. After a flood, all rejects
// are set aside until the window ends. After a fence, or where the cursor in the
// sink was not what it should be, it attaches again, and another instance that
// had taken the cursor over is fenced thereby. Otherwise Resume only ends a
// pause: it never attaches where nobody needed to look.
func (d *Deliverer) Resume(how Resumption) {
	d.mu.Lock()
	if d.status.State == Halted && d.status.Reason.waits() {
		d.resume = &resumed{how, d.status.Reason}
	}
	d.mu.Unlock()
	d.nudge()
}

func (d *Deliverer) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}
