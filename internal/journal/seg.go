package journal

import (
	"holdfast/internal/disk"
	"holdfast/internal/segment"
	"holdfast/row"
)

// seg is one segment of the stream. Journal.mu guards all but what never
// changes (number, first, header) and file, which its writer or the keeper owns.
type seg struct {
	at        *directory // where its file is
	packed    bool
	number    uint64
	first     uint64 // seq of its first row, whether it has one or not
	firstTime int64
	lastTime  int64
	rows      uint64 // durable rows
	link      segment.LinkRange
	end       int64  // behind the last durable block
	chain     uint32 // at the last row
	size      int64  // of the file
	header    segment.Header
	summary   *segment.Summary // nil: not read yet
	sealed    bool
	poisoned  bool // a flush went wrong: never written again
	gone      bool
	trashed   bool   // its file is in the trash
	roll      uint64 // serial of the roll that let it go
	until     int64  // when its file leaves the trash, Unix microseconds; 0: at once
	to        string // the cold tier that has a copy, or manifests.Nowhere; "": neither is known
	lost      bool   // a gap tells that sinks do not get it
	fileTime  int64  // when it was sealed; 0: not known
	beside    int64  // size of the manifest beside it; 0: there is none
	unnoted   bool   // no manifest can be made of it
	left      bool   // its file is gone for good
	readers   int
	hashing   *digest // being computed by the hasher; nil: not, or finished
	hashedTo  int64   // how far the hasher was sent
	sum       *digest // finished

	w       *segment.Writer // of the active one
	proved  int64           // end of the marker block written last
	checked int64           // end that the last checkpoint noted
	file    disk.File       // open while there is something to write
}

// last returns the seq of the last durable row; first-1 where there is none.
func (s *seg) last() uint64 { return s.first + s.rows - 1 }

func (s *seg) name() string {
	if s.packed {
		return packedName(s.number)
	}
	return segmentName(s.number)
}

func (s *seg) position() row.Position { return row.Position{Seq: s.last(), Chain: s.chain} }

// tail returns where the segment ends, for its successor's header.
func (s *seg) tail() segment.Tail {
	return segment.Tail{Number: s.number, End: s.end, LastSeq: s.last(), Chain: s.chain}
}

// forgetLocked gives up what can be read again of a sealed segment that nobody
// reads, so that memory does not grow with the backlog.
func (s *seg) forgetLocked() {
	if s.sealed && s.readers == 0 {
		s.summary, s.header.Stream = nil, segment.Stream{}
	}
}

// note is what the MANIFEST says of the segment.
func (s *seg) note() manifestSegment {
	return manifestSegment{
		Directory: s.at.ID, Packed: s.packed, Number: s.number, Size: s.size, FirstSeq: s.first, LastSeq: s.last(), End: s.end, Chain: s.chain,
		FirstTime: s.firstTime, LastTime: s.lastTime, FileTime: s.fileTime, Link: s.link,
	}
}

// segAt returns the segment that the MANIFEST describes, which is in one of the
// places.
func (k *manifestSegment) segAt(at *directory) *seg {
	return &seg{
		at: at, packed: k.Packed, number: k.Number, size: k.Size, sealed: true, first: k.FirstSeq, rows: k.LastSeq + 1 - k.FirstSeq,
		end: k.End, chain: k.Chain, firstTime: k.FirstTime, lastTime: k.LastTime, fileTime: k.FileTime, link: k.Link,
	}
}

// take copies what the segment's summary tells.
func (s *seg) take(sum *segment.Summary) {
	s.summary, s.header = sum, sum.Header
	s.first, s.rows = sum.Header.FirstSeq, sum.Tail.LastSeq+1-sum.Header.FirstSeq
	s.end, s.chain = sum.Tail.End, sum.Tail.Chain
	s.firstTime, s.lastTime, s.link = sum.FirstTime, sum.LastTime, sum.Link
}
