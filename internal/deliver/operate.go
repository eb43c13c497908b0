package deliver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"holdfast/row"
	"holdfast/sink"
)

// History is implemented by streams that know where the oldest row kept stands.
// Without it no cursor can be moved.
type History interface {
	// Oldest returns the position in front of the oldest row kept.
	Oldest() row.Position
}

// command is something that an operator wants of the session. The goroutine
// does it between two batches, once it has read the cursor back.
type command struct {
	ctx  context.Context
	run  func(ctx context.Context, at row.Position) error
	done chan error // holds one
}

// do has the goroutine run f, and returns its error. While the sink is away f
// waits for it, as long as ctx.
func (d *Deliverer) do(ctx context.Context, f func(ctx context.Context, at row.Position) error) error {
	return d.order(ctx, f, false)
}

// order is do, but that claims: f may also be run where the cursor is of another
// journal, since it says where it stands, without having looked at it.
func (d *Deliverer) order(ctx context.Context, f func(ctx context.Context, at row.Position) error, claims bool) error {
	c := &command{ctx, f, make(chan error, 1)}
	d.mu.Lock()
	claims = claims && d.status.Reason == OtherJournal
	if r := d.status.Reason; r.disowned() && !claims {
		defer d.mu.Unlock()
		return d.status.forbids()
	}
	d.commands = append(d.commands, c)
	d.mu.Unlock()
	if claims {
		d.Resume(Resumption{claim: true})
	}
	d.nudge()
	select {
	case err := <-c.done:
		return err
	case <-d.done:
	case <-ctx.Done():
	}
	d.mu.Lock()
	i := slices.Index(d.commands, c)
	if i < 0 {
		d.mu.Unlock()
		return <-c.done
	}
	d.commands = slices.Delete(d.commands, i, i+1)
	s := d.status
	d.mu.Unlock()
	if ctx.Err() == nil {
		return fmt.Errorf("delivery to sink %q was stopped", s.Name)
	}
	if s.LastError != "" {
		return fmt.Errorf("wait for sink %q, which is %s: %w: %s", s.Name, s.State, ctx.Err(), s.LastError)
	}
	return fmt.Errorf("wait for sink %q, which is %s: %w", s.Name, s.State, ctx.Err())
}

// forbids says why no command can be done.
func (s Status) forbids() error {
	return fmt.Errorf("delivery to sink %q is halted (%s), and must be resumed first: %s", s.Name, s.Reason, s.LastError)
}

// serve does what is asked for, and reports whether there was anything.
func (d *Deliverer) serve(ctx context.Context, at row.Position) bool {
	served := false
	for {
		c := d.taken()
		if c == nil {
			return served
		}
		served = true
		cctx, cancel := context.WithCancel(c.ctx)
		stop := context.AfterFunc(ctx, cancel)
		c.done <- c.run(cctx, at)
		stop()
		cancel()
		if d.moved {
			return true
		}
	}
}

func (d *Deliverer) taken() *command {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.commands) == 0 {
		return nil
	}
	c := d.commands[0]
	d.commands = d.commands[1:]
	return c
}

// refuse fails whatever is asked for.
func (d *Deliverer) refuse(err error) {
	for c := d.taken(); c != nil; c = d.taken() {
		c.done <- err
	}
}

// attend does what is asked for while delivery rests.
func (d *Deliverer) attend(ctx context.Context) {
	at, err := d.connect(ctx)
	if err != nil {
		d.refuse(err)
		return
	}
	for d.serve(ctx, at) && d.moved {
		if at, err = d.connect(ctx); err != nil {
			d.refuse(err)
			return
		}
	}
}

// Seek moves the sink's cursor to the last place at or before seq where it may
// stand, so that transactions stay whole, and returns that place. Rows that it
// steps over forwards are noted in the sink as a gap; those behind it come
// again, except rows that are set aside as rejects. Where the cursor is of another
// journal, as behind a data directory that was restored from an older copy, it is
// taken over and put there. It waits for the sink as long as ctx.
func (d *Deliverer) Seek(ctx context.Context, seq uint64) (row.Position, error) {
	var to row.Position
	err := d.order(ctx, func(ctx context.Context, at row.Position) (err error) {
		if to, err = d.place(ctx, seq); err != nil {
			return err
		}
		var gaps []row.Damage
		if to.Seq > at.Seq && !d.how.claim { // how far another journal came tells nothing of this one
			gaps = []row.Damage{{Stream: d.cfg.Stream.Name(), First: at.Seq + 1, Last: to.Seq, What: "an operator moved the cursor over them", Gap: true}}
		}
		return d.move(ctx, to, gaps)
	}, true)
	if err != nil {
		return row.Position{}, fmt.Errorf("move cursor of sink %q to seq %d: %w", d.cfg.Name, seq, err)
	}
	return to, nil
}

