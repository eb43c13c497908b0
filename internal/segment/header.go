package segment

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"holdfast/internal/disk"
	"holdfast/internal/mutant"
)

// A segment's file starts with its header, twice, each copy in a page of its
// own, so that a flipped bit in one costs nothing:
//
//	 0  8    magic "HOLDFAST"
//	 8  u16  version
//	10  u16  zero
//	12  u32  length of the copy
//	16  u32  checksum: CRC32C of bytes 8..16 and of those behind it, up to length
//	20  u32  salt of the records' checksums
//	24  u64  epoch   \ identity
//	32  u64  serial  /
//	40  u64  number
//	48  u64  first seq
//	56  i64  time of making, Unix microseconds
//	64  u64  number of the segment before it, 0: none
//	72  u64  end offset of that segment: what stands behind it there is void
//	80  u64  last seq of that segment
//	88  u32  chain checksum at that seq
//	92  u32  part   \ of a staged transaction, from 1; both 0 otherwise
//	96  u32  parts  /
//	100 u32  length of the JSON that follows
//	104      JSON: stream id, name, marks of sinks, link column, watermark of rolls
const (
	headerCopy = disk.Align
	headerSize = 2 * headerCopy
	headerHead = 104
	magic      = "HOLDFAST"

	// Version is the version of the format that this program writes.
	Version = 1
)

// DataStart is the offset of a segment's first block.
const DataStart = headerSize

// ErrVersion says that a file was written by a newer Holdfast.
var ErrVersion = errors.New("was written by a newer version of Holdfast; upgrade the program")

// ErrNoHeader says that neither copy of a segment's header is readable.
var ErrNoHeader = errors.New("no segment header is readable")

// Identity tells one segment's blocks from those of every other, in a stream:
// the epoch rises with each start, the serial with each file made in it.
type Identity struct {
	Epoch  uint64 `json:"epoch"`
	Serial uint64 `json:"serial"`
}

// Header is what a segment says of itself in its first bytes.
type Header struct {
	Identity
	Salt     uint32 `json:"salt,omitempty"` // random; see row.Stamp
	Number   uint64 `json:"number"`
	FirstSeq uint64 `json:"first_seq"`
	Created  int64  `json:"created"` // Unix microseconds
	Before   Tail   `json:"before"`  // of the segment before it; the zero Tail: none
	Part     uint32 `json:"part,omitempty"`
	Parts    uint32 `json:"parts,omitempty"`
	Stream   Stream `json:"stream"`
}

// Tail is where a segment ends.
type Tail struct {
	Number  uint64 `json:"number"`
	End     int64  `json:"end"` // offset behind the last block
	LastSeq uint64 `json:"last_seq"`
	Chain   uint32 `json:"chain"` // chain value at LastSeq: checksum of the last block with rows
}

// Stream is what each segment repeats about its stream, so that losing the
// MANIFEST loses nothing.
type Stream struct {
	ID    string            `json:"id"`
	Name  string            `json:"name"`
	Marks map[string]uint64 `json:"marks,omitempty"` // registered sinks, and how far each had read
	Link  string            `json:"link,omitempty"`  // column that the footer's link range is of
	Cut   Watermark         `json:"cut,omitzero"`    // what rolls had cut off
}

// Fits tells whether a header has room for s, however far the marks rise.
func (s Stream) Fits() bool {
	full := Stream{ID: s.ID, Name: s.Name, Marks: make(map[string]uint64, len(s.Marks)), Link: s.Link}
	full.Cut = Watermark{Link: s.Link, Below: math.MinInt64, Through: math.MaxUint64, End: math.MaxUint64, Roll: math.MaxUint64}
	for sink := range s.Marks {
		full.Marks[sink] = math.MaxUint64
	}
	b, err := json.Marshal(full)
	return err == nil && headerHead+len(b) <= headerCopy
}

// chain is the chain value before the first block.
func (h *Header) chain() uint32 {
	if mutant.On(22) {
		return crc32.Checksum([]byte(h.Stream.ID), castagnoli)
	}
	var b [16]byte
	binary.LittleEndian.PutUint64(b[0:], h.Epoch)
	binary.LittleEndian.PutUint64(b[8:], h.Serial)
	return crc32.Update(crc32.Checksum([]byte(h.Stream.ID), castagnoli), castagnoli, b[:])
}

