package segment

import (
	"fmt"

	"holdfast/internal/disk"
	"holdfast/internal/mutant"
	"holdfast/row"
)

// Writer appends blocks to one segment. It is not safe for concurrent use,
// except for the results of Summary. After an error it must not be used again:
// what stands behind the last flushed block is then undefined, and the next
// segment's header voids it.
type Writer struct {
	f       disk.File
	sum     Summary
	known   map[uint32]bool // schemas that the file defines already
	limit   int64
	footer  int64 // what sealing will add, about
	end     int64
	flushed int64
	nextRow uint64
	chain   uint32 // of the last block
	last    uint32 // of the last block with rows
	err     error
}

// NewWriter starts a segment in f. limit is the size it should keep to, in
// bytes. It writes no header: Begin does, or, for a staged transaction, Adopt.
func NewWriter(f disk.File, h Header, limit int64) *Writer {
	return &Writer{
		f: f, sum: Summary{Header: h, Link: LinkRange{Column: h.Stream.Link}}, known: map[uint32]bool{}, limit: limit, footer: footerRoom + 96*(limit/indexEvery),
		end: DataStart, flushed: DataStart, chain: h.chain(), last: h.Before.Chain,
	}
}

// Begin writes the header and flushes it.
func (w *Writer) Begin() error {
	buf, err := w.sum.Header.encode()
	if err == nil {
		err = w.f.WriteSyncAt(buf, 0)
	}
	return w.fail("write header of", err)
}

// Adopt gives a staged segment its place in the stream: h carries number,
// first seq and part; identity and stream stay. It writes the header and
// flushes it. Nothing else of the file changes, so nothing is copied.
func (w *Writer) Adopt(h Header) error {
	h.Identity, h.Salt, h.Stream.ID = w.sum.Header.Identity, w.sum.Header.Salt, w.sum.Header.Stream.ID
	w.sum.Header = h
	if w.nextRow == 0 {
		w.last = h.Before.Chain
	}
	return w.Begin()
}

// Fits tells whether a block of n bytes keeps to the limit. A segment takes
// its first block whatever its size.
func (w *Writer) Fits(n int64) bool {
	return w.end == DataStart || w.end+n+w.footer <= w.limit
}

// Missing returns those of schemas that the file does not define yet.
func (w *Writer) Missing(schemas []*row.Schema) []*row.Schema {
	var missing []*row.Schema
	for _, s := range schemas {
		if !w.known[s.ID] {
			missing = append(missing, s)
		}
	}
	return missing
}

// Define writes the definitions of schemas as a block of their own, which the
// next flush covers. Each stands there twice: without its schema no row can be
// read, and a flipped bit must not cost more than the row it is in.
//
// Many or large schemas take several blocks, since no block may be longer than
// MaxBlock.
func (w *Writer) Define(schemas []*row.Schema, received int64) error {
	b := NewBlock(w.sum.Header.Salt)
	for len(schemas) > 0 {
		n, size := 0, 0
		for n < len(schemas) && (n == 0 || 2*(size+schemaLen(schemas[n])) <= Target-blockHead) {
			size += schemaLen(schemas[n])
			n++
		}
		b.Reset()
		for range 2 {
			for _, s := range schemas[:n] {
				b.AppendSchema(s)
			}
		}
		if _, err := w.Write(b, received, false); err != nil {
			return err
		}
		for _, s := range schemas[:n] {
			w.known[s.ID] = true
			w.sum.define(s)
			w.footer += int64(3 * schemaLen(s))
		}
		schemas = schemas[n:]
	}
	return nil
}

// schemaLen returns how many bytes the definition of s takes, at most.
func schemaLen(s *row.Schema) int {
	n := row.RecordHead + 4*(1+2*len(s.Columns)) + len(s.Table)
	for _, c := range s.Columns {
		n += len(c.Name) + len(c.Type)
	}
	return n
}

// DefinedLen returns how many bytes of a segment the definitions of schemas
// take at most: in blocks, and again in the footer.
func DefinedLen(schemas []*row.Schema) int64 {
	n := int64(0)
	for _, s := range schemas {
		n += int64(5*schemaLen(s)) + disk.Align
	}
	return n
}

