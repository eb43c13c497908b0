package row

import "encoding/binary"

// Drop removes rows, given by their number from 0 in rising order. The first
// and the last of those that are left are marked as MarkFirst and MarkLast
// would, as far as they are first and last of a transaction of several rows
// that is in the batch as a whole; of a single one, no mark is left.
func (b *Batch) Drop(rows []int) {
	out, at, left := b.buf[:0], 0, 0
	for i := range b.rows {
		rec := b.buf[at : at+int(binary.LittleEndian.Uint32(b.buf[at:]))] // AppendRecord made it
		at += len(rec)
		if len(rows) > 0 && rows[0] == i {
			rows = rows[1:]
			continue
		}
		b.last = len(out)
		out = append(out, rec...)
		left++
	}
	b.buf, b.rows = out, left
	if left == 0 {
		b.last = 0
		return
	}
	clearFlags(b.buf[b.last:], TxBegin|TxEnd)
	if left > 1 {
		b.MarkFirst(TxBegin)
	} else {
		clearFlags(b.buf, TxBegin|TxEnd)
	}
}

// MarkFirst adds flags to the first row.
func (b *Batch) MarkFirst(flags Flags) {
	if b.rows > 0 {
		setFlags(b.buf[:binary.LittleEndian.Uint32(b.buf)], flags)
	}
}
