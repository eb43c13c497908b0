package index

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"holdfast/internal/disk"
	"holdfast/internal/where"
	"holdfast/row"
)

// mostEntries is how many entries are held in memory: 4 MiB. What is more goes
// to a file beside, in sorted runs.
const mostEntries = 512 << 10

// builder makes the slice of one segment from its rows, in order. It holds no
// row, and no more than mostEntries entries and the zones.
type builder struct {
	meta     meta
	grain    int64 // bytes of a granule
	filled   int64 // of the current one
	seeds    []where.Seed
	bySchema map[*row.Schema][]field
	last     *row.Schema
	fields   []field // of last
	entries  []uint64
	most     int
	runs     *runs
	total    int // entries in runs
	key      where.Key
}

// field is a column of a schema that is in a section.
type field struct {
	at      int // in the row
	section int
}

// newBuilder returns a builder for a segment. Runs go where r says.
func newBuilder(stream string, s Segment, columns []string, r *runs) *builder {
	b := &builder{grain: max(granuleBytes, s.End/mostGranules), most: mostEntries, bySchema: map[*row.Schema][]field{}, runs: r}
	b.meta.head = head{Stream: stream, Number: s.Number, First: s.First, Last: s.Last, End: s.End, Chain: s.Chain, Columns: columns, Sections: []section{}}
	return b
}

// errDamagedRows says that a segment has rows that nobody can read: no slice
// may say where they are not.
var errDamagedRows = fmt.Errorf("the segment is damaged")

// add takes a block.
func (b *builder) add(block *row.Block) error {
	if len(block.Damage) > 0 {
		return errDamagedRows
	}
	for i := range block.Rows {
		r := &block.Rows[i]
		if len(b.meta.granules) == 0 || b.filled >= b.grain && len(b.meta.granules) < mostGranules {
			b.begin(uint32(r.Seq - b.meta.First))
		}
		g := &b.meta.granules[len(b.meta.granules)-1]
		g.last = max(g.last, r.Received)
		if r.Flags&(row.Malformed|row.State) != 0 {
			continue // no condition matches them
		}
		if err := b.row(r); err != nil {
			return err
		}
	}
	b.filled += block.Bytes
	return nil
}

// begin begins a granule.
func (b *builder) begin(first uint32) {
	b.meta.granules = append(b.meta.granules, granule{first, math.MinInt64})
	b.filled = 0
	for i := range b.meta.zones {
		b.meta.zones[i] = appendNothing(b.meta.zones[i], b.meta.Sections[i].Kind)
	}
}

// appendNothing appends the zone of a granule without values: its lowest key is
// above its highest.
func appendNothing(zone []byte, k where.Kind) []byte {
	n := k.KeyLen()
	return append(append(zone, bytes.Repeat([]byte{0xff}, n)...), make([]byte, n)...)
}

func (b *builder) row(r *row.Row) error {
	if r.Schema != b.last {
		b.learn(r.Schema)
	}
	at := uint64(len(b.meta.granules) - 1)
	for _, f := range b.fields {
		if f.at >= len(r.Values) || r.Values[f.at].Null {
			continue
		}
		text, kind := r.Values[f.at].Text, b.meta.Sections[f.section].Kind
		key, ok := kind.AppendKey(b.key[:0], text)
		b.key = key
		if !ok {
			continue // no comparison holds of it
		}
		n := len(key)
		zone := b.meta.zones[f.section]
		zone = zone[len(zone)-2*n:]
		if bytes.Compare(key, zone[:n]) < 0 {
			copy(zone[:n], key)
		}
		if bytes.Compare(key, zone[n:]) > 0 {
			copy(zone[n:], key)
		}
		digest := b.seeds[f.section].Digest(kind, text, key)
		b.entries = append(b.entries, digest>>granuleBits<<granuleBits|at)
	}
	if len(b.entries) < b.most {
		return nil
	}
	return b.spill()
}

