package segment

import (
	"io"

	"holdfast/internal/disk"
)

const (
	// readAhead is how much a window fetches at once, in bytes: enough to keep a
	// disk streaming, little enough for many readers.
	readAhead = 1 << 20
	// readDepth is how many pieces are on their way while one is worked on: with
	// one alone the disk rests from the end of each to the next request.
	readDepth = 2
	// readMargin is the room in front of each piece, for what is left of the one
	// before: a block that begins there and ends here is then in one place. It
	// holds the blocks that writers share.
	readMargin = Target
)

// window is a sliding view of a file, read in aligned pieces.
type window struct {
	f      disk.File
	end    int64  // nothing is read from here on; aligned
	view   []byte // the file's bytes from off on; whole pages, except at the file's end
	off    int64
	stream bool     // fetch the next pieces while this one is worked on
	ahead  []*piece // being fetched, in the file's order, one behind the other
	held   []byte   // the buffer that view lies in
	spare  [][]byte // buffers of pieces that nobody uses
}

// piece is what is fetched ahead. The goroutine that fills it owns it until
// done is closed.
type piece struct {
	off  int64
	buf  []byte // readMargin bytes of room, and then the file's
	n    int    // bytes that were read
	size int    // bytes that were asked for
	err  error
	done chan struct{}
}

// at returns n bytes at off, which is aligned; fewer where the file, or end,
// comes first. They are valid until the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off >= w.off && off+int64(n) <= w.off+int64(len(w.view)) {
		return w.view[off-w.off:][:n], nil
	}
	want := int(min(int64(n), w.end-off))
	if want <= 0 {
		return nil, nil
	}
	onward := off > 0 && off >= w.off && off <= w.off+int64(len(w.view))
	w.slide(off)
	for len(w.view) < want && w.join(want) {
	}
	var err error
	if len(w.view) < want {
		err = w.read(want)
	}
	if w.stream && onward && err == nil && len(w.view)%disk.Align == 0 {
		w.fetch()
	}
	return w.view[:min(n, len(w.view))], err
}

// slide makes the view begin at off, with what is there of it: whole pages.
func (w *window) slide(off int64) {
	skip := off - w.off
	whole := int64(len(w.view) &^ (disk.Align - 1))
	w.off = off
	if skip < 0 || skip >= whole {
		w.view = w.view[:0]
		return
	}
	w.view = w.view[skip:whole]
}

// join puts the piece fetched next behind the view, and returns false where
// there is none that fits. What failed is read again, and the error met again,
// where it is needed.
func (w *window) join(want int) bool {
	if len(w.ahead) == 0 {
		return false
	}
	p := w.ahead[0]
	<-p.done
	got := p.buf[readMargin:][:p.n&^(disk.Align-1)]
	if p.off != w.off+int64(len(w.view)) || p.err != nil && p.err != io.EOF || len(got) == 0 {
		w.drop()
		return false
	}
	w.ahead = w.ahead[1:]
	if len(w.view) > readMargin { // a large block: it is put together elsewhere
		w.grow(max(want+readAhead, len(w.view)+len(got)))
		w.view = append(w.view, got...)
		w.release(p.buf)
	} else {
		start := readMargin - len(w.view)
		copy(p.buf[start:], w.view)
		w.release(w.held)
		w.held, w.view = p.buf, p.buf[start:readMargin+len(got)]
	}
	if w.stream {
		w.fetch() // so that the disk does not rest until the piece is used up
	}
	return true
}

// read fills the view up with want bytes or more, from the file.
func (w *window) read(want int) error {
	w.drop()
	have := len(w.view)
	size := int(min(max(int64(disk.Up(want)), readAhead), w.end-w.off))
	w.grow(size)
	n, err := w.f.ReadAt(w.view[have:size], w.off+int64(have))
	w.view = w.view[:have+n]
	if err == io.EOF {
		err = nil
	}
	return err
}

// grow makes sure that the view can have size bytes.
func (w *window) grow(size int) {
	if cap(w.view) >= size {
		return
	}
	bigger := disk.Buffer(size)
	n := copy(bigger, w.view)
	w.release(w.held)
	w.held, w.view = bigger, bigger[:n]
}

// fetch asks for the pieces behind the view and behind those that are on their
// way.
func (w *window) fetch() {
	for len(w.ahead) < readDepth {
		from := w.off + int64(len(w.view))
		if n := len(w.ahead); n > 0 {
			from = w.ahead[n-1].off + int64(w.ahead[n-1].size)
		}
		size := int(min(readAhead, w.end-from))
		if size <= 0 {
			return
		}
		p := &piece{off: from, buf: w.buffer(readMargin + size), size: size, done: make(chan struct{})}
		w.ahead = append(w.ahead, p)
		f := w.f
		go func() {
			defer close(p.done)
			p.n, p.err = f.ReadAt(p.buf[readMargin:][:p.size], p.off)
		}()
	}
}

// buffer returns one for a piece, of n bytes or more.
func (w *window) buffer(n int) []byte {
	if last := len(w.spare) - 1; last >= 0 {
		b := w.spare[last]
		w.spare = w.spare[:last]
		if len(b) >= n {
			return b
		}
	}
	return disk.Buffer(n)
}

// release keeps a buffer for a piece to come. One for a large block is given up.
func (w *window) release(b []byte) {
	if len(b) > 0 && len(b) <= readMargin+readAhead && len(w.spare) <= readDepth {
		w.spare = append(w.spare, b)
	}
}

// drop waits for what is being fetched, and forgets it.
func (w *window) drop() {
	for _, p := range w.ahead {
		<-p.done
		w.release(p.buf)
	}
	w.ahead = w.ahead[:0]
}

// close ends what is being fetched: the file may be closed then.
func (w *window) close() { w.drop() }
