package segment

import (
	"io"

	"holdfast/internal/disk"
)

// readAhead is how much a window fetches at once, in bytes: enough to keep a
// disk streaming, little enough for many readers.
const readAhead = 512 << 10

// window is a sliding view of a file, read in aligned pieces.
type window struct {
	f   disk.File
	end int64 // nothing is read from here on; aligned
	buf []byte
	off int64
	n   int
}

// at returns n bytes at off, which is aligned; fewer where the file, or end,
// comes first. They are valid until the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off >= w.off && off+int64(n) <= w.off+int64(w.n) {
		return w.buf[off-w.off:][:n], nil
	}
	want := int(min(max(int64(disk.Up(n)), readAhead), w.end-off))
	if want <= 0 {
		return nil, nil
	}
	if len(w.buf) < want || len(w.buf) > readAhead && want <= readAhead {
		w.buf = disk.Buffer(max(want, min(readAhead, int(w.end))))
	}
	got, err := w.f.ReadAt(w.buf[:want], off)
	if err == io.EOF {
		err = nil
	}
	w.off, w.n = off, got
	return w.buf[:min(n, got)], err
}
