package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"holdfast/internal/disk"
	"holdfast/internal/mutant"
	"holdfast/row"
)

// A block is what one group commit writes. It starts at a multiple of
// disk.Align; the rest of its last page is zero. Little-endian:
//
//	 0  u32  magic
//	 4  u32  checksum: CRC32C of everything behind it, up to length; the block's chain value
//	 8  u32  length, header included, without the zeros behind
//	12  u32  header checksum: CRC32C of bytes 8..12 and 16..80
//	16  u32  records
//	20  u32  rows
//	24  u64  number of the first row, counted from the segment's first
//	32  i64  time of receipt, Unix microseconds
//	40  u64  epoch   \ identity of the segment: what was written into the same
//	48  u64  serial  / place before, or belongs elsewhere, does not pass
//	56  u64  own offset in the file
//	64  u64  flushed through: all before this offset was flushed when this block was made
//	72  u32  checksum of the block before it in the segment
//	76  u32  flags
//	80       records
const (
	blockHead  = 80
	blockMagic = 0x4b424648 // "HFBK"

	flagOpen   = 1 << 0 // the transaction goes on in the next block
	flagMarker = 1 << 1 // no records; proves the block before it
)

// Target is the size of a block that many writers share, in bytes: at this
// size the disk is at its best. A transaction, or a row, that is larger makes
// a block of its own.
const Target = 256 << 10

// MaxBlock bounds the length of any block, and so what a reader allocates for
// one: the largest row beside the largest transaction kept in memory.
const MaxBlock = row.MaxBytes + 2<<20

// MaxUnflushed bounds how many bytes of blocks a writer may have written and
// not flushed, before the block that makes it flush. Recovery relies on it.
// Staged transactions, which end in a marker, are not bound by it.
const MaxUnflushed = 1 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Block is a block being filled. Reset makes it ready for use.
type Block struct {
	buf     []byte // aligned; the header's place included
	n       int
	records uint32
	rows    uint32
	open    bool
	salt    uint32
	bound   uint32 // to which place the records are bound; 0: to none
}

// firstRoom is the room in a new block, in bytes. It doubles up to Target as
// records come: a block of a single definition, or of a stream that gets a row
// a minute, does not need more.
const firstRoom = 16 << 10

// NewBlock returns an empty block for segments with the given salt.
func NewBlock(salt uint32) *Block {
	return &Block{buf: disk.Buffer(firstRoom), n: blockHead, salt: salt}
}

// Fits tells whether n bytes of records fit into what is left of Target.
func (b *Block) Fits(n int) bool { return b.n+n <= Target }

// Rows returns the number of rows in the block.
func (b *Block) Rows() uint32 { return b.rows }

// Empty tells whether no record is in the block.
func (b *Block) Empty() bool { return b.records == 0 }

// Len returns the block's length on disk, padding included.
func (b *Block) Len() int64 { return int64(disk.Up(b.n)) }

// SetOpen says that the transaction goes on in the next block.
func (b *Block) SetOpen() { b.open = true }

// Reset empties the block. A buffer that a large transaction needed is given up.
func (b *Block) Reset() {
	if len(b.buf) > Target {
		b.buf = disk.Buffer(Target)
	}
	b.n, b.records, b.rows, b.open, b.bound = blockHead, 0, 0, false, 0
}

// AppendRows copies the records of rows into the block, stamping each with its
// index. It grows the block where they do not fit.
func (b *Block) AppendRows(records []byte, rows int) {
	b.append(records)
	b.rows += uint32(rows)
}

// AppendSchema copies the definition of s into the block.
func (b *Block) AppendSchema(s *row.Schema) { b.append(row.AppendSchema(nil, s)) }

func (b *Block) append(records []byte) {
	if need := b.n + len(records); need > len(b.buf) {
		bigger := disk.Buffer(max(need, min(2*len(b.buf), Target)))
		copy(bigger, b.buf[:b.n])
		b.buf = bigger
	}
	at := b.n
	b.n += copy(b.buf[b.n:], records)
	for at < b.n {
		size := int(binary.LittleEndian.Uint32(b.buf[at:]))
		row.Stamp(b.buf[at:at+size], b.records, b.salt)
		b.records++
		at += size
	}
}

