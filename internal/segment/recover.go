package segment

import (
	"fmt"

	"holdfast/internal/disk"
	"holdfast/row"
)

// Recovered is what was found in a segment that no footer describes.
type Recovered struct {
	Summary Summary
	Damage  []row.Damage // below what was provably flushed; none of it is cut
	Cut     int64        // bytes behind the end that look written and are void; 0: a clean end
}

// Recover finds the end of a segment that was not sealed. end is where its
// successor says that it ends, 0 where there is no successor: then its own
// blocks must tell.
//
// A block that does not check out ends the segment only where no later block
// says that it was flushed: that is the torn tail of a crash, and nobody was
// told that it is safe. Below what a later block, or the successor, proves to
// have been flushed it is damage, is named, and is kept.
func Recover(f disk.File, h Header, end int64) (Recovered, error) {
	size, err := f.Size()
	if err != nil {
		return Recovered{}, err
	}
	size = disk.Up(size)
	s := scan{f: f, h: h, size: size, pos: DataStart, chain: h.chain(), last: h.Before.Chain}
	s.win = window{f: f, end: size}
	s.out.Summary.Header = h
	if end != 0 {
		s.size, s.win.end, s.proven = end, end, end
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
	proven int64 // everything before it was flushed
	out    Recovered
}

// step takes the block at pos. It returns false at the end.
func (s *scan) step() (bool, error) {
	info, b, why, err := s.read(s.pos)
	if err != nil {
		return false, err
	}
	if why == nil && info.prev == s.chain && info.firstRow == s.rows {
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
	if s.proven <= s.pos {
		return false, nil
	}
	return true, s.skip(info, why)
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
		return blockInfo{}, nil, fmt.Errorf("file ends inside the block"), nil
	}
	return info, b, info.check(b), nil
}

// accept takes a good block.
func (s *scan) accept(info blockInfo, b []byte) {
	s.proven = max(s.proven, info.flushed)
	s.out.Summary.note(info)
	if info.rows == 0 {
		s.define(b[blockHead:info.length])
	}
	s.pos += info.padded()
	s.rows = info.firstRow + uint64(info.rows)
	s.chain = info.sum
	if info.rows > 0 {
		s.last = info.sum
	}
}

func (s *scan) define(rest []byte) {
	for len(rest) > 0 {
		n, err := row.Length(rest)
		if err != nil {
			return
		}
		if rec, err := row.Parse(rest[:n]); err == nil {
			if sc, err := row.ParseSchema(rec); err == nil {
				s.out.Summary.define(sc)
			}
		}
		rest = rest[n:]
	}
}

// prove looks through all that lies behind pos for a block which says that
// what is at pos was flushed, and notes how much of the rest looks written.
func (s *scan) prove() error {
	for at := s.pos; at < s.size; {
		info, _, why, err := s.read(at)
		if err != nil {
			return err
		}
		if why != nil {
			at += disk.Align
			continue
		}
		s.proven = max(s.proven, info.flushed)
		at += info.padded()
		s.out.Cut = at - s.pos
	}
	if s.proven > s.pos {
		s.out.Cut = 0
	}
	return nil
}

// skip steps over damage below what was proven to be flushed. Where the
// block's header is good its place and rows are known; else the next good
// header tells how many rows were lost.
func (s *scan) skip(info blockInfo, why error) error {
	d := row.Damage{Stream: s.h.Stream.Name, Segment: s.h.Number, Offset: s.pos, What: why.Error()}
	if info.length != 0 && info.firstRow >= s.rows {
		s.rows = info.firstRow + uint64(info.rows)
		s.pos += info.padded()
		s.chain = info.sum
		if info.rows > 0 {
			s.last = info.sum
		}
	} else {
		next, err := findHead(&s.win, s.h.Identity, s.pos+disk.Align, s.proven)
		if err != nil {
			return err
		}
		if next.length != 0 && next.firstRow > s.rows {
			d.First, d.Last = s.h.FirstSeq+s.rows, s.h.FirstSeq+next.firstRow-1
			s.rows = next.firstRow
		}
		s.pos = next.offset
		if next.length != 0 {
			s.chain = next.prev
		}
	}
	s.out.Damage = append(s.out.Damage, d)
	return nil
}