// Written is a block as it stands in the file.
type Written struct {
	Bytes    []byte // all of it, padding included; the Block's own memory
	Offset   int64
	FirstRow uint64 // counted from the segment's first
	Chain    uint32
}

// Write appends b. With durable set, b and everything before it is flushed
// when Write returns nil.
func (w *Writer) Write(b *Block, received int64, durable bool) (Written, error) {
	if w.err != nil {
		return Written{}, w.err
	}
	at := Written{Offset: w.end, FirstRow: w.nextRow}
	at.Bytes, at.Chain = b.seal(place{
		id: w.sum.Header.Identity, offset: w.end, flushed: w.flushed, prev: w.chain, firstRow: w.nextRow, received: received,
	})
	if err := w.put(at.Bytes, durable); err != nil {
		return Written{}, w.fail("write block to", err)
	}
	w.sum.note(blockInfo{rows: b.rows, firstRow: at.FirstRow, received: received, offset: at.Offset})
	w.nextRow += uint64(b.rows)
	w.chain = at.Chain
	if b.rows > 0 {
		w.last = at.Chain
	}
	return at, nil
}

// Linked notes the links of rows that were written.
func (w *Writer) Linked(r LinkRange) { w.sum.Link.Join(r) }

// put writes at the end. A flushed write covers only itself, so one that
// follows unflushed ones ends in a flush of the file: no hole may stand
// before an acked row.
func (w *Writer) put(p []byte, durable bool) error {
	direct := durable && (w.flushed == w.end || mutant.On(24))
	var err error
	if direct {
		err = w.f.WriteSyncAt(p, w.end)
	} else {
		err = w.f.WriteAt(p, w.end)
	}
	if err != nil && direct && mutant.On(2) {
		err = w.f.Sync()
	}
	if err != nil && mutant.On(14) {
		w.end += int64(len(p))
	}
	if err != nil {
		return err
	}
	w.end += int64(len(p))
	if direct {
		w.flushed = w.end
		return nil
	}
	if durable {
		return w.sync()
	}
	return nil
}

func (w *Writer) sync() error {
	err := w.f.Sync()
	if err != nil && mutant.On(2) {
		err = w.f.Sync()
	}
	if err != nil {
		return err
	}
	w.flushed = w.end
	return nil
}

// Flush makes everything written durable.
func (w *Writer) Flush() error {
	if w.err != nil {
		return w.err
	}
	if w.flushed == w.end {
		return nil
	}
	return w.fail("flush", w.sync())
}

// Mark writes a marker block, which proves that all before it was flushed.
func (w *Writer) Mark(received int64) error {
	_, err := w.Write(NewMarker(), received, true)
	return err
}

// NewMarker returns an empty block of the smallest size.
func NewMarker() *Block { return &Block{buf: disk.Buffer(disk.Align), n: blockHead} }

func (w *Writer) fail(what string, err error) error {
	if mutant.On(3) || mutant.On(14) {
		return err
	}
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("%s segment %d: %w", what, w.sum.Header.Number, err)
	}
	return w.err
}

// Err returns the error that ended the writer.
func (w *Writer) Err() error { return w.err }

// Header returns the segment's header.
func (w *Writer) Header() Header { return w.sum.Header }

// Empty tells whether no row was written.
func (w *Writer) Empty() bool { return w.nextRow == 0 }

// Rows returns how many rows were written.
func (w *Writer) Rows() uint64 { return w.nextRow }

// End returns the offset behind the last block.
func (w *Writer) End() int64 { return w.end }

// Flushed tells whether everything written is flushed.
func (w *Writer) Flushed() bool { return w.flushed == w.end }

// Tail returns where the segment ends now.
func (w *Writer) Tail() Tail {
	return Tail{Number: w.sum.Header.Number, End: w.end, LastSeq: w.sum.Header.FirstSeq + w.nextRow - 1, Chain: w.last}
}

// Summary returns a copy of what is known of the segment, with its tail. The
// slices in it are shared but only ever appended to.
func (w *Writer) Summary() Summary {
	s := w.sum
	s.Tail = w.Tail()
	return s
}
