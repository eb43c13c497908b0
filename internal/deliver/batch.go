package deliver

import (
	"context"
	"fmt"

	"holdfast/internal/mutant"
	"holdfast/row"
	"holdfast/sink"
)

// batch hands whole blocks of a reader to a sink. It looks at the next block
// only when the one before is used up, so that it never holds more than one;
// a transaction that goes over many blocks streams through.
type batch struct {
	ctx    context.Context
	reader Reader
	aside  *aside
	rows   int   // how many more rows end it, at a block's end
	bytes  int64 // how many more bytes

	block *row.Block
	open  bool         // a transaction goes on behind block
	at    int          // index of the current row in block.Rows
	row   *row.Row     // the current row, as the sink gets it
	end   row.Position // of the last block begun
	err   error

	gaps  []row.Damage // gaps passed over
	count uint64       // rows handed out
	last  int64        // time of receipt of the last one
	later error        // an error of the reader behind the end of this batch
}

var _ sink.Batch = (*batch)(nil)

// batch begins a batch with first, which checkBlock has seen; after is what
// the sink has.
func (d *Deliverer) batch(ctx context.Context, r Reader, first *row.Block, after row.Position) *batch {
	d.mold.begin()
	b := &batch{ctx: ctx, reader: r, end: after, aside: d.newAside(ctx, after.Seq+1)}
	if len(first.Rows) == 0 && first.Damage == nil { // rows of other tables were passed over
		b.end = first.End
		return b
	}
	b.begin(first)
	if after.Seq >= d.careful {
		b.rows += d.cfg.Rows << d.grown >> d.shrunk
		b.bytes += d.cfg.Bytes << d.grown >> d.shrunk
	}
	return b
}

// begin makes block the current one. Rows that the sink has already are
// stepped over: a cursor set by hand may stand in the middle of a block.
func (b *batch) begin(block *row.Block) {
	after := b.end.Seq
	b.aside.begin(b.open)
	b.open = block.Open
	b.block, b.at, b.end = block, -1, block.End
	for b.at+1 < len(block.Rows) && block.Rows[b.at+1].Seq <= after {
		b.at++
	}
	b.gaps = append(b.gaps, gapsBehind(block, after)...)
	b.rows -= len(block.Rows)
	b.bytes -= block.Bytes
}

// gapsBehind returns the gaps in block behind the seq after.
func gapsBehind(block *row.Block, after uint64) (gaps []row.Damage) {
	for _, g := range block.Damage {
		if g.Gap && g.Last > after {
			g.First = max(g.First, after+1)
			gaps = append(gaps, g)
		}
	}
	return gaps
}

// gaps returns those in block, behind the seq after, that are not noted in the
// sink.
func (d *Deliverer) gaps(block *row.Block, after uint64) []row.Damage {
	return gapsBehind(block, max(after, d.noted))
}

// Next advances to the next row that is for the sink. At the end, those that
// are not are on disk.
func (b *batch) Next() bool {
	for b.err == nil && b.block != nil {
		if b.at++; b.at >= len(b.block.Rows) {
			b.advance()
			continue
		}
		r := &b.block.Rows[b.at]
		b.last = r.Received
		goes, err := b.aside.take(r)
		if err != nil {
			b.err = err
		} else if goes {
			b.row = b.aside.d.mold.shaped(r)
			b.count++
			return true
		}
	}
	if b.err == nil && !mutant.On(28) {
		b.err = b.aside.settle(b.ctx)
	}
	return false
}

// advance begins the next block, or ends the batch. It ends early, and well,
// where the next block cannot be had or cannot be delivered; but not within
// a transaction, which goes whole or not at all.
func (b *batch) advance() {
	open := b.open
	if !open && (b.rows <= 0 || b.bytes <= 0) {
		b.block = nil
		return
	}
	var next *row.Block
	var err error
	if open {
		next, err = b.reader.Next(b.ctx)
	} else {
		next, err = b.reader.TryNext()
	}
	if err == nil && next != nil {
		err = checkBlock(next, b.end.Seq)
	}
	if err == nil && next != nil {
		if gaps := b.aside.d.gaps(next, b.end.Seq); len(gaps) > 0 {
			// They are noted in the sink first, and then this comes again.
			b.aside.d.ahead = append(b.aside.d.ahead, gaps...)
			err = fmt.Errorf("%w: rows %d to %d were given up by repair", errAgain, gaps[0].First, gaps[0].Last)
		}
	}
	switch {
	case err != nil && open:
		b.err = err
	case err != nil:
		b.block, b.later = nil, err
	case next == nil:
		b.block = nil
	default:
		b.begin(next)
	}
}

// Row returns the current row.
func (b *batch) Row() *row.Row { return b.row }

// Err returns what ended the batch early.
func (b *batch) Err() error { return b.err }

// End returns the end of the last block.
func (b *batch) End() row.Position { return b.end }
