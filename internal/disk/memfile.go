package disk

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"syscall"
	"unsafe"
)

// sector is the grain in which a disk writes: all of it gets there, or none.
const sector = 512

// page is Align bytes of a file. It is never changed once it is in an image,
// so that images share pages.
type page [Align]byte

// zeroPage stands for every page of zeros: files that are made ready for use
// are full of them.
var zeroPage = new(page)

// image is the content of a file. Pages that are missing are zero, and
// everything behind size is.
type image struct {
	size   int64
	pages  map[int64]*page // by number
	shared bool            // with a clone: copied before it is changed
}

// clone returns a copy, which costs nothing until one of the two is changed.
func (i *image) clone() image {
	i.shared = true
	return *i
}

// own makes sure that no other image sees what is done to the pages.
func (i *image) own() {
	if i.shared || i.pages == nil {
		i.pages, i.shared = maps.Clone(i.pages), false
	}
	if i.pages == nil {
		i.pages = map[int64]*page{}
	}
}

// read fills p from off on, whether within size or not.
func (i *image) read(p []byte, off int64) {
	for len(p) > 0 {
		within := int(off % Align)
		n := min(len(p), Align-within)
		if pg := i.pages[off/Align]; pg != nil {
			copy(p[:n], pg[within:])
		} else {
			clear(p[:n])
		}
		p, off = p[n:], off+int64(n)
	}
}

// write puts p at off. It leaves size alone.
func (i *image) write(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	i.own()
	for len(p) > 0 {
		within := int(off % Align)
		n := min(len(p), Align-within)
		pg := zeroPage
		if n < Align || !bytes.Equal(p[:n], zeroPage[:]) {
			pg = new(page)
			if old := i.pages[off/Align]; old != nil && n < Align {
				*pg = *old
			}
			copy(pg[within:], p[:n])
		}
		i.pages[off/Align] = pg
		p, off = p[n:], off+int64(n)
	}
}

// cut makes everything from size on zero.
func (i *image) cut(size int64) {
	var over []int64
	for number := range i.pages {
		if number*Align >= size {
			over = append(over, number)
		}
	}
	if over != nil {
		i.own()
	}
	for _, number := range over {
		delete(i.pages, number)
	}
	if within := size % Align; within != 0 && i.pages[size/Align] != nil {
		i.write(make([]byte, Align-within), size)
	}
	i.size = size
}

// change is one unflushed write or truncation.
type change struct {
	cut  bool
	off  int64
	data []byte
	size int64 // of the file behind it
}

// apply carries the change out.
func (c *change) apply(i *image) {
	if c.cut {
		i.cut(c.size)
		return
	}
	i.write(c.data, c.off)
	i.size = c.size
}

// memFile is a descriptor of a file of a Mem.
type memFile struct {
	d      *memory
	n      *node
	name   string
	write  bool
	closed bool
}

