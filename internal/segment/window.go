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
	f      disk.File
	end    int64 // nothing is read from here on; aligned
	buf    []byte
	off    int64
	n      int
	stream bool      // fetch the next piece while this one is worked on
	next   *piece    // being fetched; nil: none
	bufs   [2][]byte // of pieces, used in turn: one is fetched while the other is copied
	turn   int
}

// piece is what is fetched ahead. The goroutine that fills it owns it until
// done is closed.
type piece struct {
	off  int64
	buf  []byte
	n    int
	err  error
	done chan struct{}
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
	onward := off > 0 && off >= w.off && off <= w.off+int64(w.n)
	have := w.keep(off, want)
	var err error
	if have < n && have < want {
		var got int
		got, err = w.f.ReadAt(w.buf[have:want], off+int64(have))
		have += got
	}
	if err == io.EOF {
		err = nil
	}
	w.off, w.n = off, have
	if w.stream && onward && err == nil && w.next == nil && w.n%disk.Align == 0 {
		w.fetch(w.off + int64(w.n))
	}
	return w.buf[:min(n, w.n)], err
}

// keep makes room for want bytes, and moves what is in memory already from off
// on to the front: as far as it is whole pages, and what was fetched ahead. It
// returns how much that is.
func (w *window) keep(off int64, want int) int {
	var rest []byte
	if off >= w.off && off < w.off+int64(w.n) {
		rest = w.buf[off-w.off : w.n&^(disk.Align-1)]
	}
	ahead := w.fetched(off + int64(len(rest)))
	size := max(want, len(rest)+len(ahead), min(readAhead, int(disk.Up(w.end))))
	if len(w.buf) < size || len(w.buf) > 2*readAhead && size <= 2*readAhead {
		bigger := disk.Buffer(size)
		copy(bigger, rest)
		w.buf = bigger
	} else {
		copy(w.buf, rest)
	}
	return len(rest) + copy(w.buf[len(rest):], ahead)
}

// fetch begins to read from an offset on, which is aligned.
func (w *window) fetch(from int64) {
	size := min(readAhead, w.end-from)
	if size <= 0 {
		return
	}
	if int64(len(w.bufs[w.turn])) < size {
		w.bufs[w.turn] = disk.Buffer(int(size))
	}
	p := &piece{off: from, buf: w.bufs[w.turn], done: make(chan struct{})}
	w.next, w.turn = p, 1-w.turn
	f := w.f
	go func() {
		defer close(p.done)
		p.n, p.err = f.ReadAt(p.buf[:size], from)
	}()
}

// fetched waits for what is being fetched and returns it where it starts at
// off; whole pages only. It is valid until the fetch after the next, which
// begins here, so that the disk does not wait until the piece is taken.
func (w *window) fetched(off int64) []byte {
	p := w.next
	if p == nil {
		return nil
	}
	<-p.done
	w.next = nil
	if p.off != off || p.err != nil && p.err != io.EOF {
		return nil // it is read again, and the error met again, where it is needed
	}
	got := p.buf[:p.n&^(disk.Align-1)]
	w.fetch(off + int64(len(got)))
	return got
}

// close waits for what is being fetched: the file may be closed then.
func (w *window) close() {
	if w.next != nil {
		<-w.next.done
		w.next = nil
	}
}
