package deliver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

// Deliverer delivers one stream to one sink. All its methods are safe for
// concurrent use.
type Deliverer struct {
	cfg Config

	mu      sync.Mutex
	status  Status
	changed chan struct{} // closed, and made anew, at every change of status
	resume  *resumption   // asked for, and not yet taken up
	cancel  context.CancelFunc

	wake chan struct{} // holds one token: end a pause now
	done chan struct{} // closed when the goroutine has ended

	// What stands below belongs to the goroutine.
	session  sink.Session
	failures int    // attempts that failed since the last that worked
	careful  uint64 // up to this seq, one block or one transaction per batch
	quiet    string // the last error that was logged
}

// resumption is what Resume asks for.
type resumption struct {
	replay bool
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

// Resume makes a Deliverer that waits for it attach again and go on; another
// instance that had taken the cursor over is fenced thereby. With replay set,
// the cursor in the sink counts even where it is behind what was committed
// before, so that a restored sink gets those rows again. Otherwise Resume only
// ends a pause: it never attaches where nobody needed to look.
func (d *Deliverer) Resume(replay bool) {
	d.mu.Lock()
	if d.status.State == Halted && d.status.Reason.waits() {
		d.resume = &resumption{replay: replay}
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

// run is the goroutine: attempt after attempt, until it is told to stop. That
// an attempt ended because of that is no verdict on anything.
func (d *Deliverer) run(ctx context.Context) {
	defer close(d.done)
	for {
		err := d.attempt(ctx)
		if ctx.Err() != nil {
			break
		}
		d.failed(err)
		if !d.pause(ctx) {
			break
		}
	}
	d.release()
}

// release gives the session up.
func (d *Deliverer) release() {
	if d.session == nil {
		return
	}
	if err := d.session.Close(); err != nil {
		d.cfg.Log.Warn("close session", "sink", d.cfg.Name, "stream", d.cfg.Stream.Name(), "error", err)
	}
	d.session = nil
}

// attempt delivers until something fails, and returns what. Each attempt
// begins by reading the cursor, which settles whatever the last one left open.
func (d *Deliverer) attempt(ctx context.Context) error {
	d.enter(Connecting)
	known := d.session != nil
	if err := d.attach(ctx); err != nil {
		return err
	}
	at, err := d.session.Cursor(ctx)
	if err != nil {
		return fmt.Errorf("read cursor: %w", err)
	}
	if err := d.checkCursor(at); err != nil {
		return err
	}
	settled := at.Seq - min(at.Seq, d.floor())
	if !known {
		settled = 0 // committed by an earlier run
	}
	d.reached(at.Position, settled, 0)
	r, err := d.cfg.Stream.Reader(at.Seq + 1)
	if err != nil {
		return fmt.Errorf("read stream %q from seq %d: %w", d.cfg.Stream.Name(), at.Seq+1, err)
	}
	return errors.Join(d.follow(ctx, r, at.Position), r.Close())
}

// attach gets a session where there is none. A session is kept through every
// error: attaching anew would take the cursor from an instance that may
// rightly have it by now. Only an operator does that, by Resume.
func (d *Deliverer) attach(ctx context.Context) error {
	d.mu.Lock()
	asked := d.resume
	d.resume = nil
	if asked != nil && asked.replay {
		d.status.Seq = 0
	}
	d.mu.Unlock()
	if asked != nil {
		d.release()
	}
	if d.session != nil {
		return nil
	}
	n, err := d.cfg.Sink.Attach(ctx, d.cfg.id(), d.cfg.Instance, d.cfg.Start)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	d.session = n
	return nil
}

// follow commits batch after batch from r, whose next block continues behind at.
func (d *Deliverer) follow(ctx context.Context, r Reader, at row.Position) error {
	for {
		first, err := d.first(ctx, r, at)
		if err != nil {
			return err
		}
		d.begins(first)
		b := newBatch(ctx, r, first, at)
		if at.Seq >= d.careful {
			b.rows += d.cfg.Rows
			b.bytes += d.cfg.Bytes
		}
		if err := d.session.Apply(ctx, b, noRejects{}); err != nil {
			if r := judge(err); r == BadRow || r == Damage {
				d.careful = b.end.Seq // so that what stands in front of it is delivered
			}
			return err
		}
		if b.block != nil || b.err != nil {
			return fmt.Errorf("sink %q reported a commit without reading the batch to its end", d.cfg.Name)
		}
		at = b.End()
		d.reached(at, b.count, b.last)
		d.passed(b.gaps)
		if b.later != nil {
			return b.later
		}
		if b.rows > 0 && b.bytes > 0 {
			d.linger(ctx)
		}
	}
}

// linger lets rows gather for the next batch; nobody waits for them but readers
// of the sink. Drain cuts it short.
func (d *Deliverer) linger(ctx context.Context) {
	if d.cfg.Linger < 0 {
		return
	}
	t := time.NewTimer(d.cfg.Linger)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.wake:
	case <-ctx.Done():
	}
}

// first returns the block that the next batch begins with, and waits for it.
func (d *Deliverer) first(ctx context.Context, r Reader, at row.Position) (*row.Block, error) {
	for {
		b, err := r.TryNext()
		if err == nil && b == nil {
			d.works()
			d.enter(Idle)
			b, err = r.Next(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("read stream %q behind seq %d: %w", d.cfg.Stream.Name(), at.Seq, err)
		}
		if err := checkBlock(b, at.Seq); err != nil {
			return nil, err
		}
		if b.End.Seq > at.Seq { // a block without new rows proves the one before it
			return b, nil
		}
	}
}

// begins notes that first is on its way.
func (d *Deliverer) begins(first *row.Block) {
	d.enter(Delivering)
	d.update(func(s *Status) {
		if len(first.Rows) > 0 {
			s.Oldest = time.UnixMicro(first.Rows[0].Received)
		}
	})
}

// reached notes what the sink has committed: up to at, of which rows are new.
func (d *Deliverer) reached(at row.Position, rows uint64, last int64) {
	d.update(func(s *Status) {
		s.Seq = at.Seq
		if rows > 0 {
			s.Rows += rows
			s.Commits++
		}
		if last != 0 {
			s.Oldest = time.UnixMicro(last)
		}
	})
	if rows > 0 {
		d.works()
	}
	d.cfg.Marked(at.Seq)
}

// passed tells which rows the sink will never have, now that its cursor is
// behind them.
func (d *Deliverer) passed(gaps []row.Damage) {
	if len(gaps) == 0 {
		return
	}
	d.works()
	for _, g := range gaps {
		d.cfg.Log.Warn("rows are missing in the sink: they were given up by repair", "sink", d.cfg.Name, "stream", d.cfg.Stream.Name(),
			"first", g.First, "last", g.Last, "segment", g.Segment, "offset", g.Offset, "what", g.What)
		d.update(func(s *Status) { s.GapRows += g.Last + 1 - g.First })
	}
}

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
	d.peek()
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

// pause waits before the next attempt, and returns false where there is to be
// none. Halted for a reason that waits for Resume, it waits for that alone.
func (d *Deliverer) pause(ctx context.Context) bool {
	d.mu.Lock()
	reason := d.status.Reason
	d.mu.Unlock()
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
			asked := d.resume != nil
			d.mu.Unlock()
			if asked || !reason.waits() {
				d.failures = 0
				return true
			}
		}
	}
}

// delay returns how long to wait after so many failures: doubling, and spread
// over half of it, so that many sinks do not come back at one moment. What
// cannot heal by itself is looked at as seldom as may be.
func (d *Deliverer) delay(reason Reason) time.Duration {
	wait := d.cfg.MaxWait
	if n := d.failures - 1; n < 20 && reason != Damage && reason != Gap {
		wait = min(wait, d.cfg.MinWait<<max(n, 0))
	}
	return wait/2 + rand.N(wait/2+1)
}
