package journal

import (
	"testing"
)

// BenchmarkRead reads a segment and more back from the disk, every checksum
// verified.
func BenchmarkRead(b *testing.B) {
	j := open(b, real(b), Options{})
	defer closeJournal(b, j)
	var vs []string
	for range 1000 {
		vs = append(vs, string(make([]byte, 180)))
	}
	rows := batch(b, j, vs...)
	total := int64(0)
	for range 512 {
		must(j.Append(b.Context(), rows, true))
		total += int64(rows.Len())
	}
	b.SetBytes(total)
	b.ReportAllocs()
	for b.Loop() {
		r := must(j.Reader(1))
		n := 0
		for {
			blk, err := r.TryNext()
			if err != nil {
				b.Fatal(err)
			}
			if blk == nil {
				break
			}
			n += len(blk.Rows)
		}
		if n != 512_000 {
			b.Fatal(n)
		}
		_ = r.Close()
	}
}
