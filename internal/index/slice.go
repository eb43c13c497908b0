// Package index tells which rows of a sealed segment may match a condition,
// without reading the segment. For each one it keeps a slice: a file beside it,
// or in a directory of its own, that is derived from it, and may be lost or
// damaged at any time without costing more than reading the segment.
//
// docs/index.md says what it is good for, docs/format.md describes the bytes.
package index

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"holdfast/internal/disk"
	"holdfast/internal/where"
)

// Segment is a sealed segment, as its journal knows it without reading it. A
// slice is bound to all of it but the times and the size.
type Segment struct {
	Number    uint64
	First     uint64 // seq of its first row
	Last      uint64 // seq of its last row
	End       int64  // of its content, bytes
	Chain     uint32 // at its last row
	FirstTime int64  // of receipt, Unix microseconds
	LastTime  int64
}

// A slice is pages of entries, each 4096 bytes, then what there is to know of
// them, zeros, and in the last 32 bytes of the file a trailer:
//
//	0   8    magic "HFINDEXD"
//	8   u64  offset of what follows the pages
//	16  u32  its length
//	20  u32  its CRC32C
//	24  u32  version
//	28  u32  CRC32C of the trailer's first 28 bytes
const (
	trailerSize  = 32
	trailerMagic = "HFINDEXD"
	version      = 1

	// pageHead is what stands in front of a page's entries: u32 CRC32C of all
	// behind it, u16 number of entries, u16 number of the page (its lower bits).
	pageHead    = 8
	pageEntries = (disk.Align - pageHead) / 8

	// granuleBits are an entry's lower bits, the number of a granule; above them
	// are those of a digest.
	granuleBits = 16
	// granuleBytes is about how much of a segment one granule is: a look-up reads
	// at most so much in vain for each. mostGranules is how many there are at most.
	granuleBytes = 256 << 10
	mostGranules = 4000

	// mostSections is how many columns of tables one slice has; what is beyond is
	// read row by row.
	mostSections = 64
	// maxMeta bounds what follows the pages: all granules of all sections take
	// 12 MiB, and the first entries of 100,000 pages less than one.
	maxMeta = 32 << 20
	// tailRead is how much of a slice's end is read at once: of most, all but the
	// pages.
	tailRead = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errBad says that a slice is not what was written for its segment.
var errBad = errors.New("the slice is damaged, or of another segment")

// section is one column of one table.
type section struct {
	Table  string     `json:"table"`
	Column string     `json:"column"`
	Kind   where.Kind `json:"kind"`
}

// head is the first part of what follows the pages: JSON.
type head struct {
	Stream   string    `json:"stream"` // its id
	Number   uint64    `json:"number"`
	First    uint64    `json:"first_seq"`
	Last     uint64    `json:"last_seq"`
	End      int64     `json:"end"`
	Chain    uint32    `json:"chain"`
	Columns  []string  `json:"columns"`            // that were asked for
	Sections []section `json:"sections"`           // that there are
	LeftOut  []section `json:"left_out,omitempty"` // that there are, and nothing is known of
	Granules int       `json:"granules"`
	Pages    int       `json:"pages"`
	Entries  int       `json:"entries"`
}

// granule is some rows that stand one behind the other.
type granule struct {
	first uint32 // its first row, counted from the segment's first
	last  int64  // latest time of receipt in it, Unix microseconds
}

const granuleSize = 12

// meta is all that a slice says besides its entries.
type meta struct {
	head
	granules  []granule
	zones     [][]byte // by section: lowest and highest key by granule
	directory []uint64 // first entry of each page
}

// describes tells whether the slice was made for a segment.
func (h *head) describes(stream string, s Segment) bool {
	return h.Stream == stream && h.Number == s.Number && h.First == s.First && h.Last == s.Last && h.End == s.End && h.Chain == s.Chain
}

// encode returns what follows the pages, the trailer included; off is where it
// will stand.
func (m *meta) encode(off int64) ([]byte, error) {
	text, err := json.Marshal(m.head)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uint32(len(text)))
	b = append(b, text...)
	for _, g := range m.granules {
		b = le.AppendUint32(b, g.first)
		b = le.AppendUint64(b, uint64(g.last))
	}
	for _, z := range m.zones {
		b = append(b, z...)
	}
	for _, e := range m.directory {
		b = le.AppendUint64(b, e)
	}
	if len(b) > maxMeta {
		return nil, fmt.Errorf("a slice of %d sections and %d pages is too large", len(m.Sections), m.Pages)
	}
	out := disk.Buffer(len(b) + trailerSize)
	copy(out, b)
	t := out[len(out)-trailerSize:]
	copy(t, trailerMagic)
	le.PutUint64(t[8:], uint64(off))
	le.PutUint32(t[16:], uint32(len(b)))
	le.PutUint32(t[20:], crc32.Checksum(b, castagnoli))
	le.PutUint32(t[24:], version)
	le.PutUint32(t[28:], crc32.Checksum(t[:28], castagnoli))
	return out, nil
}

