// Package segment is one file of a stream: writing its blocks, sealing it,
// reading it back, recovering it after a crash and verifying it.
//
// A segment is readable alone. It is append-only while active and immutable
// once sealed; what stands in it behind the end that its successor's header
// names is void. docs/format.md describes the bytes.
package segment

import (
	"holdfast/internal/disk"
	"holdfast/row"
)

// Summary is what there is to know of a segment without reading its rows: the
// writer keeps it while it writes, recovery finds it anew, sealing puts it
// into the footer.
type Summary struct {
	Header    Header       `json:"header"`
	Tail      Tail         `json:"tail"`
	Rows      uint64       `json:"rows"`
	FirstTime int64        `json:"first_time"` // of receipt, Unix microseconds; 0 without rows
	LastTime  int64        `json:"last_time"`
	Link      LinkRange    `json:"link,omitzero"` // of the header's link column
	Schemas   []Definition `json:"schemas"`
	Index     []IndexEntry `json:"index"`
	SHA256    string       `json:"sha256,omitempty"` // of everything before Tail.End, hexadecimal; set by sealing
}

// Definition is a schema under the id that the segment's rows use.
type Definition struct {
	ID      uint32       `json:"id"`
	Table   string       `json:"table"`
	Columns []row.Column `json:"columns"`
}

// IndexEntry is where a block starts and which row is its first.
type IndexEntry struct {
	Offset   int64  `json:"offset"`
	FirstRow uint64 `json:"first_row"` // counted from the segment's first
	Time     int64  `json:"time"`      // of receipt, Unix microseconds
}

// indexEvery is the distance of index entries, in bytes: a look-up reads at
// most so much in vain, and a full segment has at most 64 entries.
const indexEvery = 1 << 20

// FirstSeq returns the seq of the segment's first row, whether it has one or not.
func (s *Summary) FirstSeq() uint64 { return s.Header.FirstSeq }

// note takes a block with rows into the summary.
func (s *Summary) note(i blockInfo) {
	if i.rows == 0 {
		return
	}
	if s.FirstTime == 0 {
		s.FirstTime = i.received
	}
	s.LastTime = max(s.LastTime, i.received)
	s.Rows = i.firstRow + uint64(i.rows)
	if n := len(s.Index); n == 0 || i.offset-s.Index[n-1].Offset >= indexEvery {
		s.Index = append(s.Index, IndexEntry{Offset: i.offset, FirstRow: i.firstRow, Time: i.received})
	}
}

// define takes a schema into the summary, unless it is there.
func (s *Summary) define(sc *row.Schema) {
	for i := range s.Schemas {
		if s.Schemas[i].ID == sc.ID {
			return
		}
	}
	s.Schemas = append(s.Schemas, Definition{ID: sc.ID, Table: sc.Table, Columns: sc.Columns})
}

// seek returns the offset from which to read for the row with number n.
func (s *Summary) seek(n uint64) int64 {
	at := int64(DataStart)
	for _, e := range s.Index {
		if e.FirstRow > n {
			break
		}
		at = e.Offset
	}
	return at
}

// ReadHeader reads a segment's header. both is false where one of its two
// copies is damaged.
func ReadHeader(f disk.File) (h *Header, both bool, err error) {
	buf := disk.Buffer(headerSize)
	n, err := f.ReadAt(buf, 0)
	h, both, derr := decodeHeader(buf[:n])
	if derr == nil {
		return h, both, nil
	}
	if err != nil && n == 0 {
		return nil, false, err
	}
	return nil, false, derr
}
