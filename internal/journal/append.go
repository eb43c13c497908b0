package journal

import (
	"context"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/segment"
	"holdfast/row"
)

// group is the rows that are committed together, by one write.
type group struct {
	block   *segment.Block
	schemas []*row.Schema
	links   segment.LinkRange
	durable bool          // somebody waits for the flush
	writers int           // how many calls have put rows in
	done    chan struct{} // closed when first and err are set
	began   time.Time     // since when the first of its writers waits
	first   uint64        // seq of the first row
	err     error
}

func newGroup(salt uint32) *group {
	return &group{block: segment.NewBlock(salt), done: make(chan struct{})}
}

// use notes that the group's rows need schemas.
func (g *group) use(schemas []*row.Schema) {
next:
	for _, s := range schemas {
		for _, have := range g.schemas {
			if have == s {
				continue next
			}
		}
		g.schemas = append(g.schemas, s)
	}
}

// MaxBatch is how large a Batch may be that Append takes, in bytes, unless it
// is a single row. What is larger goes through a Stage.
const MaxBatch = 2 << 20

// Append commits the rows of b together, whole or not at all, and returns the
// seq of the last one. With durable set it returns after the flush, else after
// the write: then the rows survive the end of the process, are flushed within
// 200 ms, and are not seen by readers before. b may be reused afterwards.
//
// An error with SQLSTATE 40003 or 57014 means that it is not known whether the
// rows are stored; any other, that they are not.
func (j *Journal) Append(ctx context.Context, b *row.Batch, durable bool) (uint64, error) {
	if b.Rows() == 0 {
		return j.End().Seq, nil
	}
	p, err := j.Send(ctx, b, durable)
	if err != nil {
		return 0, err
	}
	return p.Wait(ctx)
}

// Wait waits until Result can tell, and returns what it does.
func (p Pending) Wait(ctx context.Context) (uint64, error) {
	if cancelled := ctx.Done(); cancelled == nil {
		<-p.Done() // a select costs a tenth of an append among many writers
	} else {
		select {
		case <-p.Done():
		case <-cancelled:
			return 0, fault.New(fault.QueryCanceled, "cancelled while the rows were being written; they may be stored nonetheless")
		}
	}
	return p.Result()
}

// Send hands over what Append commits, and does not wait for it: one goroutine
// can have as many commits under way as fit into a group, and those of a group
// are answered together, by one channel. It waits only while the group that is
// being filled has no room. b may be reused when it returns; it must not be
// empty. With an error nothing was handed over.
func (j *Journal) Send(ctx context.Context, b *row.Batch, durable bool) (Pending, error) {
	if b.Len() > MaxBatch && b.Rows() > 1 {
		return Pending{}, fault.New(fault.LimitExceeded, "transaction of %d bytes is larger than %d", b.Len(), MaxBatch)
	}
	g, n, err := j.enter(ctx, b, durable)
	return Pending{g, n}, err
}

// Pending is rows that Send has handed over.
type Pending struct {
	g *group
	n uint32 // rows of the group up to the last one of these
}

// Done is closed when Result can tell.
func (p Pending) Done() <-chan struct{} { return p.g.done }

// Result returns, once Done is closed, what Append would have returned.
func (p Pending) Result() (uint64, error) {
	if p.g.err != nil {
		return 0, p.g.err
	}
	return p.g.first + uint64(p.n) - 1, nil
}

// enter copies the rows into the group that is being filled. n is how many
// rows the group has with them.
func (j *Journal) enter(ctx context.Context, b *row.Batch, durable bool) (g *group, n uint32, err error) {
	var deadline *time.Timer
	var began time.Time
	links := j.links(b)
	for {
		j.mu.Lock()
		if j.closed {
			j.mu.Unlock()
			return nil, 0, ErrClosed
		}
		g = j.filling
		if g.block.Empty() || g.block.Fits(b.Len()) {
			break
		}
		if j.taken == nil {
			j.taken = make(chan struct{})
		}
		taken := j.taken
		j.mu.Unlock()
		if deadline == nil {
			began = time.Now()
			deadline = time.NewTimer(j.limits.Load().Wait)
			defer deadline.Stop()
		}
		select {
		case <-taken:
		case <-ctx.Done():
			return nil, 0, fault.New(fault.QueryCanceled, "cancelled while waiting for room; nothing was stored")
		case <-deadline.C:
			if err := j.refusal(); err != nil {
				return nil, 0, err
			}
			deadline.Reset(again) // the disk is slow, not stuck
		}
	}
	empty := g.block.Empty()
	if empty {
		g.began = time.Now()
	}
	if !began.IsZero() && began.Before(g.began) {
		g.began = began
	}
	g.block.AppendRows(b.Bytes(), b.Rows())
	g.use(b.Schemas())
	g.links.Join(links)
	g.durable = g.durable || durable
	g.writers++
	n = g.block.Rows()
	j.mu.Unlock()
	if empty {
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
	return g, n, nil
}

// refusal is what a writer is told that has waited for long enough and whose
// rows were not taken; nil while there is nothing but other writers to wait for.
func (j *Journal) refusal() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.trouble != nil {
		return j.trouble
	}
	if age := j.stalledLocked(); age > max(stall, j.limits.Load().Wait) {
		return fault.New(fault.IOError, "the disk has not answered a flush for %v", age.Round(time.Second)).
			WithHint("nothing of this statement was stored; look at the disk, and try again")
	}
	return nil
}

// take hands the filled group to the committer; nil where nothing is there.
func (j *Journal) take() *group {
	j.mu.Lock()
	defer j.mu.Unlock()
	g := j.filling
	if g.block.Empty() {
		return nil
	}
	if j.filling = j.spare; j.filling == nil {
		j.filling = newGroup(j.salt)
	}
	j.spare, j.writing = nil, g
	if j.taken != nil {
		close(j.taken)
		j.taken = nil
	}
	return g
}

// release answers everybody in g, and makes its memory ready for the next group.
func (j *Journal) release(g *group, first uint64, err error) {
	g.first, g.err = first, err
	j.woken = g.writers
	close(g.done)
	g.block.Reset()
	clear(g.schemas)
	if len(j.groups) == 0 {
		j.groups = make([]group, 64) // one by one they were an allocation for each flush
	}
	next := &j.groups[0]
	j.groups = j.groups[1:]
	*next = group{block: g.block, schemas: g.schemas[:0], done: make(chan struct{})}
	j.mu.Lock()
	j.spare, j.writing = next, nil
	j.mu.Unlock()
}
