package segment

import (
	"bytes"
	"fmt"

	"holdfast/internal/disk"
	"holdfast/internal/mutant"
	"holdfast/row"
)

// Recovered is what was found in a segment that no footer describes.
type Recovered struct {
	Summary Summary
	Damage  []row.Damage // below what was provably flushed; none of it is cut
	Cut     int64        // bytes behind the end that look written and are void; 0: a clean end
	Short   bool         // the file ends where no writer lets it end: something has cut it off, and rows may be gone
	Partial bool         // only what follows the checkpoint was read: Summary has neither all of the index nor all schemas
}

// Recover finds the end of a segment that was not sealed. end is where its
// successor says that it ends, 0 where there is no successor: then its own
// blocks must tell.
//
// A block that does not check out ends the segment only where no later block
// says that it was flushed: that is the torn tail of a crash, and nobody was
// told that it is safe. Below what a later block, or the successor, proves to
// have been flushed it is damage, is named, and is kept.
//
// from, where it is of this segment, saves reading what stands before it; nil
// where there is none.
func Recover(f disk.File, h Header, end int64, from *Checkpoint) (Recovered, error) {
	size, err := f.Size()
	if err != nil {
		return Recovered{}, err
	}
	real := size
	size = disk.Up(size)
	s := scan{f: f, h: h, size: size, pos: DataStart, chain: h.chain(), last: h.Before.Chain}
	s.win = window{f: f, end: size}
	s.out.Summary.Header, s.out.Summary.Link.Column = h, h.Stream.Link
	if end != 0 {
		s.size, s.win.end, s.proven = end, end, end
	}
	if from.of(&h) && from.End >= DataStart && from.End <= real {
		s.resume(from)
	}
	for s.pos < s.size {
		more, err := s.step()
		if err != nil {
			return Recovered{}, err
		}
		if !more {
			break
		}
	}
	s.out.Summary.Tail = Tail{Number: h.Number, End: s.pos, LastSeq: h.FirstSeq + s.rows - 1, Chain: s.last}
	s.out.Summary.Rows = s.rows
	s.out.Short = end == 0 && (s.inside || real < s.pos+disk.Align || from.of(&h) && from.End > real)
	return s.out, nil
}

// scan is the state of Recover.
type scan struct {
	f      disk.File
	h      Header
	win    window
	size   int64
	pos    int64  // end of what is taken
	rows   uint64 // rows up to pos
	chain  uint32 // of the last block
	last   uint32 // of the last block with rows
	proven int64  // everything before it was flushed
	mend   bool   // last is the claim of a damaged block; the next one knows better
	loose  bool   // damage was stepped over: the next block need not name the one before it
	small  bool   // no block longer than Target follows
	inside bool   // the file ends inside a block
	out    Recovered
}

// resume starts where a checkpoint was taken.
func (s *scan) resume(c *Checkpoint) {
	s.pos, s.proven, s.rows, s.chain, s.last, s.small = c.End, c.End, c.Rows, c.Chain, c.Last, !c.Large
	s.out.Partial = true
	s.out.Summary.FirstTime, s.out.Summary.LastTime = c.FirstTime, c.LastTime
}

// step takes the block at pos. It returns false at the end.
func (s *scan) step() (bool, error) {
	info, b, why, err := s.read(s.pos)
	if err != nil {
		return false, err
	}
	if why == nil && s.follows(info) {
		s.accept(info, b)
		return true, nil
	}
	if why == nil {
		why = fmt.Errorf("block does not follow the one before it")
	}
	if s.proven <= s.pos {
		if err := s.prove(); err != nil {
			return false, err
		}
	}
	if s.proven <= s.pos || mutant.On(11) {
		return false, nil
	}
	return true, s.skip(info, why)
}

// follows tells whether a whole block goes on where the one before it ended.
// Behind damage neither its checksum nor its rows need be known; identity and
// offset still say that the block belongs here.
func (s *scan) follows(info blockInfo) bool {
	if s.loose {
		return info.firstRow >= s.rows
	}
	return info.prev == s.chain && info.firstRow == s.rows
}

// read reads the block at pos whole and checks it. why says what is wrong
// with it; info is set where at least its header is good.
func (s *scan) read(pos int64) (info blockInfo, b []byte, why, err error) {
	page, err := s.win.at(pos, disk.Align)
	if err != nil {
		return info, nil, nil, err
	}
	info, why = parseHead(page, s.h.Identity, pos)
	if why != nil {
		return blockInfo{}, nil, why, nil
	}
	b, err = s.win.at(pos, int(info.padded()))
	if err != nil {
		return info, nil, nil, err
	}
	if len(b) < info.length {
		s.inside = true
		return blockInfo{}, nil, fmt.Errorf("file ends inside the block"), nil
	}
	return info, b, info.check(b), nil
}

