package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"holdfast/internal/disk"
)

// Checkpoint says how far the segment being written was flushed at some time,
// so that a start need not read what stands before. It fills one page:
//
//	 0  8    magic "HOLDFCKP"
//	 8  u16  version
//	10  u16  zero
//	12  u32  checksum: CRC32C of bytes 8..12 and 16..148
//	16  u64  count: the page of two with the higher one is the newer
//	24  u64  epoch   \ identity of the segment
//	32  u64  serial  /
//	40  u64  number
//	48  u64  first seq
//	56  u64  rows before end
//	64  u64  end: everything before it is flushed
//	72  u32  chain value of the last block before end
//	76  u32  chain value of the last block with rows before end
//	80  i64  time of receipt of the first row, Unix microseconds
//	88  i64  time of receipt of the last row
//	96  u32  flags
//	100 u32  length of the stream id
//	104      stream id, up to 44 bytes
type Checkpoint struct {
	Count uint64
	Identity
	Number              uint64
	FirstSeq            uint64
	Rows                uint64
	End                 int64
	Chain, Last         uint32
	FirstTime, LastTime int64
	Large               bool // blocks longer than Target may follow
	StreamID            string
}

const (
	checkpointMagic = "HOLDFCKP"
	checkpointSize  = 148
	checkpointID    = checkpointSize - 104
	flagLarge       = 1 << 0
)

// errNoCheckpoint says that a page holds none: never written, or torn.
var errNoCheckpoint = errors.New("no checkpoint")

// Encode puts c into page, which has disk.Align bytes. The stream id must have
// at most 44 bytes.
func (c *Checkpoint) Encode(page []byte) error {
	if len(c.StreamID) > checkpointID {
		return fmt.Errorf("checkpoint: stream id of %d bytes is longer than %d", len(c.StreamID), checkpointID)
	}
	clear(page[:disk.Align])
	le := binary.LittleEndian
	copy(page, checkpointMagic)
	le.PutUint16(page[8:], Version)
	for i, v := range []uint64{c.Count, c.Epoch, c.Serial, c.Number, c.FirstSeq, c.Rows, uint64(c.End)} {
		le.PutUint64(page[16+8*i:], v)
	}
	le.PutUint32(page[72:], c.Chain)
	le.PutUint32(page[76:], c.Last)
	le.PutUint64(page[80:], uint64(c.FirstTime))
	le.PutUint64(page[88:], uint64(c.LastTime))
	if c.Large {
		le.PutUint32(page[96:], flagLarge)
	}
	le.PutUint32(page[100:], uint32(len(c.StreamID)))
	copy(page[104:], c.StreamID)
	le.PutUint32(page[12:], checkpointSum(page))
	return nil
}

func checkpointSum(page []byte) uint32 {
	s := crc32.Update(0, castagnoli, page[8:12])
	return crc32.Update(s, castagnoli, page[16:checkpointSize])
}

// ParseCheckpoint reads a page that Encode filled. It returns an error where
// none stands there, or one of a version that this program does not know: a
// start is slower then, and no less right.
func ParseCheckpoint(page []byte) (*Checkpoint, error) {
	if len(page) < checkpointSize || string(page[:8]) != checkpointMagic {
		return nil, errNoCheckpoint
	}
	le := binary.LittleEndian
	id := le.Uint32(page[100:])
	if le.Uint32(page[12:]) != checkpointSum(page) || le.Uint16(page[8:]) != Version || id > checkpointID {
		return nil, errNoCheckpoint
	}
	u := func(at int) uint64 { return le.Uint64(page[at:]) }
	return &Checkpoint{
		Count: u(16), Identity: Identity{Epoch: u(24), Serial: u(32)}, Number: u(40), FirstSeq: u(48), Rows: u(56), End: int64(u(64)),
		Chain: le.Uint32(page[72:]), Last: le.Uint32(page[76:]), FirstTime: int64(u(80)), LastTime: int64(u(88)),
		Large: le.Uint32(page[96:])&flagLarge != 0, StreamID: string(page[104 : 104+id]),
	}, nil
}

// Tail returns where the segment ended.
func (c *Checkpoint) Tail() Tail {
	return Tail{Number: c.Number, End: c.End, LastSeq: c.FirstSeq + c.Rows - 1, Chain: c.Last}
}

// of tells whether c is of the segment with header h.
func (c *Checkpoint) of(h *Header) bool {
	return c != nil && c.Identity == h.Identity && c.Number == h.Number && c.FirstSeq == h.FirstSeq && c.StreamID == h.Stream.ID
}

// Checkpoint returns how far w is flushed. ok is false while something is not.
func (w *Writer) Checkpoint() (c Checkpoint, ok bool) {
	h := &w.sum.Header
	return Checkpoint{
		Identity: h.Identity, Number: h.Number, FirstSeq: h.FirstSeq, Rows: w.nextRow, End: w.end, Chain: w.chain, Last: w.last,
		FirstTime: w.sum.FirstTime, LastTime: w.sum.LastTime, StreamID: h.Stream.ID,
	}, w.err == nil && w.Flushed()
}
