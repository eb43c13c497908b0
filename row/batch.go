package row

import (
	"encoding/binary"
	"fmt"
)

// Batch is encoded rows on their way into a stream: what one writer commits
// together. The zero Batch is empty and ready. It is not safe for concurrent
// use.
type Batch struct {
	buf     []byte
	rows    int
	last    int // where the last record starts
	schemas []*Schema
	ids     map[uint32]struct{} // made once schemas is too long to search
}

// fewSchemas is up to how many schemas a linear search beats a map.
const fewSchemas = 8

// Add encodes one row of s at the end of the batch. It copies the values.
func (b *Batch) Add(s *Schema, flags Flags, values []Value) error {
	if len(values) != len(s.Columns) {
		return fmt.Errorf("add row to %q: %d values for %d columns", s.Table, len(values), len(s.Columns))
	}
	if len(values) > MaxValues {
		return fmt.Errorf("add row to %q: %d values, more than %d", s.Table, len(values), MaxValues)
	}
	if n := Size(values); n > MaxBytes {
		return fmt.Errorf("add row to %q: the row takes %d bytes, more than %d", s.Table, n, MaxBytes)
	}
	b.use(s)
	b.last = len(b.buf)
	b.buf = AppendRecord(b.buf, KindRow, s.ID, flags, values)
	b.rows++
	return nil
}

// use notes that the batch needs s.
func (b *Batch) use(s *Schema) {
	if b.ids != nil {
		if _, ok := b.ids[s.ID]; ok {
			return
		}
		b.ids[s.ID] = struct{}{}
		b.schemas = append(b.schemas, s)
		return
	}
	for _, have := range b.schemas {
		if have.ID == s.ID {
			return
		}
	}
	b.schemas = append(b.schemas, s)
	if len(b.schemas) > fewSchemas {
		b.ids = make(map[uint32]struct{}, 2*fewSchemas)
		for _, have := range b.schemas {
			b.ids[have.ID] = struct{}{}
		}
	}
}

// MarkLast adds flags to the row added last.
func (b *Batch) MarkLast(flags Flags) {
	if b.rows > 0 {
		setFlags(b.buf[b.last:], flags)
	}
}

// Cut drops the rows behind the first n. A row that is the only one left begins
// and ends no transaction of several.
func (b *Batch) Cut(n int) {
	if n >= b.rows {
		return
	}
	at := 0
	for range n {
		b.last = at
		at += int(binary.LittleEndian.Uint32(b.buf[at:])) // AppendRecord made it
	}
	b.buf, b.rows = b.buf[:at], n
	if n == 1 {
		clearFlags(b.buf, TxBegin|TxEnd)
	}
}

// Rows returns how many rows are in the batch.
func (b *Batch) Rows() int { return b.rows }

// Len returns how many bytes the rows take.
func (b *Batch) Len() int { return len(b.buf) }

// Bytes returns the records, one behind the other, with index 0.
func (b *Batch) Bytes() []byte { return b.buf }

// Schemas returns the schemas of the rows, each once.
func (b *Batch) Schemas() []*Schema { return b.schemas }

// keepBuffer is the largest buffer that an emptied Batch keeps for its next
// use, so that one large transaction does not hold memory for ever.
const keepBuffer = 256 << 10

// Reset empties the batch for its next use.
func (b *Batch) Reset() {
	if cap(b.buf) > keepBuffer {
		b.buf = nil
	}
	b.buf = b.buf[:0]
	b.rows, b.last = 0, 0
	clear(b.schemas)
	b.schemas = b.schemas[:0]
	b.ids = nil
}