// behindDamage names the rows that damage took, now that a block tells where
// they ended.
func (s *scan) behindDamage(info blockInfo) {
	if !s.loose || info.firstRow <= s.rows {
		return
	}
	d := &s.out.Damage[len(s.out.Damage)-1]
	if d.First == 0 {
		d.First = s.h.FirstSeq + s.rows
	}
	d.Last = s.h.FirstSeq + info.firstRow - 1
}

// accept takes a good block.
func (s *scan) accept(info blockInfo, b []byte) {
	s.behindDamage(info)
	if s.mend {
		s.last = info.prev
	}
	s.mend = false
	s.loose = false
	s.proven = max(s.proven, info.flushed)
	s.out.Summary.note(info)
	if info.rows == 0 {
		s.define(b[blockHead:info.length])
	} else if s.h.Stream.Link != "" {
		s.out.Summary.link(b[blockHead:info.length], s.h.Stream.Link)
	}
	s.pos += info.padded()
	s.rows = info.firstRow + uint64(info.rows)
	s.chain = info.sum
	if info.rows > 0 {
		s.last = info.sum
	}
}

func (s *scan) define(records []byte) {
	eachSchema(records, s.h.recordSalt(s.pos), s.out.Summary.define)
}

// prove looks through all that lies behind pos for a block which says that
// what is at pos was flushed, and notes how much of the rest looks written.
//
// It need not read all that was reserved. Blocks stand one behind the other,
// so if a block stood behind a stretch in which none is readable, that stretch
// was written. One longer than span holds more than the largest unflushed run,
// so that it was flushed at least once within, and the block written after
// that flush, which says so, would start in it or right behind it. Only damage
// to each of its blocks could hide them all, and that is no flipped bit.
func (s *scan) prove() error {
	span := s.span()
	quiet := s.pos // no block is readable from here on
	for at := s.pos; at < s.size && at-quiet <= span; {
		info, _, why, err := s.read(at)
		if err != nil {
			return err
		}
		if why != nil {
			at += disk.Align
			continue
		}
		quiet = at + info.padded()
		s.proven = max(s.proven, info.flushed)
		at += info.padded()
		s.out.Cut = at - s.pos
	}
	if s.proven > s.pos {
		s.out.Cut = 0
	}
	return nil
}

// span is how long a stretch without a readable block prove reads.
func (s *scan) span() int64 {
	switch {
	case s.h.Parts != 0: // a staged transaction has its only proof at its end
		return s.size
	case s.small:
		return 2*MaxUnflushed + 2*Target
	}
	return 2*MaxUnflushed + 2*MaxBlock
}

// skip steps over damage below what was proven to be flushed. Where the
// block's header is good, or can be mended, its place and rows are known; else
// the next good header tells how many rows were lost.
func (s *scan) skip(info blockInfo, why error) error {
	d := row.Damage{Stream: s.h.Stream.Name, Segment: s.h.Number, Offset: s.pos, What: why.Error()}
	if info.length == 0 {
		page, err := s.win.at(s.pos, disk.Align)
		if err != nil {
			return err
		}
		info, _ = repairHead(bytes.Clone(page[:min(len(page), blockHead)]), s.h.Identity, s.pos)
	}
	if info.length != 0 {
		s.behindDamage(info)
	}
	s.loose = true
	s.out.Damage = append(s.out.Damage, d)
	if info.length != 0 && info.firstRow >= s.rows && s.pos+info.padded() <= s.size {
		return s.skipKnown(info)
	}
	next, err := findHead(&s.win, s.h.Identity, s.pos+disk.Align, s.proven)
	if err != nil {
		return err
	}
	s.pos = next.offset
	return nil
}

// skipKnown steps over a block whose header is known.
func (s *scan) skipKnown(info blockInfo) error {
	b, err := s.win.at(s.pos, int(info.padded()))
	if err != nil {
		return err
	}
	if info.rows == 0 && len(b) >= info.length {
		s.define(b[blockHead:info.length])
	}
	s.rows = info.firstRow + uint64(info.rows)
	s.pos += info.padded()
	s.chain = info.sum
	if info.rows > 0 {
		s.last, s.mend = info.sum, true
	}
	return nil
}