// ReadAt implements File.
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.check("read", p, off, false); err != nil {
		return 0, err
	}
	n := int(max(min(int64(len(p)), f.n.seen.size-off), 0))
	f.n.seen.read(p[:n], off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// check refuses what a real descriptor would refuse.
func (f *memFile) check(op string, p []byte, off int64, write bool) error {
	switch {
	case f.closed:
		return fail(op, f.name, fs.ErrClosed)
	case write && !f.write:
		return fail(op, f.name, syscall.EBADF)
	case off < 0 || off%Align != 0 || len(p)%Align != 0,
		len(p) > 0 && uintptr(unsafe.Pointer(&p[0]))%Align != 0:
		return fail(op, f.name, syscall.EINVAL)
	}
	return nil
}

// WriteAt implements File.
func (f *memFile) WriteAt(p []byte, off int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.check("write", p, off, true); err != nil {
		return err
	}
	return f.put(p, off)
}

// put writes what of p there is room for.
func (f *memFile) put(p []byte, off int64) error {
	n := f.n
	var err error
	if room := f.d.maxPages - f.d.pages; f.d.maxPages != 0 {
		for at := range len(p) / Align {
			if n.seen.pages[off/Align+int64(at)] != nil {
				continue
			}
			if room--; room < 0 {
				p, err = p[:at*Align], fail("write", f.name, syscall.ENOSPC)
				break
			}
		}
	}
	if len(p) == 0 {
		return err
	}
	had := len(n.seen.pages)
	c := change{off: off, data: append([]byte(nil), p...), size: max(n.seen.size, off+int64(len(p)))}
	c.apply(&n.seen)
	n.pending = append(n.pending, c)
	f.d.pages += int64(len(n.seen.pages) - had)
	return err
}

// WriteSyncAt implements File. It covers its own range, and the size where
// the range could not be read without it.
func (f *memFile) WriteSyncAt(p []byte, off int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.check("write and flush", p, off, true); err != nil {
		return err
	}
	if err := f.put(p, off); err != nil {
		return err
	}
	n, end := f.n, off+int64(len(p))
	if n.needsSize(end) {
		n.syncSize()
	}
	n.forget(off, end)
	n.platter.write(p, off)
	return nil
}

// needsSize tells whether bytes before end could be out of reach after a
// crash, as long as only sizes that were flushed count.
func (n *node) needsSize(end int64) bool {
	if end > n.platter.size {
		return true
	}
	for _, c := range n.pending {
		if c.cut && c.size < end {
			return true
		}
	}
	return false
}

// syncSize makes the present size durable, truncations on the way included.
// Writes stay as unflushed as they were.
func (n *node) syncSize() {
	var writes []change
	for _, c := range n.pending {
		if !c.cut {
			writes = append(writes, c)
			continue
		}
		n.platter.cut(c.size)
		for i := range writes {
			left := max(min(c.size-writes[i].off, int64(len(writes[i].data))), 0)
			writes[i].data = writes[i].data[:left]
		}
	}
	for i := range writes {
		writes[i].size = n.seen.size
	}
	n.pending, n.platter.size = writes, n.seen.size
}

// forget drops unflushed writes between off and end: they are flushed, or
// lost for good.
func (n *node) forget(off, end int64) {
	var rest []change
	size := n.platter.size
	for _, c := range n.pending {
		grown := c.size != size
		size = c.size
		last := c.off + int64(len(c.data))
		if c.cut || last <= off || c.off >= end {
			rest = append(rest, c)
			continue
		}
		before, behind := c, c
		before.data = c.data[:max(off-c.off, 0)]
		behind.data = c.data[min(end-c.off, int64(len(c.data))):]
		behind.off = last - int64(len(behind.data))
		if len(before.data) > 0 || grown {
			rest = append(rest, before)
		}
		if len(behind.data) > 0 {
			rest = append(rest, behind)
		}
	}
	n.pending = rest
}

// Sync implements File.
func (f *memFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return fail("flush", f.name, fs.ErrClosed)
	}
	for i := range f.n.pending {
		f.n.pending[i].apply(&f.n.platter)
	}
	f.n.pending = nil
	return nil
}

// failFlush does what a failed flush of the bytes from off to end does: the
// kernel takes them for clean, though they never reached the platter. Their
// size is still to be flushed.
func (f *memFile) failFlush(off, end int64) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	n := f.n
	n.forget(off, min(end, max(n.seen.size, n.platter.size)))
	if f.d.buffered {
		return
	}
	seen := n.platter.clone()
	for i := range n.pending {
		n.pending[i].apply(&seen)
	}
	had := len(n.seen.pages)
	size := n.seen.size
	n.seen = seen
	n.seen.size = size
	f.d.pages += int64(len(n.seen.pages) - had)
}

// Truncate implements File.
func (f *memFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.check("truncate", nil, 0, true); err != nil {
		return err
	}
	if size < 0 {
		return fail("truncate", f.name, syscall.EINVAL)
	}
	had := len(f.n.seen.pages)
	c := change{cut: true, size: size}
	c.apply(&f.n.seen)
	f.n.pending = append(f.n.pending, c)
	f.d.pages += int64(len(f.n.seen.pages) - had)
	return nil
}

// Size implements File.
func (f *memFile) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return 0, fail("stat", f.name, fs.ErrClosed)
	}
	return f.n.seen.size, nil
}

// Close implements File. It flushes nothing.
func (f *memFile) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return fail("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	f.n.opens--
	f.d.release(f.n)
	return nil
}
