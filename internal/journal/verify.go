package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"holdfast/internal/disk"
	"holdfast/internal/segment"
	"holdfast/row"
)

// Verified is what Verify read.
type Verified struct {
	Segments int
	Rows     uint64 // readable
	Bytes    int64
}

// Verify reads everything that is durable, checks each checksum and digest,
// and hands whatever is not as it was written to report, gaps marked as such.
// The stream goes on meanwhile. An error is the disk's.
func (j *Journal) Verify(ctx context.Context, report func(row.Damage)) (Verified, error) {
	e := examination{j: j, whole: true}
	var astray *misplaced // nil: not looked for yet
	err := e.all(ctx, func(_ *seg, found []row.Damage) error {
		for _, d := range found {
			if !d.Gap && astray == nil {
				files, _, err := j.strays()
				if err != nil {
					return err
				}
				astray = &misplaced{files, j.ranges(files)}
			}
			if !d.Gap {
				d = astray.named(d)
				j.notice(d)
			}
			report(d)
		}
		return nil
	})
	return e.v, err
}

// examination reads segments and finds what is damaged.
type examination struct {
	j     *Journal
	v     Verified
	whole bool                      // compare the digest of the content too, which reads it twice
	file  func(disk.File) disk.File // what the file is read through; nil: directly
	found []row.Damage              // in the segment at hand
}

// all hands to each what was found in every segment, in order; s is nil for
// what is in none.
func (e *examination) all(ctx context.Context, each func(s *seg, found []row.Damage) error) error {
	j := e.j
	j.mu.Lock()
	segs := append([]*seg(nil), j.segs...)
	known := append([]row.Damage(nil), j.recovery.Damage...)
	end, newest, next := j.end.Seq, j.newestLocked(), j.neededLocked()
	if len(segs) > 0 {
		next = min(next, segs[0].first)
	}
	for _, d := range known {
		if d.Segment == 0 && len(segs) > 0 { // the MANIFEST was lost, and with it how far sinks are
			next = segs[0].first
		}
	}
	j.mu.Unlock()
	if err := e.checkManifest(); err != nil {
		return err
	}
	for _, d := range known {
		if d.First == 0 && d.Offset == 0 { // a file that was of no use at the start
			e.tell(d)
		}
	}
	if err := each(nil, e.take()); err != nil {
		return err
	}
	for _, s := range segs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.first > next {
			e.tell(row.Damage{Stream: j.o.Name, Segment: s.number, First: next, Last: s.first - 1, What: "segments are missing before this one"})
		}
		next = s.last() + 1
		if err := e.segment(s); err != nil {
			return err
		}
		if err := each(s, e.take()); err != nil {
			return err
		}
	}
	if next <= end {
		e.tell(row.Damage{Stream: j.o.Name, Segment: newest, First: next, Last: end, What: "rows that were durable are missing at the end"})
	}
	return each(nil, e.take())
}

// tell adds d to what was found. What goes on where the last damage ended is
// one with it: both are lost, and with them what is between.
func (e *examination) tell(d row.Damage) {
	if n := len(e.found); n > 0 && d.First != 0 && d.Length > 0 {
		last := &e.found[n-1]
		if last.Segment == d.Segment && last.Last+1 == d.First && last.First != 0 && last.Length > 0 && d.Offset > last.Offset {
			last.Last, last.Length = d.Last, d.Offset+d.Length-last.Offset
			return
		}
	}
	e.found = append(e.found, d)
}

// take returns what was found since it was called last, gaps apart.
func (e *examination) take() (found []row.Damage) {
	e.j.mu.Lock()
	list := e.j.gaps.list
	e.j.mu.Unlock()
	for _, d := range e.found {
		found = append(found, apart(list, d)...)
	}
	e.found = nil
	return found
}

// checkManifest reads the MANIFEST back: what is in memory is right, but the
// next start has nothing else.
func (e *examination) checkManifest() error {
	j := e.j
	j.saving.Lock()
	defer j.saving.Unlock()
	m, err := readManifest(j.d)
	switch {
	case errors.Is(err, errManifest):
	case err != nil:
		return err
	case m.Version == 0:
		err = errors.New("MANIFEST is missing")
	case m.ID != j.id || m.Stream != j.o.Name:
		err = errors.New("MANIFEST is of another stream")
	}
	if err != nil {
		e.tell(row.Damage{Stream: j.o.Name, What: err.Error()})
	}
	return nil
}