// encode returns both copies.
func (h *Header) encode() ([]byte, error) {
	extra, err := json.Marshal(h.Stream)
	if err != nil {
		return nil, err
	}
	n := headerHead + len(extra)
	if n > headerCopy {
		return nil, fmt.Errorf("encode header of segment %d: %d bytes of stream state do not fit; retire sinks that are not needed", h.Number, len(extra))
	}
	buf := disk.Buffer(headerSize)
	le := binary.LittleEndian
	copy(buf, magic)
	le.PutUint16(buf[8:], Version)
	le.PutUint32(buf[12:], uint32(n))
	le.PutUint32(buf[20:], h.Salt)
	le.PutUint64(buf[24:], h.Epoch)
	le.PutUint64(buf[32:], h.Serial)
	le.PutUint64(buf[40:], h.Number)
	le.PutUint64(buf[48:], h.FirstSeq)
	le.PutUint64(buf[56:], uint64(h.Created))
	le.PutUint64(buf[64:], h.Before.Number)
	le.PutUint64(buf[72:], uint64(h.Before.End))
	le.PutUint64(buf[80:], h.Before.LastSeq)
	le.PutUint32(buf[88:], h.Before.Chain)
	le.PutUint32(buf[92:], h.Part)
	le.PutUint32(buf[96:], h.Parts)
	le.PutUint32(buf[100:], uint32(len(extra)))
	copy(buf[headerHead:], extra)
	le.PutUint32(buf[16:], headerSum(buf[:n]))
	copy(buf[headerCopy:], buf[:n])
	return buf, nil
}

// recordSalt is what the records of the block at offset are parsed with.
func (h *Header) recordSalt(offset int64) uint32 { return h.Salt ^ h.Identity.place(offset) }

func headerSum(b []byte) uint32 {
	s := crc32.Update(0, castagnoli, b[8:16])
	return crc32.Update(s, castagnoli, b[20:])
}

// decodeHeader reads whichever copy in b is whole, and tells whether both are.
func decodeHeader(b []byte) (h *Header, both bool, err error) {
	whole := 0
	err = ErrNoHeader
	for at := 0; at+headerCopy <= len(b); at += headerCopy {
		got, e := decodeCopy(b[at : at+headerCopy])
		if e == nil {
			h, whole = got, whole+1
		} else if !errors.Is(err, ErrVersion) {
			err = e
		}
	}
	if h == nil {
		return nil, false, err
	}
	return h, whole == 2, nil
}

func decodeCopy(b []byte) (*Header, error) {
	if string(b[:8]) != magic {
		return nil, ErrNoHeader
	}
	le := binary.LittleEndian
	n := int(le.Uint32(b[12:]))
	if n < headerHead || n > len(b) {
		return nil, fmt.Errorf("segment header says length %d: %w", n, ErrNoHeader)
	}
	if le.Uint32(b[16:]) != headerSum(b[:n]) {
		return nil, fmt.Errorf("segment header checksum does not match: %w", ErrNoHeader)
	}
	if v := le.Uint16(b[8:]); v != Version {
		return nil, fmt.Errorf("segment has format version %d, this program knows %d: %w", v, Version, ErrVersion)
	}
	extra := int(le.Uint32(b[100:]))
	if headerHead+extra != n {
		return nil, fmt.Errorf("segment header says %d bytes of state in %d: %w", extra, n, ErrNoHeader)
	}
	h := &Header{
		Identity: Identity{Epoch: le.Uint64(b[24:]), Serial: le.Uint64(b[32:])}, Salt: le.Uint32(b[20:]),
		Number: le.Uint64(b[40:]), FirstSeq: le.Uint64(b[48:]), Created: int64(le.Uint64(b[56:])),
		Before: Tail{Number: le.Uint64(b[64:]), End: int64(le.Uint64(b[72:])), LastSeq: le.Uint64(b[80:]), Chain: le.Uint32(b[88:])},
		Part:   le.Uint32(b[92:]), Parts: le.Uint32(b[96:]),
	}
	if err := json.Unmarshal(b[headerHead:n], &h.Stream); err != nil {
		return nil, fmt.Errorf("segment header state: %w", err)
	}
	return h, nil
}
