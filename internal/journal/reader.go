package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"holdfast/internal/disk"
	"holdfast/internal/segment"
	"holdfast/row"
)

// Reader reads a stream in seq order: only what is durable and complete. It
// follows the stream from segment to segment, and its tail from memory. Not
// safe for concurrent use; any number of them do not slow a writer.
type Reader struct {
	j    *Journal
	next uint64
	seg  *seg
	file disk.File
	r    *segment.Reader
	buf  []byte

	picked []Range // of the segment that is open, those still wanted; nil: all

	States  bool // rows that carry the state of a source are wanted, too
	CutOff  bool // rows that rolls have cut off are wanted, too
	Pick    Pick // which rows of sealed segments are wanted; nil: all
	Entered int  // how many segments were opened
}

// Reader returns a reader whose first row is from, or the one after the last
// where from lies behind it. The error wraps ErrGone where from is no longer
// kept.
func (j *Journal) Reader(from uint64) (*Reader, error) {
	from = max(from, 1)
	j.mu.Lock()
	defer j.mu.Unlock()
	if oldest := j.floorLocked() + 1; from < oldest {
		return nil, fmt.Errorf("read stream %q from %d: %w; the oldest is %d", j.o.Name, from, ErrGone, oldest)
	}
	return &Reader{j: j, next: from}, nil
}

// oldestLocked returns the position before the oldest row kept.
func (j *Journal) oldestLocked() row.Position {
	if len(j.segs) == 0 {
		return j.end
	}
	s := j.segs[0]
	return row.Position{Seq: s.first - 1, Chain: s.header.Before.Chain}
}

