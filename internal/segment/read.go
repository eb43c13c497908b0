package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"holdfast/internal/disk"
	"holdfast/row"
)

// Source is a segment to be read.
type Source struct {
	File    disk.File
	Header  Header
	End     int64                       // nothing behind it is read: the tail's end, or the durable end of an active segment
	Rows    uint64                      // how many rows stand before End
	Index   []IndexEntry                // may be short or nil: reading then starts further in front
	Schemas func(id uint32) *row.Schema // nil: those that the segment defines are enough
}

// Reader reads the blocks of a segment in order. It never stops at damage: it
// names it and goes on with what it can read. Not safe for concurrent use.
type Reader struct {
	src     Source
	win     window
	pos     int64
	chain   uint32 // of the last block with rows
	open    bool   // the transaction goes on behind it
	nextRow uint64 // number of the next row, counted from the segment's first
	from    uint64 // rows below this number are left out
	schemas map[uint32]*row.Schema
	block   row.Block
	values  []row.Value
}

// NewReader returns a reader that starts with the row of number from, counted
// from the segment's first.
func NewReader(src Source, from uint64) *Reader {
	if src.Schemas == nil {
		src.Index = nil // the blocks in front define the schemas
	}
	s := Summary{Index: src.Index}
	r := &Reader{src: src, from: from, chain: src.Header.Before.Chain, schemas: map[uint32]*row.Schema{}}
	r.win = window{f: src.File, end: src.End, stream: true}
	r.pos = s.seek(from)
	for _, e := range src.Index {
		if e.Offset == r.pos {
			r.nextRow = e.FirstRow
		}
	}
	return r
}

// Extend lets the reader go on to a later end, with rows rows before it, of a
// segment that has grown.
func (r *Reader) Extend(end int64, rows uint64) { r.src.End, r.win.end, r.src.Rows = end, end, rows }

// Skip leaves out the rows before number from as well, and does not read them
// where the index tells what stands behind them.
func (r *Reader) Skip(from uint64) {
	r.from = max(r.from, from)
	for _, e := range r.src.Index {
		if e.FirstRow <= from && e.Offset > r.pos {
			r.pos, r.nextRow = e.Offset, e.FirstRow
		}
	}
}

// Close ends what the reader does with the file, which may be closed then. It
// does not close the file.
func (r *Reader) Close() { r.win.close() }

// Offset returns where the next block starts.
func (r *Reader) Offset() int64 { return r.pos }

// Next returns the next block with rows or damage in it, io.EOF at the end.
// The block is valid until the next call. An error other than io.EOF is the
// disk's; the same call may be repeated.
func (r *Reader) Next() (*row.Block, error) {
	for r.pos < r.src.End {
		page, err := r.win.at(r.pos, disk.Align)
		if err != nil {
			return nil, err
		}
		info, perr := parseHead(page, r.src.Header.Identity, r.pos)
		if perr == nil && r.pos+info.padded() > r.src.End {
			perr = fmt.Errorf("block of %d bytes reaches over the segment's end", info.length)
		}
		var b *row.Block
		if perr != nil {
			b, err = r.damagedHead(page, perr)
		} else {
			b, err = r.withHead(info, nil)
		}
		if err != nil || b != nil {
			return b, err
		}
	}
	return nil, io.EOF
}

// Supply hands over a block that the caller still has in memory: all of what
// stands in the file at Offset. It returns nil for a block to be left out.
func (r *Reader) Supply(b []byte) (*row.Block, error) {
	info, err := parseHead(b, r.src.Header.Identity, r.pos)
	if err != nil {
		return nil, err
	}
	if len(b) < info.length {
		return nil, fmt.Errorf("block of %d bytes is cut off after %d", info.length, len(b))
	}
	return r.decode(info, b, info.check(b)), nil
}

// withHead reads the block at pos. why is what was wrong with its header, if
// that was mended.
func (r *Reader) withHead(info blockInfo, why error) (*row.Block, error) {
	b, err := r.win.at(r.pos, int(info.padded()))
	if err != nil {
		return nil, err
	}
	if len(b) < info.length {
		return r.withoutHead(fmt.Errorf("file ends inside the block"))
	}
	if why == nil {
		why = info.check(b)
	}
	return r.decode(info, b, why), nil
}

