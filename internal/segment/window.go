package segment

import (
	"io"

	"holdfast/internal/disk"
)

// readAhead is how much a window fetches at once, in bytes: enough to keep a
// disk streaming, little enough for many readers.
const readAhead = 1 << 20

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
	have := w.keep(off, want)
	got, err := w.f.ReadAt(w.buf[have:want], off+int64(have))
	if err == io.EOF {
		err = nil
	}
	w.off, w.n = off, have+got
	return w.buf[:min(n, w.n)], err
}

// keep makes room for want bytes, and moves what is in memory already from off
// on to the front, as far as it is whole pages. It returns how much that is.
func (w *window) keep(off int64, want int) int {
	var rest []byte
	if off >= w.off && off < w.off+int64(w.n) {
		rest = w.buf[off-w.off : w.n&^(disk.Align-1)]
	}
	if len(w.buf) < want || len(w.buf) > readAhead && want <= readAhead {
		w.buf = disk.Buffer(max(want, min(readAhead, int(disk.Up(w.end)))))
	}
	return copy(w.buf[:want], rest)
}
