package dedupe

import (
	"context"
	"time"

	"holdfast/internal/fault"
)

// Claim is the keys of one transaction. One goroutine uses it at a time; the
// Guard settles it.
type Claim struct {
	marks []mark // added; the first taken of them are claimed, or dropped
	taken int

	// Guarded by Guard.mu.
	request *request
	outcome Outcome // of its rows, once they are handed over
	durable bool
	over    bool
	at      int64         // time of receipt
	changed chan struct{} // closed at Sent and Release; nil: nobody waits
}

// mark is the key of one row.
type mark struct {
	table *Table
	key   Key
	row   int // of the transaction
	drop  bool
}

// Add notes that a row of the transaction has a key.
func (c *Claim) Add(t *Table, k Key, row int) error {
	if len(c.marks) >= t.Keys {
		return fault.New(fault.LimitExceeded, "the transaction has more than %d rows whose repeats are looked for, as table %q has room for", t.Keys, t.Table).
			WithHint("commit more often, or raise keys in the table's dedupe")
	}
	c.marks = append(c.marks, mark{table: t, key: k, row: row})
	return nil
}

// Cut forgets the rows behind the first n, none of which is claimed.
func (c *Claim) Cut(n int) {
	for len(c.marks) > c.taken && c.marks[len(c.marks)-1].row >= n {
		c.marks = c.marks[:len(c.marks)-1]
	}
}

// Take claims the keys that were added since the last Take. It returns the rows
// that are repeats, in rising order: their first ones are stored, up to seq
// after at least in the stream, which need not be flushed yet where they were
// written so. With an error nothing more is claimed.
func (g *Guard) Take(ctx context.Context, c *Claim) (drop []int, after uint64, err error) {
	if err := g.awaitReady(ctx); err != nil {
		return nil, 0, err
	}
	for {
		g.mu.Lock()
		other := g.takeLocked(c)
		after = g.unflushed
		g.mu.Unlock()
		if other == nil {
			break
		}
		if err := g.await(ctx, other); err != nil {
			return nil, 0, err
		}
	}
	for i := c.taken; i < len(c.marks); i++ {
		if m := c.marks[i]; m.drop {
			drop = append(drop, m.row)
		}
	}
	c.taken = len(c.marks)
	return drop, after, nil
}

// takeLocked claims all keys, or returns a claim that is in the way.
func (g *Guard) takeLocked(c *Claim) *Claim {
	g.sweepLocked()
	now := g.now().UnixMicro()
	c.at = now
	for i := c.taken; i < len(c.marks); i++ {
		m := &c.marks[i]
		m.drop = false
		if _, known := m.table.mem.get(m.key, now); known {
			m.drop = true
		} else if other := g.claimed[m.key]; other == c {
			m.drop = true
		} else if other != nil {
			g.freeLocked(c, c.marks[c.taken:i])
			return other
		} else {
			g.claimed[m.key] = c
		}
	}
	for i := c.taken; i < len(c.marks); i++ {
		if c.marks[i].drop {
			c.marks[i].table.repeats++
		}
	}
	return nil
}

// sweepLocked settles the claims that have an outcome, up to the first that
// has none.
func (g *Guard) sweepLocked() {
	n := 0
	for n < len(g.sent) && (g.sent[n].over || g.settleLocked(g.sent[n])) {
		g.sent[n] = nil
		n++
	}
	if g.sent = g.sent[n:]; len(g.sent) == 0 {
		g.sent = nil
	}
}

// settleLocked makes the keys of a claim known where its rows are stored, and
// free where they are not. It reports whether that can be told.
func (g *Guard) settleLocked(c *Claim) bool {
	select {
	case <-c.outcome.Done():
	default:
		return false
	}
	seq, err := c.outcome.Result()
	g.freeLocked(c, c.marks)
	c.over = true
	if c.request != nil {
		delete(g.claimed, c.request.key)
	}
	if err != nil {
		c.marks = nil
		return true
	}
	if r := c.request; r != nil && r.answer != (Answer{}) {
		g.requests.put(r.key, c.at, g.now().UnixMicro(), r.answer)
	}
	now := g.now().UnixMicro()
	for _, m := range c.marks {
		if !m.drop {
			m.table.mem.put(m.key, c.at, now, struct{}{})
		}
	}
	c.marks = nil
	if !c.durable {
		g.unflushed = max(g.unflushed, seq)
	}
	return true
}

// freeLocked gives up the keys that c has among marks.
func (g *Guard) freeLocked(c *Claim, marks []mark) {
	for _, m := range marks {
		if !m.drop && g.claimed[m.key] == c {
			delete(g.claimed, m.key)
		}
	}
}

// Sent says that the rows are handed over, and what will become of them.
func (g *Guard) Sent(c *Claim, o Outcome, durable bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.outcome, c.durable = o, durable
	g.sent = append(g.sent, c)
	c.wakeLocked()
	g.sweepLocked()
}

// Release gives up what c has claimed, unless its rows were handed over.
func (g *Guard) Release(c *Claim) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.outcome != nil || c.over {
		return
	}
	g.freeLocked(c, c.marks[:c.taken])
	if c.request != nil {
		delete(g.claimed, c.request.key)
	}
	c.over, c.marks = true, nil
	c.wakeLocked()
}

func (c *Claim) wakeLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// await waits until it is known what becomes of another claim.
func (g *Guard) await(ctx context.Context, other *Claim) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		g.mu.Lock()
		if other.over || other.outcome != nil && g.settleLocked(other) {
			g.mu.Unlock()
			return nil
		}
		wait, open := (<-chan struct{})(nil), other.outcome == nil
		if open {
			if other.changed == nil {
				other.changed = make(chan struct{})
			}
			wait = other.changed
		} else {
			wait = other.outcome.Done()
		}
		g.mu.Unlock()
		expired := late.C
		if !open {
			expired = nil // a commit ends
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return fault.New(fault.QueryCanceled, "cancelled while another transaction with the same key was committed; nothing was stored")
		case <-expired:
			return fault.New(fault.SerializationFailure, "another transaction, which is not committed yet, has a row with the same key").
				WithHint("nothing was stored; try again")
		}
	}
}

// Settled is the Outcome of rows of which it is known already.
type Settled struct {
	Seq uint64
	Err error
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Done implements Outcome.
func (Settled) Done() <-chan struct{} { return closed }

// Result implements Outcome.
func (s Settled) Result() (uint64, error) { return s.Seq, s.Err }