// damagedHead takes a block with a header that is not as it was written: one
// flipped bit is mended, anything else makes the header unreadable.
func (r *Reader) damagedHead(page []byte, why error) (*row.Block, error) {
	mended := bytes.Clone(page[:min(len(page), blockHead)])
	info, ok := repairHead(mended, r.src.Header.Identity, r.pos)
	if !ok || r.pos+info.padded() > r.src.End {
		return r.withoutHead(why)
	}
	return r.withHead(info, why)
}

// decode takes a block whose header is known. damage is what is wrong with
// the block, nil for a whole one.
func (r *Reader) decode(info blockInfo, b []byte, damage error) *row.Block {
	start := r.pos
	r.pos += info.padded()
	if info.rows == 0 {
		return r.definitions(info, b, start, damage)
	}
	if info.firstRow+uint64(info.rows) <= r.from {
		if damage == nil {
			r.nextRow = info.firstRow + uint64(info.rows)
			r.chain, r.open = info.sum, info.flags&flagOpen != 0
			return nil
		}
	}
	missing := r.begin(info.firstRow, uint64(info.rows), info.sum)
	r.open = info.flags&flagOpen != 0
	r.block.Open = r.open
	r.block.Bytes = info.padded()
	s := salvage{r: r, base: start, salt: r.src.Header.recordSalt(start), received: info.received, first: info.firstRow, rows: info.rows}
	if damage == nil {
		s.covered = true
		s.walk(b[:info.length])
	} else {
		s.search(b[:info.length])
		if len(s.lost) == 0 { // all rows are whole, so it is the header
			r.mendChain(info, b[:info.length])
		}
	}
	s.report(missing, row.Damage{Offset: start, Length: int64(info.length)}, damage)
	return r.finish()
}

// mendChain finds the chain value of a block whose rows are all whole and
// whose header had a flipped bit, perhaps in that very value: it is the
// checksum of the header as it was, and of the rows.
func (r *Reader) mendChain(info blockInfo, b []byte) {
	head := bytes.Clone(b[:blockHead])
	if _, err := parseHead(head, r.src.Header.Identity, info.offset); err != nil {
		repairHead(head, r.src.Header.Identity, info.offset)
	}
	r.chain = crc32.Update(crc32.Checksum(head[8:], castagnoli), castagnoli, b[blockHead:])
	r.block.End.Chain = r.chain
}

// begin empties the reader's block for rows from number first on, and names
// those between the block before and this one as lost.
func (r *Reader) begin(first, rows uint64, sum uint32) (missing row.Damage) {
	base := r.src.Header.FirstSeq
	clear(r.values)
	r.values = r.values[:0]
	if first > r.nextRow {
		missing = row.Damage{First: base + r.nextRow, Last: base + first - 1}
	}
	r.block = row.Block{
		First: base + min(first, r.nextRow),
		End:   row.Position{Seq: base + first + rows - 1, Chain: sum},
		Rows:  r.block.Rows[:0], Damage: nil,
	}
	r.nextRow, r.chain = first+rows, sum
	return missing
}

// finish leaves out what lies before the row asked for.
func (r *Reader) finish() *row.Block {
	want := r.src.Header.FirstSeq + r.from
	if r.block.First >= want {
		return &r.block
	}
	r.block.First = want
	skip := 0
	for skip < len(r.block.Rows) && r.block.Rows[skip].Seq < want {
		skip++
	}
	r.block.Rows = r.block.Rows[skip:]
	kept := r.block.Damage[:0]
	for _, d := range r.block.Damage {
		if d.Last >= want || d.Last == 0 {
			kept = append(kept, d)
		}
	}
	r.block.Damage = kept
	if len(r.block.Rows) == 0 && len(kept) == 0 {
		return nil
	}
	return &r.block
}

// definitions takes a block without rows: schemas, state or nothing.
func (r *Reader) definitions(info blockInfo, b []byte, at int64, damage error) *row.Block {
	eachSchema(b[blockHead:info.length], r.src.Header.recordSalt(at), func(s *row.Schema) {
		s.Stream = r.src.Header.Stream.Name
		r.schemas[s.ID] = s
	})
	if damage == nil {
		return nil
	}
	return r.only(row.Damage{Offset: at, Length: int64(info.length), What: damage.Error()})
}