// move puts the cursor to another place. Where the answer is lost, the next
// attempt finds out what happened, and takes it as it is.
func (d *Deliverer) move(ctx context.Context, to row.Position, gaps []row.Damage) error {
	d.moved = true
	d.out, d.careful = leaveOut{}, 0
	d.update(func(s *Status) { s.Seq = min(s.Seq, to.Seq) })
	if err := d.session.Move(ctx, to, gaps); err != nil {
		return err
	}
	d.cfg.Log.Warn("the cursor was moved", "sink", d.cfg.Name, "stream", d.cfg.Stream.Name(), "seq", to.Seq)
	d.passed(gaps)
	return nil
}

// place returns the last position at or before seq where a cursor may stand:
// the end of a block that ends no later, with no transaction going on there.
func (d *Deliverer) place(ctx context.Context, seq uint64) (row.Position, error) {
	s := d.cfg.Stream
	h, ok := s.(History)
	if !ok {
		return row.Position{}, fmt.Errorf("stream %q does not tell what it keeps", s.Name())
	}
	end, oldest := s.End(), h.Oldest()
	if seq == end.Seq {
		return end, nil
	}
	if seq > end.Seq {
		return row.Position{}, fmt.Errorf("stream %q ends at seq %d", s.Name(), end.Seq)
	}
	for seq > oldest.Seq {
		b, err := d.look(seq)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return row.Position{}, err
		}
		if b.end.Seq == seq && !b.open {
			return b.end, s.Check(b.end)
		}
		seq = b.first - 1 // where the block before it ends, or the transaction begins
	}
	if seq < oldest.Seq {
		return row.Position{}, fmt.Errorf("%w: the oldest is seq %d", ErrGone, oldest.Seq+1)
	}
	return oldest, nil
}

// extent is where a block begins and ends.
type extent struct {
	first uint64
	end   row.Position
	open  bool
}

// look returns the extent of the block that holds seq.
func (d *Deliverer) look(seq uint64) (extent, error) {
	r, err := d.cfg.Stream.Reader(seq)
	if err != nil {
		return extent{}, err
	}
	defer r.Close()
	for {
		b, err := r.TryNext()
		if err != nil {
			return extent{}, err
		}
		if b == nil || b.First > seq {
			return extent{}, fmt.Errorf("row %d of stream %q cannot be read", seq, d.cfg.Stream.Name())
		}
		if b.End.Seq >= seq {
			return extent{b.First, b.End, b.Open}, nil
		}
	}
}

// acceptGap moves a cursor that is behind what the stream holds, where an
// operator said so.
func (d *Deliverer) acceptGap(ctx context.Context, at row.Position, why error) error {
	h, ok := d.cfg.Stream.(History)
	if !ok {
		return why
	}
	to := h.Oldest()
	if to.Seq <= at.Seq {
		return why
	}
	gap := row.Damage{Stream: d.cfg.Stream.Name(), First: at.Seq + 1, Last: to.Seq, What: "they were no longer kept when the sink needed them", Gap: true}
	if err := d.move(ctx, to, []row.Damage{gap}); err != nil {
		return fmt.Errorf("move cursor over a gap to seq %d: %w", to.Seq, err)
	}
	return errAgain
}

// note writes gaps into the sink, in front of the rows behind them.
func (d *Deliverer) note(ctx context.Context, at row.Position, gaps []row.Damage) error {
	if len(gaps) == 0 {
		return nil
	}
	if err := d.session.Move(ctx, at, gaps); err != nil {
		return fmt.Errorf("note gap in the sink: %w", err)
	}
	d.noted = max(d.noted, gaps[len(gaps)-1].Last)
	return nil
}

