package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/mutant"
	"holdfast/row"
	"holdfast/sink"
)

// run is the goroutine: attempt after attempt, until it is told to stop. That
// an attempt ended because of that is no verdict on anything.
func (d *Deliverer) run(ctx context.Context) {
	defer close(d.done)
	for d.rest(ctx) {
		err := d.attempt(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errAgain) {
			continue
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
	d.takeUp()
	at, err := d.connect(ctx)
	if err == nil && (d.serve(ctx, at) || d.how.claim) { // behind a cursor that is only claimed nothing is delivered
		d.how.claim = false
		return errAgain
	}
	var r Reader
	if err == nil {
		r, err = d.open(ctx, at)
	}
	if err != nil && judge(err) == Gap && d.how.AcceptGap {
		return d.acceptGap(ctx, at, err)
	}
	if err != nil {
		return err
	}
	d.how = Resumption{}
	return errors.Join(d.follow(ctx, r, at), r.Close())
}

// takeUp takes up what Resume asked for.
func (d *Deliverer) takeUp() {
	d.mu.Lock()
	asked := d.resume
	d.resume = nil
	d.mu.Unlock()
	if asked == nil {
		return
	}
	d.how = asked.how
	if asked.reason == Flood {
		d.window = window{accepted: true}
	}
	if asked.reason.disowned() {
		d.release()
	}
}

// connect returns where the cursor stands, once it is ours and fits.
func (d *Deliverer) connect(ctx context.Context) (row.Position, error) {
	known := d.session != nil
	if err := d.attach(ctx); err != nil {
		return row.Position{}, err
	}
	c, err := d.session.Cursor(ctx)
	if err != nil {
		return row.Position{}, fmt.Errorf("read cursor: %w", err)
	}
	if d.how.claim {
		return c.Position, nil
	}
	if err := d.checkCursor(ctx, c, known); err != nil {
		return c.Position, err
	}
	var settled uint64
	if floor := d.floor(); known && !d.moved && c.Seq > floor {
		settled = c.Seq - floor
	}
	d.moved = false
	if mutant.On(25) && !known {
		c.Seq = max(d.floor(), d.cfg.Start.Seq)
	}
	d.reached(c.Position, settled, 0)
	return c.Position, nil
}

// open returns a reader of what is behind at.
func (d *Deliverer) open(ctx context.Context, at row.Position) (Reader, error) {
	if err := d.ask(ctx, at.Seq+1); err != nil {
		return nil, err
	}
	d.noted = at.Seq
	if err := d.note(ctx, at, d.ahead); err != nil {
		return nil, err
	}
	r, err := d.cfg.Stream.Reader(at.Seq + 1)
	if err != nil {
		return nil, fmt.Errorf("read stream %q from seq %d: %w", d.cfg.Stream.Name(), at.Seq+1, err)
	}
	return r, nil
}

// ask learns which rows from seq on are in rejects already: set aside by an
// attempt whose commit failed, or by one whose cursor the sink has lost.
func (d *Deliverer) ask(ctx context.Context, seq uint64) error {
	d.kept = nil
	if d.cfg.Rejects == nil {
		return nil
	}
	seqs, err := d.cfg.Rejects.Kept(ctx, d.cfg.id().StreamID, d.cfg.Name, seq)
	if err != nil {
		return fmt.Errorf("ask which rows are rejects: %w", err)
	}
	d.kept = make(map[uint64]struct{}, len(seqs))
	for _, s := range seqs {
		d.kept[s] = struct{}{}
	}
	return nil
}

// attach gets a session where there is none. A session is kept through every
// error: attaching anew would take the cursor from an instance that may
// rightly have it by now. Only an operator does that, by Resume.
func (d *Deliverer) attach(ctx context.Context) error {
	if d.session != nil {
		return nil
	}
	start := d.cfg.Start
	if d.cfg.Attached {
		// A cursor that is gone must not be found again at a place that looks as if
		// nothing had happened: at the very front it is behind any mark.
		start = row.Position{}
	}
	n, err := d.cfg.Sink.Attach(ctx, d.cfg.id(), d.cfg.Instance, start, d.sound)
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
		if err := d.note(ctx, at, d.gaps(first, at.Seq)); err != nil {
			return err
		}
		d.begins(first)
		if mutant.On(27) && !first.Open {
			_ = d.session.Move(ctx, first.End, nil)
		}
		b, began := d.batch(ctx, r, first, at), time.Now()
		if err := d.session.Apply(ctx, b, b.aside); err != nil {
			return d.refused(b, at, err)
		}
		if b.block != nil || b.err != nil {
			return fmt.Errorf("sink %q reported a commit without reading the batch to its end", d.cfg.Name)
		}
		if err := b.aside.settle(ctx); err != nil {
			return fmt.Errorf("sink %q reported a commit without its rejects: %w", d.cfg.Name, err)
		}
		at = b.End()
		d.grow(b, time.Since(began))
		d.window = b.aside.window.next()
		d.out.forget(at.Seq)
		d.ahead = nil
		d.setAside(b.aside)
		d.passed(b.gaps)
		d.reached(at, b.count-b.aside.late, b.last)
		if b.later != nil {
			return b.later
		}
		if d.called() {
			return errAgain
		}
		if b.rows > 0 && b.bytes > 0 {
			d.linger(ctx)
		}
	}
}

// refused returns what a batch behind at, which the sink rolled back because of
// err, means: errAgain where it is known what to leave out of the next one.
func (d *Deliverer) refused(b *batch, at row.Position, err error) error {
	if b.aside.err != nil {
		err = b.aside.err
	}
	d.grown = 0 // less comes again
	if mutant.On(30) && b.ctx.Err() != nil {
		d.reached(b.end, 0, 0)
	}
	var bad *sink.RowError
	if judge(err) == BadRow && errors.As(err, &bad) && d.cfg.Rejects != nil {
		return d.tellApart(b, at, bad, err)
	}
	switch judge(err) {
	case BadRow, Damage, Budget:
		d.careful = b.end.Seq // so that what stands in front of it is delivered
	case "":
		if tookTooLong(err) {
			d.shrunk, d.steady = min(d.shrunk+1, mostHalves), 0
		}
	}
	return err
}

// tellApart finds what to leave out where the sink did not: the row that it
// names, else a whole batch of the smallest size.
func (d *Deliverer) tellApart(b *batch, at row.Position, bad *sink.RowError, err error) error {
	c := cause{bad.Seq, bad.Code, bad.Error()}
	_, known := d.out.rows[bad.Seq]
	first := b.aside.transaction(bad.Seq)
	if _, out := d.out.transactions[first]; bad.Seq > at.Seq && bad.Seq <= b.end.Seq && !known && !out {
		if first != 0 {
			d.out.transaction(first, c)
		} else {
			d.out.row(bad.Seq, c)
		}
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	switch {
	case at.Seq >= d.careful:
		d.careful = b.end.Seq
		return fmt.Errorf("%w: %w", errAgain, err)
	case d.out.whole != at.Seq+1:
		d.out.whole, d.out.why = at.Seq+1, c
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	return err // of a batch without rows
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

// How often the cursor moves over rows of tables that the sink does not take:
// each time is a commit.
const (
	overRows = 100_000
	overTime = time.Second
)

// first returns the block that the next batch begins with, and waits for it. It
// passes over blocks of which the sink takes no row, and returns one that is
// empty, and ends where the cursor may stand, when it is time to move there.
func (d *Deliverer) first(ctx context.Context, r Reader, at row.Position) (*row.Block, error) {
	over, since := at, time.Time{}
	for {
		b, err := r.TryNext()
		if err == nil && b == nil {
			d.works()
			d.enter(Idle)
			if b, err = d.next(ctx, r, left(since)); b == nil && err == nil && over != at {
				return &row.Block{First: at.Seq + 1, End: over}, nil
			}
		}
		if err == nil && d.called() {
			return nil, errAgain
		}
		if err == nil && b == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read stream %q behind seq %d: %w", d.cfg.Stream.Name(), over.Seq, err)
		}
		if err := checkBlock(b, over.Seq); err != nil {
			return nil, err
		}
		if b.End.Seq <= over.Seq { // a block without new rows proves the one before it
			continue
		}
		if b.Open || b.Damage != nil || d.mold.takesAny(b) {
			return b, nil
		}
		if over = b.End; since.IsZero() {
			since = time.Now()
		}
		if over.Seq-at.Seq >= overRows || time.Since(since) >= overTime {
			return &row.Block{First: at.Seq + 1, End: over}, nil
		}
	}
}

// left returns how long blocks may be passed over yet; 0: for ever, since none
// was.
func left(since time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return max(overTime-time.Since(since), 1)
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

// reached notes what the sink has committed: up to at, of which rows are new. The
// mark comes first: who sees by Status or Drain that a row is delivered finds it
// marked, so that the sink can be retired.
func (d *Deliverer) reached(at row.Position, rows uint64, last int64) {
	d.cfg.Marked(at.Seq)
	end := d.cfg.Stream.End().Seq
	d.update(func(s *Status) {
		s.Seq = at.Seq
		d.pace.note(time.Now(), at.Seq, end)
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
}

// setAside tells how many rows were set aside, now that the cursor is behind them.
func (d *Deliverer) setAside(a *aside) {
	if a.count == 0 {
		return
	}
	d.works()
	d.update(func(s *Status) { s.Rejects += a.count })
	d.cfg.Log.Warn("rows were set aside as rejects", "sink", d.cfg.Name, "stream", d.cfg.Stream.Name(), "rows", a.count)
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
