package segment

import (
	"encoding/binary"
	"io"
	"testing"

	"holdfast/internal/disk"
	"holdfast/row"
)

// seeds are pieces of a sealed segment, behind its header.
func seeds(f *testing.F) {
	_, _, content := sealed(f)
	body := content[DataStart:]
	f.Add(body, false)
	f.Add(body[:3*disk.Align], true)
	f.Add(body[disk.Align:], true)
	f.Add([]byte{}, false)
}

// damaged returns a file with a good header and body behind it. With fix, the
// checksums of what looks like blocks are made right, to get past them.
func damaged(t *testing.T, body []byte, fix bool) disk.File {
	s := write(t, 0)
	buf := disk.Buffer(len(body))
	copy(buf, body)
	for at := 0; fix && at < len(buf); at += disk.Align {
		b := buf[at:]
		if n := binary.LittleEndian.Uint32(b[8:]); binary.LittleEndian.Uint32(b) == blockMagic {
			binary.LittleEndian.PutUint64(b[40:], header().Epoch)
			binary.LittleEndian.PutUint64(b[48:], header().Serial)
			binary.LittleEndian.PutUint64(b[56:], uint64(DataStart+at))
			binary.LittleEndian.PutUint32(b[12:], headSum(b))
			if int(n) >= blockHead && int(n) <= len(b) {
				binary.LittleEndian.PutUint32(b[4:], crcOf(b[8:n]))
			}
		}
	}
	ok(t, s.f.WriteAt(buf, DataStart))
	ok(t, s.f.Truncate(DataStart+int64(len(body))))
	return s.f
}

// FuzzRecover holds that no bytes make recovery panic, or find more than there
// is.
func FuzzRecover(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte, fix bool) {
		file := damaged(t, body, fix)
		size := int64(DataStart + disk.Up(len(body)))
		for _, end := range []int64{0, size} {
			r, err := Recover(file, header(), end, nil)
			ok(t, err)
			if r.Summary.Tail.End > size || r.Summary.Tail.End < DataStart || r.Cut < 0 || r.Summary.Tail.End+r.Cut > size {
				t.Fatalf("recovered up to %d, cut %d, of %d bytes", r.Summary.Tail.End, r.Cut, size)
			}
			again, err := Recover(file, header(), end, nil)
			ok(t, err)
			if again.Summary.Tail != r.Summary.Tail || again.Cut != r.Cut || len(again.Damage) != len(r.Damage) {
				t.Fatalf("recovering twice gives %+v and %+v", r, again)
			}
		}
	})
}

// FuzzReader holds that no bytes make a reader panic, or return more than
// there can be.
func FuzzReader(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte, fix bool) {
		file := damaged(t, body, fix)
		src := Source{File: file, Header: header(), End: int64(DataStart + disk.Up(len(body))), Rows: 11}
		r := NewReader(src, 0)
		rows := 0
		for {
			b, err := r.Next()
			if err == io.EOF {
				break
			}
			ok(t, err)
			rows += len(b.Rows)
			for _, got := range b.Rows {
				if len(got.Values) != len(got.Schema.Columns) {
					t.Fatalf("row %d has %d values for %d columns", got.Seq, len(got.Values), len(got.Schema.Columns))
				}
			}
		}
		if rows > len(body)/row.RecordHead {
			t.Fatalf("%d rows in %d bytes", rows, len(body))
		}
		if _, err := Verify(src, nil, func(row.Damage) {}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzFooter holds that no end of a file makes a footer panic, or be read
// where there is none.
func FuzzFooter(f *testing.F) {
	_, _, content := sealed(f)
	f.Add(content[len(content)-disk.Align:])
	f.Add(make([]byte, disk.Align))
	f.Fuzz(func(t *testing.T, end []byte) {
		s := write(t, 0)
		if len(end) < disk.Align {
			return
		}
		end = end[len(end)&(disk.Align-1):]
		putTrailer(end[len(end)-trailerSize:], trailerMagic, DataStart, end[:max(len(end)-trailerSize-int(end[0]), 0)])
		buf := disk.Buffer(len(end))
		copy(buf, end)
		ok(t, s.f.WriteAt(buf, DataStart))
		if sum, isSealed, err := ReadFooter(s.f); err == nil && (!isSealed || sum.Tail.End != DataStart) {
			t.Fatalf("footer says %+v", sum.Tail)
		}
	})
}