// only returns a block that holds nothing but damage.
func (r *Reader) only(d row.Damage) *row.Block {
	base := r.src.Header.FirstSeq
	r.block = row.Block{First: base + r.nextRow, End: row.Position{Seq: base + r.nextRow - 1, Chain: r.chain}, Open: r.open, Rows: r.block.Rows[:0]}
	r.damaged(d)
	return &r.block
}

func (r *Reader) damaged(d row.Damage) {
	d.Stream, d.Segment = r.src.Header.Stream.Name, r.src.Header.Number
	r.block.Damage = append(r.block.Damage, d)
}

// withoutHead takes the place of a block whose header is not readable: it
// looks for the next block that has one, and takes what rows it finds before.
func (r *Reader) withoutHead(why error) (*row.Block, error) {
	start := r.pos
	next, err := findHead(&r.win, r.src.Header.Identity, r.pos+disk.Align, r.src.End)
	if err != nil {
		return nil, err
	}
	r.pos = next.offset
	if next.length == 0 { // none: everything up to the end is gone
		next.firstRow = r.src.Rows
	}
	rows := int64(next.firstRow) - int64(r.nextRow)
	if rows <= 0 {
		return r.only(row.Damage{Offset: start, Length: r.pos - start, What: why.Error()}), nil
	}
	n := min(r.pos-start, MaxBlock)
	b, err := r.win.at(start, int(n))
	if err != nil {
		return nil, err
	}
	first := r.nextRow
	r.begin(first, uint64(rows), next.prev)
	r.block.Bytes = r.pos - start
	s := salvage{r: r, base: start, salt: r.src.Header.recordSalt(start), first: first, rows: uint32(min(rows, math.MaxUint32))}
	s.search(b)
	if r.pos-start > disk.Align && (len(r.block.Rows) == 0 || r.block.Rows[len(r.block.Rows)-1].Seq < r.block.End.Seq) {
		// Several headers may be gone, and rows are numbered within their block: only
		// where the last one is found is it sure that all of it was one block.
		clear(r.values)
		r.values, r.block.Rows = r.values[:0], r.block.Rows[:0]
		s.next, s.lost = 0, nil
		s.lose(s.rows, span{0, len(b)}, why.Error())
	}
	if k := len(s.lost); k > 0 && s.lost[k-1].end == start+n { // more than one read takes
		s.lost[k-1].end = r.pos
	}
	for _, found := range r.block.Rows { // what the header said of the transaction, its rows know
		r.open = (r.open || found.Flags&row.TxBegin != 0) && found.Flags&row.TxEnd == 0
	}
	r.block.Open = r.open
	s.report(row.Damage{}, row.Damage{Offset: start, Length: r.pos - start}, why)
	return r.finish(), nil
}

// findHead returns the header of the first block at or behind pos; where there
// is none, a blockInfo of length 0 with offset end.
func findHead(w *window, id Identity, pos, end int64) (blockInfo, error) {
	for ; pos < end; pos += disk.Align {
		page, err := w.at(pos, disk.Align)
		if err != nil {
			return blockInfo{}, err
		}
		if i, err := parseHead(page, id, pos); err == nil {
			return i, nil
		}
	}
	return blockInfo{offset: end}, nil
}

// schema returns the schema of a row, from the blocks read or from the source.
func (r *Reader) schema(id uint32) *row.Schema {
	if s := r.schemas[id]; s != nil {
		return s
	}
	if r.src.Schemas == nil {
		return nil
	}
	s := r.src.Schemas(id)
	if s != nil {
		r.schemas[id] = s
	}
	return s
}

// salvage takes the rows out of one block, whole or damaged.
type salvage struct {
	r        *Reader
	base     int64 // the block's offset
	salt     uint32
	received int64
	first    uint64 // number of the block's first row
	rows     uint32
	next     uint32 // index of the next row
	covered  bool   // the block's checksum is right: those of its records need not be looked at
	lost     []lost
}