// Oldest returns the position before the oldest row kept: where a sink starts
// that is to get everything.
func (j *Journal) Oldest() row.Position {
	j.mu.Lock()
	s := (*seg)(nil)
	if len(j.segs) > 0 {
		s = j.segs[0]
	}
	p := j.oldestLocked()
	j.mu.Unlock()
	if s == nil {
		return p
	}
	if err := j.describeSeg(s); err != nil {
		return p // the header is not readable; a reader will name that
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return row.Position{Seq: p.Seq, Chain: s.header.Before.Chain}
}

// At returns the seq that the reader goes on with.
func (r *Reader) At() uint64 { return r.next }

// Next waits for the next block. It is valid until the next call. It returns
// ctx's error, ErrClosed once the journal is closed and read to its end, or
// what TryNext returns.
func (r *Reader) Next(ctx context.Context) (*row.Block, error) {
	for {
		r.j.mu.Lock()
		wait, closed := r.j.waitLocked(), r.j.closed
		r.j.mu.Unlock()
		b, err := r.TryNext()
		if b != nil || err != nil {
			return b, err
		}
		if closed {
			return nil, ErrClosed
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TryNext returns the next block, or nil where there is none now. Blocks with
// damage are returned with what is readable, gaps marked as such; an error is
// the disk's, or wraps ErrGone where the rows were removed meanwhile.
func (r *Reader) TryNext() (*row.Block, error) {
	b, err := r.tryNext()
	if b != nil {
		if !r.States {
			withoutState(b)
		}
		r.j.pass(b)
		if !r.CutOff {
			r.j.hide(b)
		}
		for _, d := range b.Damage {
			if !d.Gap {
				r.j.notice(d)
			}
		}
	}
	return b, err
}

func (r *Reader) tryNext() (*row.Block, error) {
	for {
		if r.seg == nil {
			found, err := r.enter()
			var bad *lostSeg
			if errors.As(err, &bad) {
				return r.without(bad), nil
			}
			if err != nil {
				return nil, err
			}
			if !found {
				return r.missing(), nil
			}
		}
		if !r.hop() {
			if err := r.leave(); err != nil {
				return nil, err
			}
			continue
		}
		j := r.j
		j.mu.Lock()
		end, rows, number, newest := r.seg.end, r.seg.rows, r.seg.number, r.seg == j.newestSegLocked() && r.seg.last() >= j.end.Seq
		last, chain := r.seg.last(), r.seg.chain
		j.mu.Unlock()
		r.r.Extend(end, rows)
		if r.r.Offset() >= end {
			if newest {
				return nil, nil
			}
			r.next = max(r.next, last+1)
			if err := r.leave(); err != nil {
				return nil, err
			}
			continue
		}
		b, err := r.block(number)
		if err == io.EOF {
			continue
		}
		if b != nil {
			r.next = max(r.next, b.End.Seq+1)
			if b.End.Seq == last { // known for sure, even where that block is damaged
				b.End.Chain = chain
			}
		}
		if b != nil || err != nil {
			return b, err
		}
	}
}

// missing returns a block that names durable rows whose segments are not
// there, nil where the next row does not exist yet. Without it a reader would
// wait for them for ever.
func (r *Reader) missing() *row.Block {
	j := r.j
	j.mu.Lock()
	end, number := j.end, j.newestLocked()
	var behind *seg
	for _, s := range j.segs {
		if s.first > r.next {
			behind = s
			break
		}
		if s.last() >= r.next {
			j.mu.Unlock()
			return nil // it came meanwhile
		}
	}
	j.mu.Unlock()
	if behind != nil {
		// Its header tells the chain value; one that is not readable is met next.
		_ = j.describeSeg(behind)
		j.mu.Lock()
		end, number = row.Position{Seq: behind.first - 1, Chain: behind.header.Before.Chain}, behind.number
		j.mu.Unlock()
	}
	if end.Seq < r.next {
		return nil
	}
	return r.skip(end, row.Damage{Segment: number, What: "the segments that held these rows are missing"})
}

// lostSeg is a segment of which nothing can be read.
type lostSeg struct {
	seg *seg
	error
}

// Unwrap returns why.
func (l *lostSeg) Unwrap() error { return l.error }

// without returns a block that names the rows of a lost segment, nil where it
// has none for this reader.
func (r *Reader) without(bad *lostSeg) *row.Block {
	r.j.mu.Lock()
	d, end := r.j.wholly(bad.seg, bad.error), bad.seg.position()
	r.j.mu.Unlock()
	if end.Seq < r.next {
		return nil
	}
	return r.skip(end, d)
}

// skip returns a block of damage d from the next row to end.
func (r *Reader) skip(end row.Position, d row.Damage) *row.Block {
	d.Stream, d.First, d.Last = r.j.o.Name, r.next, end.Seq
	b := &row.Block{First: r.next, End: end, Damage: []row.Damage{d}}
	r.next = end.Seq + 1
	return b
}

// newestSegLocked returns the newest segment. Journal.mu is held.
func (j *Journal) newestSegLocked() *seg {
	if n := len(j.segs); n > 0 {
		return j.segs[n-1]
	}
	return nil
}

// block reads one block, from memory where it is still there.
func (r *Reader) block(number uint64) (*row.Block, error) {
	at := r.r.Offset()
	if b := r.j.ring.get(ringKey{number, at}, r.buf); b != nil {
		r.buf = b
		return r.r.Supply(b)
	}
	return r.r.Next()
}

// enter opens the segment that holds the next row. found is false where no
// such row exists yet.
func (r *Reader) enter() (found bool, err error) {
	j := r.j
	for {
		j.mu.Lock()
		s := j.findLocked(r.next)
		oldest := j.floorLocked() + 1
		if s != nil {
			s.readers++
		}
		j.mu.Unlock()
		if s == nil {
			if r.next < oldest {
				return false, fmt.Errorf("read stream %q from %d: %w; the oldest is %d", j.o.Name, r.next, ErrGone, oldest)
			}
			return false, nil
		}
		if !r.pick(s) {
			j.leaveSeg(s)
			continue
		}
		err := r.open(s)
		if err == nil {
			r.Entered++
			return true, nil
		}
		j.leaveSeg(s)
		j.mu.Lock()
		gone := s.gone
		j.mu.Unlock()
		if !gone && lost(err) {
			return false, &lostSeg{s, err}
		}
		if !gone || !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("read stream %q: segment %d: %w", j.o.Name, s.number, err)
		}
	}
}

// findLocked returns the segment that holds seq.
func (j *Journal) findLocked(seq uint64) *seg {
	lo, hi := 0, len(j.segs)
	for lo < hi {
		mid := (lo + hi) / 2
		if j.segs[mid].last() < seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(j.segs) || j.segs[lo].first > seq {
		return nil
	}
	return j.segs[lo]
}

func (r *Reader) open(s *seg) error {
	if err := r.j.describeSeg(s); err != nil {
		return err
	}
	f, err := r.j.openSeg(s)
	if err != nil {
		return err
	}
	r.j.mu.Lock()
	src := segment.Source{File: f, Header: s.header, End: s.end, Rows: s.rows, Schemas: r.j.lookup(s)}
	if s.summary != nil {
		src.Index = s.summary.Index
	}
	r.j.mu.Unlock()
	r.seg, r.file = s, f
	r.r = segment.NewReader(src, r.next-s.first)
	return nil
}

// openSeg opens a segment's file for reading around what the disk cannot give.
func (j *Journal) openSeg(s *seg) (*disk.Salvaged, error) {
	f, err := j.openFile(s, false)
	if err != nil {
		return nil, err
	}
	return disk.Salvage(f), nil
}

// describeSeg reads header and footer of a segment that the MANIFEST alone has
// described so far.
func (j *Journal) describeSeg(s *seg) error {
	j.mu.Lock()
	known := s.summary != nil || !s.sealed && s.header.Number != 0
	j.mu.Unlock()
	if known {
		return nil
	}
	f, err := j.openSeg(s)
	if err != nil {
		return err
	}
	defer f.Close()
	sum, _, ferr := segment.ReadFooter(f)
	var h *segment.Header
	if ferr != nil {
		if h, _, err = segment.ReadHeader(f); err != nil {
			return errors.Join(err, ferr)
		}
		sum.Header = *h
	}
	if err := j.belongs(s.number, &sum.Header); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if sum.Header.FirstSeq != s.first {
		return fmt.Errorf("its file begins with seq %d, not %d: %w", sum.Header.FirstSeq, s.first, errMisplaced)
	}
	s.header = sum.Header
	if h == nil {
		s.summary = &sum
	}
	return nil
}

// lookup returns where the schemas of a segment's rows are found: in memory
// for one of this run, else in its footer. Journal.mu is held.
func (j *Journal) lookup(s *seg) func(uint32) *row.Schema {
	if s.header.Epoch == j.epoch {
		return j.schemas.get
	}
	if s.summary == nil {
		return nil
	}
	byID := make(map[uint32]*row.Schema, len(s.summary.Schemas))
	for _, d := range s.summary.Schemas {
		byID[d.ID] = &row.Schema{ID: d.ID, Stream: j.o.Name, Table: d.Table, Columns: d.Columns}
	}
	return func(id uint32) *row.Schema { return byID[id] }
}

// leave closes the segment that was read to its end.
func (r *Reader) leave() error {
	if r.seg == nil {
		return nil
	}
	r.r.Close()
	err := r.file.Close()
	r.j.leaveSeg(r.seg)
	r.seg, r.file, r.r = nil, nil, nil
	if cap(r.buf) > segment.Target { // a large block's memory is not kept
		r.buf = nil
	}
	return err
}

func (j *Journal) leaveSeg(s *seg) {
	j.mu.Lock()
	s.readers--
	s.forgetLocked()
	j.mu.Unlock()
}

// Close gives the reader up. Idempotent.
func (r *Reader) Close() error { return r.leave() }

// Check tells whether pos is a position of this journal: nil, or an error that
// wraps ErrOtherJournal or ErrGone.
func (j *Journal) Check(pos row.Position) error {
	end := j.End()
	if pos == end || pos == (row.Position{}) && j.Oldest().Seq == 0 {
		return nil
	}
	if pos.Seq > end.Seq || pos.Seq == end.Seq {
		return fmt.Errorf("seq %d, chain %08x: %w, which ends at seq %d, chain %08x", pos.Seq, pos.Chain, ErrOtherJournal, end.Seq, end.Chain)
	}
	oldest := j.Oldest()
	j.mu.Lock()
	floor := j.floorLocked()
	j.mu.Unlock()
	if pos.Seq < oldest.Seq && pos.Seq >= floor {
		return nil // in a gap: nothing is left to compare it with
	}
	if pos.Seq < oldest.Seq {
		return fmt.Errorf("rows behind seq %d: %w; the oldest is %d", pos.Seq, ErrGone, oldest.Seq+1)
	}
	have, err := j.positionAt(pos.Seq, oldest)
	if errors.Is(err, errUnsure) {
		return nil // rows around it are lost; those behind it tell the reader so
	}
	if err != nil {
		return err
	}
	if have != pos {
		return fmt.Errorf("seq %d, chain %08x: %w, where a block ends at seq %d, chain %08x", pos.Seq, pos.Chain, ErrOtherJournal, have.Seq, have.Chain)
	}
	return nil
}

// errUnsure says that a position stands where rows cannot be read.
var errUnsure = errors.New("rows around the position cannot be read")

// positionAt returns the end of the block that holds seq. The error is
// errUnsure where rows of that block, or its whole segment, cannot be read:
// damage may stand for several blocks, and its chain value for none.
func (j *Journal) positionAt(seq uint64, oldest row.Position) (row.Position, error) {
	if seq == oldest.Seq {
		if seq > 0 && oldest.Chain == 0 { // its header is not readable
			return oldest, errUnsure
		}
		return oldest, nil
	}
	r, err := j.Reader(seq)
	if err != nil {
		return row.Position{}, err
	}
	defer r.Close()
	for {
		b, err := r.TryNext()
		if err != nil || b == nil {
			return row.Position{}, errors.Join(err, r.Close())
		}
		for _, d := range b.Damage {
			if d.First != 0 {
				err = errUnsure
			}
		}
		if b.End.Seq >= seq {
			return b.End, err
		}
	}
}
