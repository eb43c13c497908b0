package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"holdfast/row"
	"holdfast/sink"
)

// memSink is a database in memory, whose faults are decided by the test.
type memSink struct {
	mu      sync.Mutex
	rows    []uint64
	commits []uint64 // where each commit ended
	gaps    []row.Damage
	retried []uint64
	cursors map[sink.ID]sink.Cursor
	applies int // calls of Apply
	attachs int

	// fault is asked at each step; what it returns happens. If nil, nothing does.
	fault func(step string) error
	// refuse names rows that the sink does not take; how it says so.
	refuse map[uint64]bool
	how    refusal
}

// refusal is how a sink refuses rows: each in its place unless told otherwise.
type refusal string

const (
	late     refusal = "late"     // once it has read them all
	named    refusal = "named"    // by ending the batch with an error that names the row
	nameless refusal = "nameless" // by ending the batch at its commit, with an error that does not
)

// The steps at which faults strike.
const (
	stepAttach = "attach"
	stepCursor = "cursor"
	stepBegin  = "begin"
	stepRow    = "row"
	stepCommit = "commit"
	stepMove   = "move"
	stepMoved  = "moved" // done, but the answer is lost
	stepReply  = "reply" // committed, but the answer is lost
)

var (
	errAway  = errors.New("connection refused")
	errReply = fmt.Errorf("%w: connection reset", sink.ErrDoubtful)
)

func newMemSink() *memSink {
	return &memSink{cursors: map[sink.ID]sink.Cursor{}, refuse: map[uint64]bool{}}
}

func (s *memSink) strike(step string) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(step)
}

func (s *memSink) Attach(ctx context.Context, id sink.ID, instance string, start row.Position, sound func(sink.Cursor) error) (sink.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attachs++
	if err := s.strike(stepAttach); err != nil {
		return nil, err
	}
	c, ok := s.cursors[id]
	if !ok {
		c.Position = start
	}
	c.Epoch++
	c.Instance = instance
	s.cursors[id] = c
	return &memSession{s: s, id: id, epoch: c.Epoch}, nil
}

func (s *memSink) Retire(_ context.Context, id sink.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cursors, id)
	return nil
}

func (s *memSink) Rename(_ context.Context, id sink.ID, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.cursors[id]
	if !ok {
		return sink.ErrNoCursor
	}
	delete(s.cursors, id)
	id.Sink = name
	s.cursors[id] = c
	return nil
}

func (s *memSink) Close() error { return nil }

type memSession struct {
	s      *memSink
	id     sink.ID
	epoch  uint64
	closed bool
}

func (n *memSession) Close() error { n.closed = true; return nil }

func (n *memSession) Cursor(ctx context.Context) (sink.Cursor, error) {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	if err := n.s.strike(stepCursor); err != nil {
		return sink.Cursor{}, err
	}
	return n.checkLocked()
}

// Move puts the cursor to a place, and notes gaps once.
func (n *memSession) Move(_ context.Context, to row.Position, gaps []row.Damage) error {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	c, err := n.checkLocked()
	if err = errors.Join(err, n.s.strike(stepMove)); err != nil {
		return err
	}
	c.Position = to
	n.s.cursors[n.id] = c
	for _, g := range gaps {
		if !slices.Contains(n.s.gaps, g) {
			n.s.gaps = append(n.s.gaps, g)
		}
	}
	return n.s.strike(stepMoved)
}

// Retry writes rows with their keys, without moving the cursor.
func (n *memSession) Retry(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	n.s.mu.Lock()
	_, err := n.checkLocked()
	v := verdict{n.s.refuse, n.s.how}
	n.s.mu.Unlock()
	if err != nil {
		return err
	}
	rows, err := n.s.read(ctx, b, rejects, v)
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	if err = errors.Join(err, n.s.strike(stepCommit)); err != nil {
		return err
	}
	for _, seq := range rows {
		if !slices.Contains(n.s.retried, seq) {
			n.s.retried = append(n.s.retried, seq)
		}
	}
	return n.s.strike(stepReply)
}

func (n *memSession) checkLocked() (sink.Cursor, error) {
	c, ok := n.s.cursors[n.id]
	switch {
	case n.closed:
		return c, errors.New("session is closed")
	case !ok:
		return c, sink.ErrNoCursor
	case c.Epoch != n.epoch:
		return c, sink.ErrFenced
	}
	return c, nil
}

func (n *memSession) Apply(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	n.s.mu.Lock()
	n.s.applies++
	err := n.s.strike(stepBegin)
	c, fenced := n.checkLocked()
	refuse, how := n.s.refuse, n.s.how
	n.s.mu.Unlock()
	if err = errors.Join(err, fenced); err != nil {
		return err
	}
	rows, err := n.s.read(ctx, b, rejects, verdict{refuse, how})
	if err != nil {
		return err
	}
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	if err := n.s.strike(stepCommit); err != nil {
		return err
	}
	c.Position = b.End()
	n.s.rows = append(n.s.rows, rows...)
	n.s.commits = append(n.s.commits, c.Seq)
	n.s.cursors[n.id] = c
	return n.s.strike(stepReply)
}

type verdict struct {
	refuse map[uint64]bool
	how    refusal
}

// read returns the rows of b that are to be committed; the others are settled.
func (s *memSink) read(ctx context.Context, b sink.Batch, rejects sink.Rejects, v verdict) (rows []uint64, err error) {
	var waiting []row.Row
	refused := false
	for b.Next() {
		r := b.Row()
		switch {
		case !v.refuse[r.Seq]:
			if err := s.strike(stepRow); err != nil {
				return nil, err
			}
			rows = append(rows, r.Seq)
			continue
		case v.how == late || v.how == nameless:
			c := *r
			c.Values = slices.Clone(r.Values)
			waiting = append(waiting, c)
			continue
		case v.how == named:
			return nil, whyNot(r, r.Seq)
		}
		refused = true
		if err := rejects.Refuse(r, whyNot(r, r.Seq)); err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
	}
	if err := errors.Join(b.Err(), ctx.Err()); err != nil {
		return nil, err
	}
	for i := range waiting {
		if v.how == nameless {
			return nil, whyNot(&waiting[i], 0)
		}
		refused = true
		if err := rejects.Refuse(&waiting[i], whyNot(&waiting[i], waiting[i].Seq)); err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
	}
	if refused {
		return rows, rejects.Settle(ctx)
	}
	return rows, nil
}

// whyNot is what the sink says of a row that it refuses.
func whyNot(r *row.Row, seq uint64) *sink.RowError {
	return &sink.RowError{Seq: seq, Table: r.Schema.Table, Code: "23505", Err: errors.New("duplicate key")}
}
