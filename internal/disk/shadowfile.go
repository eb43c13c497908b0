package disk

import (
	"bytes"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"syscall"
)

// shadowed is a file of a Shadow: one on the disk, with what was written since
// in front of it.
type shadowed struct {
	base string // on the disk; "": it is not there

	mu    sync.RWMutex
	below int64 // so much of the one on the disk counts
	size  int64
	pages map[int64][]byte // that were written, never changed in place
}

// nothing is a page of zeros.
var nothing = Buffer(Align)

// open opens the file; base is the disk.
func (n *shadowed) open(base FS, name string, write bool) (File, error) {
	f := &shadowFile{n: n, name: name, write: write}
	if n.base == "" {
		return f, nil
	}
	var err error
	f.base, err = base.Open(n.base, false)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (n *shadowed) length() int64 {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.size
}

// shadowFile is an open file of a Shadow.
type shadowFile struct {
	n     *shadowed
	name  string
	base  File // nil: it is not on the disk
	write bool

	closed atomic.Bool
}

// ReadAt implements File.
func (f *shadowFile) ReadAt(p []byte, off int64) (int, error) {
	if f.closed.Load() {
		return 0, failed("read", f.name, fs.ErrClosed)
	}
	f.n.mu.RLock()
	defer f.n.mu.RUnlock()
	return f.readLocked(p, off)
}

// readLocked reads what is there: what was written, else what the disk has, else
// zeros.
func (f *shadowFile) readLocked(p []byte, off int64) (int, error) {
	n := f.n
	if len(n.pages) == 0 && n.below == n.size && f.base != nil {
		return f.base.ReadAt(p, off)
	}
	want := int(min(int64(len(p)), max(0, n.size-off)))
	got := 0
	if f.base != nil && off < n.below && want > 0 {
		var err error
		if got, err = f.base.ReadAt(p, off); err != nil && err != io.EOF {
			return 0, err
		}
		got = int(min(int64(got), n.below-off, int64(want)))
	}
	clear(p[got:])
	for page := off / Align; page*Align < off+int64(want); page++ {
		if b := n.pages[page]; b != nil {
			if from := page*Align - off; from < 0 {
				copy(p[:want], b[-from:])
			} else {
				copy(p[from:want], b)
			}
		}
	}
	if want < len(p) {
		return want, io.EOF
	}
	return want, nil
}

// WriteAt implements File.
func (f *shadowFile) WriteAt(p []byte, off int64) error {
	if !f.write {
		return failed("write", f.name, syscall.EBADF)
	}
	n := f.n
	n.mu.Lock()
	defer n.mu.Unlock()
	for at := off; at < off+int64(len(p)); {
		page, skip := at/Align, at%Align
		part := p[at-off : min(int64(len(p)), at-off+Align-skip)]
		b := Buffer(Align)
		if len(part) < Align {
			if _, err := f.readLocked(b, page*Align); err != nil && err != io.EOF {
				return err
			}
		}
		copy(b[skip:], part)
		if bytes.Equal(b, nothing) {
			b = nothing
		}
		n.pages[page] = b
		at += int64(len(part))
	}
	n.size = max(n.size, off+int64(len(p)))
	return nil
}

// WriteSyncAt implements File.
func (f *shadowFile) WriteSyncAt(p []byte, off int64) error { return f.WriteAt(p, off) }

// Sync implements File.
func (f *shadowFile) Sync() error { return nil }

// Truncate implements File.
func (f *shadowFile) Truncate(size int64) error {
	if !f.write {
		return failed("truncate", f.name, syscall.EBADF)
	}
	n := f.n
	n.mu.Lock()
	defer n.mu.Unlock()
	if size < n.size {
		for page, b := range n.pages {
			switch keep := size - page*Align; {
			case keep <= 0:
				delete(n.pages, page)
			case keep < Align:
				cut := Buffer(Align)
				copy(cut, b[:keep])
				n.pages[page] = cut
			}
		}
	}
	n.size, n.below = size, min(n.below, size)
	return nil
}

// Size implements File.
func (f *shadowFile) Size() (int64, error) { return f.n.length(), nil }

// Close implements File.
func (f *shadowFile) Close() error {
	if f.closed.Swap(true) {
		return failed("close", f.name, fs.ErrClosed)
	}
	if f.base == nil {
		return nil
	}
	return f.base.Close()
}