// Restore fills the block with the records of one that was written before, as
// Written.Bytes has it, so that it can be written again elsewhere.
func (b *Block) Restore(written []byte) {
	le := binary.LittleEndian
	b.Reset()
	b.n = int(le.Uint32(written[8:]))
	b.records, b.rows = le.Uint32(written[16:]), le.Uint32(written[20:])
	b.open = le.Uint32(written[76:])&flagOpen != 0
	if b.n > len(b.buf) {
		b.buf = disk.Buffer(b.n)
	}
	copy(b.buf, written[:b.n])
	b.bound = Identity{Epoch: le.Uint64(written[40:]), Serial: le.Uint64(written[48:])}.place(int64(le.Uint64(written[56:])))
}

// place is the number that the records of the block at offset are bound to.
// Where a block's checksum fails, each record must prove by itself that it was
// written here: one of another block of the same run, put here by a disk that
// missed its place, has the right salt, and perhaps the right index.
func (id Identity) place(offset int64) uint32 {
	if mutant.On(22) || mutant.On(9) {
		id = Identity{}
	}
	var b [24]byte // as they stand in the block's header
	binary.LittleEndian.PutUint64(b[0:], id.Epoch)
	binary.LittleEndian.PutUint64(b[8:], id.Serial)
	binary.LittleEndian.PutUint64(b[16:], uint64(offset))
	sum := ^uint32(0)
	for _, one := range b { // crc32.Checksum would have b allocated, for each flush
		sum = castagnoli[byte(sum)^one] ^ sum>>8
	}
	return ^sum
}

// bind binds the records to a place, and to no other any more.
func (b *Block) bind(place uint32) {
	for at := blockHead; at < b.n; at += int(binary.LittleEndian.Uint32(b.buf[at:])) {
		row.Bind(b.buf[at:], b.bound^place)
	}
	b.bound = place
}

// place is what a block is told about where it is written.
type place struct {
	id       Identity
	offset   int64
	flushed  int64
	prev     uint32
	firstRow uint64
	received int64
}

// seal writes header and checksums and returns the bytes to write and the
// block's chain value.
func (b *Block) seal(p place) ([]byte, uint32) {
	b.bind(p.id.place(p.offset))
	h := b.buf
	le := binary.LittleEndian
	flags := uint32(0)
	if b.open {
		flags |= flagOpen
	}
	if b.records == 0 {
		flags |= flagMarker
	}
	le.PutUint32(h[0:], blockMagic)
	le.PutUint32(h[8:], uint32(b.n))
	le.PutUint32(h[16:], b.records)
	le.PutUint32(h[20:], b.rows)
	le.PutUint64(h[24:], p.firstRow)
	le.PutUint64(h[32:], uint64(p.received))
	le.PutUint64(h[40:], p.id.Epoch)
	le.PutUint64(h[48:], p.id.Serial)
	le.PutUint64(h[56:], uint64(p.offset))
	le.PutUint64(h[64:], uint64(p.flushed))
	le.PutUint32(h[72:], p.prev)
	le.PutUint32(h[76:], flags)
	le.PutUint32(h[12:], headSum(h))
	sum := blockSum(h[:b.n])
	le.PutUint32(h[4:], sum)
	end := disk.Up(b.n)
	clear(b.buf[b.n:end])
	return b.buf[:end], sum
}

// blockSum is the checksum of a whole block, b.
func blockSum(b []byte) uint32 {
	if mutant.On(8) {
		return crc32.Checksum(b[blockHead:], castagnoli)
	}
	if mutant.On(9) {
		return crc32.Update(headSum(b), castagnoli, b[blockHead:])
	}
	return crc32.Checksum(b[8:], castagnoli)
}

func headSum(h []byte) uint32 {
	if mutant.On(8) {
		return 0
	}
	if mutant.On(9) {
		s := crc32.Update(crc32.Checksum(h[8:12], castagnoli), castagnoli, h[16:24])
		return crc32.Update(crc32.Update(s, castagnoli, h[32:40]), castagnoli, h[56:blockHead])
	}
	s := crc32.Update(0, castagnoli, h[8:12])
	return crc32.Update(s, castagnoli, h[16:blockHead])
}