// notice puts damage into Status and the log, unless it stands there already.
// It tells whether it is new.
func (j *Journal) notice(d row.Damage) bool {
	j.mu.Lock()
	if len(unrepaired(j.gaps.list, []row.Damage{d})) == 0 { // given up since it was read
		j.mu.Unlock()
		return false
	}
	fresh := j.damagedLocked(d)
	j.mu.Unlock()
	if !fresh {
		return false
	}
	j.o.Log.Error("damage found", "stream", d.Stream, "segment", d.Segment, "offset", d.Offset, "length", d.Length, "first", d.First, "last", d.Last, "what", d.What)
	return true
}

// once adds d to all, and tells whether it is new. A row is lost once, however
// many met it: a start and each reader may name other parts of one range, each
// with its own words.
func once(all []row.Damage, d row.Damage) ([]row.Damage, bool) {
	left := make([]row.Damage, 0, len(all)+1)
	for _, have := range all {
		lost := d.First != 0 && have.First != 0
		switch {
		case have == d, lost && have.First <= d.First && d.Last <= have.Last:
			return all, false
		case !lost || have.Last < d.First || d.Last < have.First:
			left = append(left, have)
		case d.First <= have.First && have.Last <= d.Last: // the part goes with the whole
		default:
			d = joined(have, d)
		}
	}
	return append(left, d), true
}

// joined returns two damages with rows in common as one.
func joined(a, b row.Damage) row.Damage {
	a.First, a.Last = min(a.First, b.First), max(a.Last, b.Last)
	if a.Segment == b.Segment && a.Length > 0 && b.Length > 0 {
		end := max(a.Offset+a.Length, b.Offset+b.Length)
		a.Offset = min(a.Offset, b.Offset)
		a.Length = end - a.Offset
	}
	return a
}

// hold keeps a segment's file from being used again until leaveSeg. It returns
// false where the segment was removed.
func (j *Journal) hold(s *seg) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !s.gone {
		s.readers++
	}
	return !s.gone
}

// errMisplaced says that a file is another than its name says.
var errMisplaced = errors.New("it was put in the place of another")

// lost tells whether err says that nothing of a segment can be read: its file
// is missing, or without a header. Any other error is the disk's.
func lost(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, segment.ErrNoHeader) || errors.Is(err, segment.ErrNotPacked) || errors.Is(err, errMisplaced)
}

// wholly names all of a segment as damaged.
func (j *Journal) wholly(s *seg, why error) row.Damage {
	d := row.Damage{Stream: j.o.Name, Segment: s.number, Length: s.size, First: s.first, Last: s.last(), What: why.Error()}
	if errors.Is(why, fs.ErrNotExist) {
		d.Length, d.What = 0, "the segment's file is missing"
	}
	return d
}

// segment reads one segment.
func (e *examination) segment(s *seg) error {
	j := e.j
	if !j.hold(s) {
		return nil
	}
	defer j.leaveSeg(s)
	err := j.describeSeg(s)
	var whole *disk.Salvaged
	if err == nil {
		whole, err = j.openSeg(s)
	}
	if err != nil {
		j.mu.Lock()
		gone, d := s.gone, j.wholly(s, err)
		j.mu.Unlock()
		switch {
		case gone || d.Last < d.First: // removed meanwhile, or without a row
			return nil
		case lost(err):
			e.tell(d)
			return nil
		}
		return fmt.Errorf("verify segment %d: %w", s.number, err)
	}
	defer whole.Close()
	f := disk.File(whole)
	if e.file != nil {
		f = e.file(f)
	}
	return e.content(s, f)
}

// content reads the blocks of a segment, and its footer where it has one.
func (e *examination) content(s *seg, f disk.File) error {
	j := e.j
	j.mu.Lock()
	sealed := s.sealed
	src := segment.Source{File: f, Header: s.header, End: s.end, Rows: s.rows, Schemas: j.lookup(s)}
	size := s.size
	j.mu.Unlock()
	if whole, err := f.Size(); err == nil { // of a packed one, what it is unpacked
		size = whole
	}
	var footer *segment.Summary
	if sealed {
		sum, _, err := segment.ReadFooter(f)
		var failed *fs.PathError
		switch {
		case errors.As(err, &failed):
			return fmt.Errorf("verify segment %d: %w", s.number, err)
		case err != nil:
			e.tell(row.Damage{Stream: j.o.Name, Segment: s.number, Offset: src.End, Length: size - src.End, What: "footer: " + err.Error() + "; no row is affected"})
		case e.whole:
			footer = &sum
		}
	}
	rows, err := segment.Verify(src, footer, e.tell)
	if err != nil {
		return fmt.Errorf("verify segment %d: %w", s.number, err)
	}
	e.v.Segments++
	e.v.Rows += rows
	e.v.Bytes += src.End
	return nil
}