// readMeta reads a slice's end, and returns how much of the file it has read.
func readMeta(f disk.File, size int64) (m *meta, n int64, err error) {
	if size < disk.Align || size%disk.Align != 0 {
		return nil, 0, fmt.Errorf("%w: it has %d bytes", errBad, size)
	}
	tail := disk.Buffer(int(min(size, tailRead)))
	if err := readFull(f, tail, size-int64(len(tail))); err != nil {
		return nil, 0, err
	}
	n = int64(len(tail))
	t := tail[len(tail)-trailerSize:]
	le := binary.LittleEndian
	if string(t[:8]) != trailerMagic || le.Uint32(t[28:]) != crc32.Checksum(t[:28], castagnoli) {
		return nil, n, fmt.Errorf("%w: its end is not there", errBad)
	}
	if v := le.Uint32(t[24:]); v != version {
		return nil, n, fmt.Errorf("%w: it has version %d, this program knows %d", errBad, v, version)
	}
	off, length := int64(le.Uint64(t[8:])), int64(le.Uint32(t[16:]))
	if off < 0 || off%disk.Align != 0 || length > maxMeta || off > size || off+length+trailerSize > size {
		return nil, n, fmt.Errorf("%w: %d bytes at offset %d do not fit into it", errBad, length, off)
	}
	b := tail
	if at := off - (size - int64(len(tail))); at >= 0 {
		b = tail[at:]
	} else {
		b = disk.Buffer(int(length))
		n += int64(len(b))
		if err := readFull(f, b, off); err != nil {
			return nil, n, err
		}
	}
	if b = b[:length]; crc32.Checksum(b, castagnoli) != le.Uint32(t[20:]) {
		return nil, n, fmt.Errorf("%w: checksum of its description", errBad)
	}
	m, err = decodeMeta(b)
	if err == nil && off != int64(m.Pages)*disk.Align {
		err = fmt.Errorf("%w: %d pages do not end at %d", errBad, m.Pages, off)
	}
	return m, n, err
}

// decodeMeta is the other end of encode.
func decodeMeta(b []byte) (*meta, error) {
	bad := func(what string) (*meta, error) { return nil, fmt.Errorf("%w: %s", errBad, what) }
	le := binary.LittleEndian
	if len(b) < 4 || uint64(le.Uint32(b)) > uint64(len(b)-4) {
		return bad("its description is cut off")
	}
	n := int(le.Uint32(b))
	m := &meta{}
	if err := json.Unmarshal(b[4:4+n], &m.head); err != nil {
		return bad(err.Error())
	}
	b = b[4+n:]
	if m.Granules < 0 || m.Granules > 1<<granuleBits || m.Pages < 0 || m.Pages > maxMeta/8 || len(m.Sections) > mostSections {
		return bad("its numbers cannot be")
	}
	need := granuleSize*m.Granules + 8*m.Pages
	for _, s := range m.Sections {
		need += 2 * s.Kind.KeyLen() * m.Granules
	}
	if len(b) != need {
		return bad("its description has another length")
	}
	m.granules, m.directory = make([]granule, 0, m.Granules), make([]uint64, 0, m.Pages)
	for range m.Granules {
		m.granules = append(m.granules, granule{le.Uint32(b), int64(le.Uint64(b[4:]))})
		b = b[granuleSize:]
	}
	for _, s := range m.Sections {
		size := 2 * s.Kind.KeyLen() * m.Granules
		m.zones = append(m.zones, b[:size])
		b = b[size:]
	}
	for range m.Pages {
		m.directory = append(m.directory, le.Uint64(b))
		b = b[8:]
	}
	return m, nil
}

// putPage fills a page with entries.
func putPage(page []byte, number int, entries []uint64) {
	le := binary.LittleEndian
	clear(page)
	le.PutUint16(page[4:], uint16(len(entries)))
	le.PutUint16(page[6:], uint16(number))
	for i, e := range entries {
		le.PutUint64(page[pageHead+8*i:], e)
	}
	le.PutUint32(page, crc32.Checksum(page[4:], castagnoli))
}

// readPage appends the entries of a page.
func readPage(f disk.File, number int, page []byte, entries []uint64) ([]uint64, error) {
	if err := readFull(f, page, int64(number)*disk.Align); err != nil {
		return entries, err
	}
	n, err := checkPage(page, number)
	for i := range n {
		entries = append(entries, binary.LittleEndian.Uint64(page[pageHead+8*i:]))
	}
	return entries, err
}

// checkPage returns how many entries a page has.
func checkPage(page []byte, number int) (int, error) {
	le := binary.LittleEndian
	n := int(le.Uint16(page[4:]))
	if le.Uint32(page) != crc32.Checksum(page[4:], castagnoli) || le.Uint16(page[6:]) != uint16(number) || n > pageEntries {
		return 0, fmt.Errorf("%w: page %d", errBad, number)
	}
	return n, nil
}

// soundPages checks what of a part of a slice are pages, of which it has so many
// in all.
func soundPages(part []byte, off int64, pages int) error {
	for n := int(off / disk.Align); n < pages && len(part) >= disk.Align; n++ {
		if _, err := checkPage(part[:disk.Align], n); err != nil {
			return err
		}
		part = part[disk.Align:]
	}
	return nil
}

// readFull reads all of b; a file that is shorter is damaged.
func readFull(f disk.File, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n < len(b) && (err == nil || err == io.EOF) {
		return fmt.Errorf("%w: it ends at %d", errBad, off+int64(n))
	}
	if err == io.EOF {
		err = nil
	}
	return err
}