// blockInfo is a block's header as read.
type blockInfo struct {
	sum      uint32
	length   int
	records  uint32
	rows     uint32
	firstRow uint64
	received int64
	offset   int64
	flushed  int64
	prev     uint32
	flags    uint32
}

// padded returns the block's length on disk.
func (i blockInfo) padded() int64 {
	if mutant.On(21) {
		return int64(disk.Up(i.length + 1))
	}
	return int64(disk.Up(i.length))
}

// parseHead checks the header at the start of h against its checksum and
// against where it was found. It does not look at the records.
func parseHead(h []byte, id Identity, offset int64) (blockInfo, error) {
	if len(h) < blockHead {
		return blockInfo{}, fmt.Errorf("block is cut off after %d bytes", len(h))
	}
	le := binary.LittleEndian
	if le.Uint32(h) != blockMagic {
		return blockInfo{}, fmt.Errorf("no block starts here")
	}
	if got := le.Uint32(h[12:]); got != headSum(h) {
		return blockInfo{}, fmt.Errorf("block header checksum %08x does not match", got)
	}
	if e, s := le.Uint64(h[40:]), le.Uint64(h[48:]); (e != id.Epoch || s != id.Serial) && !mutant.On(22) {
		return blockInfo{}, fmt.Errorf("block belongs to segment %d/%d, not to %d/%d", e, s, id.Epoch, id.Serial)
	}
	i := blockInfo{
		sum: le.Uint32(h[4:]), length: int(le.Uint32(h[8:])), records: le.Uint32(h[16:]), rows: le.Uint32(h[20:]),
		firstRow: le.Uint64(h[24:]), received: int64(le.Uint64(h[32:])), offset: int64(le.Uint64(h[56:])),
		flushed: int64(le.Uint64(h[64:])), prev: le.Uint32(h[72:]), flags: le.Uint32(h[76:]),
	}
	if i.offset != offset {
		return blockInfo{}, fmt.Errorf("block was written at offset %d", i.offset)
	}
	if i.length < blockHead || i.length > MaxBlock && !mutant.On(10) || i.rows > i.records || i.records > uint32(i.length/row.RecordHead) {
		return blockInfo{}, fmt.Errorf("block header says length %d, %d records, %d rows", i.length, i.records, i.rows)
	}
	return i, nil
}

// repairHead looks for the one bit of a damaged header, h, whose flipping makes
// it right, flips it, and returns the header. So a flipped bit in a header
// costs no row, and neither the block's time nor its place in a transaction.
// A header that passes by accident would need its checksum, identity and
// offset to fit, so it is not worth fearing.
func repairHead(h []byte, id Identity, offset int64) (blockInfo, bool) {
	if len(h) < blockHead {
		return blockInfo{}, false
	}
	for bit := range blockHead * 8 {
		h[bit/8] ^= 1 << (bit % 8)
		if binary.LittleEndian.Uint32(h[12:]) == headSum(h) {
			if i, err := parseHead(h, id, offset); err == nil {
				return i, true
			}
		}
		h[bit/8] ^= 1 << (bit % 8)
	}
	return blockInfo{}, false
}

// eachSchema hands the schemas that a block without rows defines to define.
// Damage is stepped over byte by byte: each schema is there twice.
func eachSchema(records []byte, salt uint32, define func(*row.Schema)) {
	for len(records) > 0 {
		n, err := row.Length(records)
		if err == nil {
			var rec row.Record
			if rec, err = row.Parse(records[:n], salt); err == nil {
				if s, serr := row.ParseSchema(rec); serr == nil {
					define(s)
				}
			}
		}
		if err != nil {
			n = 1
		}
		records = records[n:]
	}
}

// check compares the whole block, b, with its checksum.
func (i blockInfo) check(b []byte) error {
	if got := blockSum(b[:i.length]); got != i.sum {
		return fmt.Errorf("block checksum %08x does not match its bytes", i.sum)
	}
	return nil
}