// learn finds the columns of a schema.
func (b *builder) learn(s *row.Schema) {
	fields, known := b.bySchema[s]
	if !known {
		for i, c := range s.Columns {
			if !slices.Contains(b.meta.Columns, c.Name) {
				continue
			}
			kind, _ := where.KindOf(c.Type)
			if n := b.section(section{s.Table, c.Name, kind}); n >= 0 {
				fields = append(fields, field{i, n})
			}
		}
		b.bySchema[s] = fields
	}
	b.last, b.fields = s, fields
}

// section returns the number of a section, -1 where it is left out.
func (b *builder) section(s section) int {
	if i := slices.Index(b.meta.Sections, s); i >= 0 {
		return i
	}
	if len(b.meta.Sections) >= mostSections {
		if !slices.Contains(b.meta.LeftOut, s) && len(b.meta.LeftOut) <= mostSections {
			b.meta.LeftOut = append(b.meta.LeftOut, s)
		}
		return -1
	}
	b.meta.Sections = append(b.meta.Sections, s)
	b.seeds = append(b.seeds, where.Prefix(s.Table, s.Column, s.Kind))
	var zone []byte
	for range b.meta.granules {
		zone = appendNothing(zone, s.Kind)
	}
	b.meta.zones = append(b.meta.zones, zone)
	return len(b.meta.Sections) - 1
}

// compact sorts the entries in memory and removes those that are there twice.
func (b *builder) compact() {
	slices.Sort(b.entries)
	b.entries = slices.Compact(b.entries)
}

// spill makes room in memory: most entries are there many times, or else go to
// a run.
func (b *builder) spill() error {
	b.compact()
	if len(b.entries) <= b.most/2 {
		return nil
	}
	b.total += len(b.entries)
	err := b.runs.write(b.entries)
	b.entries = b.entries[:0]
	return err
}

// bound returns an upper bound of the slice's size, when all rows are in.
func (b *builder) bound() int64 {
	b.compact()
	pages := (b.total+len(b.entries))/pageEntries + 1
	size := 8<<10 + granuleSize*len(b.meta.granules) + 8*pages
	for i, s := range b.meta.Sections {
		size += len(b.meta.zones[i]) + len(s.Table) + len(s.Column) + 100
	}
	for _, s := range b.meta.LeftOut {
		size += len(s.Table) + len(s.Column) + 100
	}
	for _, c := range b.meta.Columns {
		size += 6*len(c) + 10
	}
	return int64(pages)*disk.Align + int64(disk.Up(size)) + disk.Align
}

// write writes the slice to a new file, and returns its size.
func (b *builder) write(f disk.File) (int64, error) {
	b.meta.Granules = len(b.meta.granules)
	w := &pageWriter{f: f, m: &b.meta, buf: disk.Buffer(64 * disk.Align)}
	err := b.runs.merge(b.entries, w.add)
	if err == nil {
		err = w.page()
	}
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		return 0, err
	}
	end, err := b.meta.encode(w.off)
	if err != nil {
		return 0, err
	}
	if err = f.WriteAt(end, w.off); err == nil {
		err = f.Sync()
	}
	return w.off + int64(len(end)), err
}

// pageWriter writes entries, which come in order.
type pageWriter struct {
	f       disk.File
	m       *meta
	entries [pageEntries]uint64
	n       int
	last    uint64
	buf     []byte
	filled  int
	off     int64
}

func (w *pageWriter) add(e uint64) error {
	if e == w.last && w.m.Entries > 0 {
		return nil // it was in two runs
	}
	w.last = e
	w.m.Entries++
	w.entries[w.n] = e
	if w.n++; w.n < pageEntries {
		return nil
	}
	return w.page()
}

// page ends a page.
func (w *pageWriter) page() error {
	if w.n == 0 {
		return nil
	}
	w.m.directory = append(w.m.directory, w.entries[0])
	putPage(w.buf[w.filled:w.filled+disk.Align], w.m.Pages, w.entries[:w.n])
	w.n = 0
	w.m.Pages++
	if w.filled += disk.Align; w.filled < len(w.buf) {
		return nil
	}
	return w.flush()
}

func (w *pageWriter) flush() error {
	if w.filled == 0 {
		return nil
	}
	err := w.f.WriteAt(w.buf[:w.filled], w.off)
	w.off += int64(w.filled)
	w.filled = 0
	return err
}