// Retry brings rejects into the sink, in one transaction, and returns those that
// it refuses again, with what it says now. A reject that it got by an earlier
// Retry is not written again, so that after an error, of which it is not known
// what it has left in the sink, all of them are given once more. It waits for
// the sink as long as ctx.
func (d *Deliverer) Retry(ctx context.Context, rejects []Reject) (refused []Reject, err error) {
	err = d.do(ctx, func(ctx context.Context, at row.Position) error {
		refused, err = d.retry(ctx, at, rejects)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("retry rejects in sink %q: %w", d.cfg.Name, err)
	}
	return refused, nil
}

// mostDoubts is how often a retry whose commit is in doubt is done again.
const mostDoubts = 3

func (d *Deliverer) retry(ctx context.Context, at row.Position, rejects []Reject) (refused []Reject, err error) {
	rejects = slices.Clone(rejects)
	slices.SortFunc(rejects, func(a, b Reject) int { return cmp.Compare(a.Row.Seq, b.Row.Seq) })
	for i := range rejects {
		switch r := &rejects[i]; {
		case r.StreamID != d.cfg.id().StreamID || r.Sink != d.cfg.Name:
			return nil, fmt.Errorf("row %d is a reject of stream %q and sink %q", r.Row.Seq, r.Stream, r.Sink)
		case r.Row.Seq > at.Seq:
			return nil, fmt.Errorf("row %d was set aside by a batch that is not committed: the cursor stands at seq %d", r.Row.Seq, at.Seq)
		case !d.mold.takes(&r.Row):
			return nil, fmt.Errorf("row %d is of table %q, which the sink does not take", r.Row.Seq, r.Row.Schema.Table)
		case r.Row.Flags&row.Malformed != 0:
			return nil, fmt.Errorf("row %d is a line that its source could not parse: edit it first", r.Row.Seq)
		}
	}
	for doubts := 0; len(rejects) > 0; {
		b := &retryBatch{d: d, at: at, left: rejects}
		err := d.session.Retry(ctx, b, b)
		var bad *sink.RowError
		switch {
		case err == nil:
			return append(refused, b.refused...), nil
		case errors.As(err, &bad) && judge(err) == BadRow:
			out, left := b.tellApart(bad)
			if out == nil { // each by itself
				return d.retryEach(ctx, at, rejects, refused)
			}
			refused, rejects = append(refused, *out), left
		case errors.Is(err, sink.ErrDoubtful) && doubts < mostDoubts:
			doubts++
			if _, err := d.session.Cursor(ctx); err != nil {
				return nil, err
			}
		default:
			return nil, err
		}
	}
	return refused, nil
}

// retryEach retries rejects one by one: the sink could not tell which of them
// it refuses.
func (d *Deliverer) retryEach(ctx context.Context, at row.Position, rejects, refused []Reject) ([]Reject, error) {
	for i := range rejects {
		more, err := d.retry(ctx, at, rejects[i:i+1])
		if err != nil {
			return nil, err
		}
		refused = append(refused, more...)
	}
	return refused, nil
}

// retryBatch hands rejects to a sink, and collects what it refuses again.
type retryBatch struct {
	d       *Deliverer
	at      row.Position
	left    []Reject // that are retried
	next    int
	refused []Reject
}

// Next implements sink.Batch.
func (b *retryBatch) Next() bool {
	if b.next >= len(b.left) {
		return false
	}
	b.next++
	return true
}

// Row implements sink.Batch.
func (b *retryBatch) Row() *row.Row { return b.d.mold.shaped(&b.left[b.next-1].Row) }

// Err implements sink.Batch.
func (b *retryBatch) Err() error { return nil }

// End implements sink.Batch. The cursor stays.
func (b *retryBatch) End() row.Position { return b.at }

// Refuse implements sink.Rejects: what is refused again is on disk already.
func (b *retryBatch) Refuse(r *row.Row, why *sink.RowError) error {
	i, found := slices.BinarySearchFunc(b.left, r.Seq, func(j Reject, seq uint64) int { return cmp.Compare(j.Row.Seq, seq) })
	if !found {
		return why
	}
	j := b.left[i]
	j.Code, j.Why = why.Code, why.Error()
	b.refused = append(b.refused, j)
	return nil
}

// Settle implements sink.Rejects.
func (b *retryBatch) Settle(context.Context) error { return nil }

// tellApart returns the reject that bad is about, as refused again, and the
// others; nil where that is not known.
func (b *retryBatch) tellApart(bad *sink.RowError) (out *Reject, left []Reject) {
	for i, j := range b.left {
		if j.Row.Seq == bad.Seq || len(b.left) == 1 {
			j.Code, j.Why = bad.Code, bad.Error()
			return &j, slices.Concat(b.left[:i], b.left[i+1:])
		}
	}
	return nil, nil
}