// lost is a run of rows that cannot be read.
type lost struct {
	from, to uint32 // indexes, to excluded
	at, end  int64  // offsets: where the first would start, and where what is readable goes on
	why      string
}

// walk reads the records of a block whose checksum is right.
func (s *salvage) walk(b []byte) {
	at := blockHead
	for at < len(b) && s.next < s.rows {
		n, err := row.Length(b[at:])
		if err == nil {
			err = s.take(b[at : at+n])
		}
		if err != nil {
			s.lose(s.next+1, span{at, at + max(n, row.RecordHead)}, err.Error())
		}
		if n == 0 {
			break
		}
		at += n
	}
	if s.next < s.rows {
		s.lose(s.rows, span{at, len(b)}, "block has fewer rows than its header says")
	}
}

// search reads what records it can find in a damaged block. A record that does
// not check out is stepped over byte by byte, because its length may be what
// is damaged; the index under each record's checksum says which row it is.
func (s *salvage) search(b []byte) {
	at, from := blockHead, blockHead
	why := ""
	for at+row.RecordHead <= len(b) && s.next < s.rows {
		n, err := row.Length(b[at:])
		if err == nil {
			index := binary.LittleEndian.Uint32(b[at+4:])
			if index < s.next || index >= s.rows {
				err = fmt.Errorf("record says that it is row %d of the block", index)
			} else if _, err = row.Parse(b[at:at+n], s.salt); err == nil {
				if index > s.next {
					s.lose(index, span{from, at}, why)
				}
				if err = s.take(b[at : at+n]); err != nil {
					s.lose(index+1, span{at, at + n}, err.Error())
				}
				at += n
				from, why = at, ""
				continue
			}
		}
		if why == "" {
			why = err.Error()
		}
		at++
	}
	if s.next < s.rows {
		s.lose(s.rows, span{from, len(b)}, why)
	}
}

// take decodes one record as row number next.
func (s *salvage) take(rec []byte) error {
	p, err := s.parse(rec)
	if err != nil {
		return err
	}
	if p.Kind != row.KindRow || p.Index != s.next {
		return fmt.Errorf("record is row %d of the block, not %d", p.Index, s.next)
	}
	sc := s.r.schema(p.Schema)
	if sc == nil || len(sc.Columns) != p.Len() {
		return fmt.Errorf("schema %d of the row is not readable", p.Schema)
	}
	r := s.r
	from := len(r.values)
	r.values = p.AppendValues(r.values)
	r.block.Rows = append(r.block.Rows, row.Row{
		Seq: r.src.Header.FirstSeq + s.first + uint64(s.next), Received: s.received, Flags: p.Flags,
		Schema: sc, Values: r.values[from:len(r.values):len(r.values)],
	})
	s.next++
	return nil
}

// parse opens a record. Its own checksum counts where the block's does not.
func (s *salvage) parse(rec []byte) (row.Record, error) {
	if s.covered {
		return row.ParseCovered(rec)
	}
	return row.Parse(rec, s.salt)
}

// span is a stretch of a block, in bytes.
type span struct{ from, to int }

func (s *salvage) lose(to uint32, where span, why string) {
	s.lost = append(s.lost, lost{from: s.next, to: to, at: s.base + int64(where.from), end: s.base + int64(where.to), why: why})
	s.next = to
}

// report puts damage into the block: missing rows in front of it, those lost
// in it, and, where no row was, the block's own damage.
func (s *salvage) report(missing, block row.Damage, why error) {
	if missing.First != 0 {
		missing.Offset, missing.What = block.Offset, "rows before this block are missing"
		s.r.damaged(missing)
	}
	base := s.r.src.Header.FirstSeq + s.first
	for _, l := range s.lost {
		if l.why == "" && why != nil { // not a byte of it is there
			l.why = why.Error()
		}
		s.r.damaged(row.Damage{Offset: l.at, Length: l.end - l.at, First: base + uint64(l.from), Last: base + uint64(l.to) - 1, What: l.why})
	}
	if why != nil && len(s.lost) == 0 {
		block.What = why.Error()
		s.r.damaged(block)
	}
}
