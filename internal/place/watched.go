package place

import (
	"errors"
	"io"
	"sync"
	"time"

	"holdfast/internal/disk"
)

// Watched is a directory of which nobody waits without end: a call that gets no
// answer fails with ErrSilent after a while, and those that come after it at once,
// until it answers again. It is for tiers that may be on another machine.
type Watched struct {
	d disk.FS
	w *watch

	mu   sync.Mutex
	room *disk.Space // as it was last
}

var _ disk.FS = (*Watched)(nil)

// Watch returns d, which people call path, watched.
func Watch(d disk.FS, path string) *Watched { return watched(d, path, usual) }

func watched(d disk.FS, path string, p patience) *Watched {
	return &Watched{d: d, w: &watch{path: path, patience: p}}
}

// Silent returns since when the directory does not answer; zero: it does.
func (d *Watched) Silent() time.Time { return d.w.silent() }

// Silence returns why nothing is to be asked of the directory; nil: it answers.
func (d *Watched) Silence() error {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	for k := range kinds {
		if err := d.w.refuseLocked(k); err != nil {
			return err
		}
	}
	return nil
}

// Create implements disk.FS.
func (d *Watched) Create(name string) (disk.File, error) {
	return d.file(changing, func() (disk.File, error) { return d.d.Create(name) })
}

// Open implements disk.FS.
func (d *Watched) Open(name string, write bool) (disk.File, error) {
	k := reading
	if write {
		k = changing
	}
	return d.file(k, func() (disk.File, error) { return d.d.Open(name, write) })
}

func (d *Watched) file(k kind, open func() (disk.File, error)) (disk.File, error) {
	f, err := call(d.w, k, d.w.names, open, func(f disk.File) { _ = f.Close() })
	if err != nil {
		return nil, err
	}
	return &watchedFile{f: f, w: d.w}, nil
}

// Rename implements disk.FS.
func (d *Watched) Rename(from, to string) error {
	return d.w.do(changing, d.w.names, func() error { return d.d.Rename(from, to) })
}

// Remove implements disk.FS.
func (d *Watched) Remove(name string) error {
	return d.w.do(changing, d.w.names, func() error { return d.d.Remove(name) })
}

// Mkdir implements disk.FS.
func (d *Watched) Mkdir(name string) error {
	return d.w.do(changing, d.w.names, func() error { return d.d.Mkdir(name) })
}

// List implements disk.FS.
func (d *Watched) List(name string) ([]disk.Entry, error) {
	return call(d.w, reading, d.w.bytes, func() ([]disk.Entry, error) { return d.d.List(name) }, nil)
}

// SyncDir implements disk.FS.
func (d *Watched) SyncDir(name string) error {
	return d.w.do(changing, d.w.bytes, func() error { return d.d.SyncDir(name) })
}

// Lock implements disk.FS.
func (d *Watched) Lock(name string) (io.Closer, error) {
	return call(d.w, changing, d.w.names, func() (io.Closer, error) { return d.d.Lock(name) }, func(c io.Closer) { _ = c.Close() })
}

// Space implements disk.FS. Where no answer comes it tells how it was last, if
// that is known.
func (d *Watched) Space() (disk.Space, error) {
	now, err := call(d.w, asking, d.w.asks, d.d.Space, nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.room = &now
	} else if d.room != nil && d.w.silentIn(asking) {
		return *d.room, nil
	}
	return now, err
}

// Sub implements disk.FS.
func (d *Watched) Sub(name string) (disk.FS, error) {
	sub, err := call(d.w, reading, d.w.names, func() (disk.FS, error) { return d.d.Sub(name) }, func(d disk.FS) { _ = d.Close() })
	if err != nil {
		return nil, err
	}
	return &Watched{d: sub, w: d.w}, nil
}

// Close implements disk.FS.
func (d *Watched) Close() error { return d.w.leave(d.d.Close) }

// watchedFile is a file of a directory that is watched.
type watchedFile struct {
	f disk.File
	w *watch
}

// held are buffers of our own: a call that was given up may use its buffer still.
var held = sync.Pool{New: func() any { return new([]byte) }}

// borrow returns a buffer of n bytes, and what gives it back.
func borrow(n int) ([]byte, func()) {
	b := held.Get().(*[]byte)
	if cap(*b) < n {
		*b = disk.Buffer(n)
	}
	return (*b)[:n], func() { held.Put(b) }
}

// ReadAt implements disk.File.
func (f *watchedFile) ReadAt(p []byte, off int64) (int, error) {
	own, giveBack := borrow(len(p))
	n, err := call(f.w, reading, f.w.bytes, func() (read, error) {
		n, err := f.f.ReadAt(own, off)
		return read{n, err}, nil
	}, nil)
	if err != nil {
		return 0, err
	}
	copy(p, own[:n.n])
	giveBack()
	return n.n, n.err
}

// read is what came of a read: some bytes come with an error.
type read struct {
	n   int
	err error
}

// WriteAt implements disk.File.
func (f *watchedFile) WriteAt(p []byte, off int64) error { return f.write(p, off, f.f.WriteAt) }

// WriteSyncAt implements disk.File.
func (f *watchedFile) WriteSyncAt(p []byte, off int64) error { return f.write(p, off, f.f.WriteSyncAt) }

func (f *watchedFile) write(p []byte, off int64, write func([]byte, int64) error) error {
	own, giveBack := borrow(len(p))
	copy(own, p)
	err := f.w.do(changing, f.w.bytes, func() error { return write(own, off) })
	if !errors.Is(err, ErrSilent) {
		giveBack()
	}
	return err
}

// Sync implements disk.File.
func (f *watchedFile) Sync() error { return f.w.do(changing, f.w.bytes, f.f.Sync) }

// Truncate implements disk.File.
func (f *watchedFile) Truncate(size int64) error {
	return f.w.do(changing, f.w.names, func() error { return f.f.Truncate(size) })
}

// Size implements disk.File.
func (f *watchedFile) Size() (int64, error) { return call(f.w, reading, f.w.names, f.f.Size, nil) }

// Close implements disk.File.
func (f *watchedFile) Close() error { return f.w.leave(f.f.Close) }
