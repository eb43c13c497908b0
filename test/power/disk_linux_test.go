package power

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/internal/disk"
	"holdfast/test/mounts"
)

// watched is a disk that sees what a file gets after a flush of it failed, and
// whose user can be killed: nothing that it does afterwards has an effect.
type watched struct {
	disk.FS
	dead  atomic.Bool
	mu    sync.Mutex
	wrong []error
}

var errDead = errors.New("the process was killed")

func (w *watched) kill() { w.dead.Store(true) }

func (w *watched) gone() error {
	if w.dead.Load() {
		return errDead
	}
	return nil
}

// verdict says what a file got that it must not get.
func (w *watched) verdict() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.wrong...)
}

func (w *watched) file(name string, f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	return &watchedFile{File: f, w: w, name: name}, nil
}

func (w *watched) Create(name string) (disk.File, error) {
	if err := w.gone(); err != nil {
		return nil, err
	}
	f, err := w.FS.Create(name)
	return w.file(name, f, err)
}

func (w *watched) Open(name string, write bool) (disk.File, error) {
	if err := w.gone(); err != nil {
		return nil, err
	}
	f, err := w.FS.Open(name, write)
	return w.file(name, f, err)
}

func (w *watched) Rename(from, to string) error {
	return errors.Join(w.gone(), w.unlessGone(func() error { return w.FS.Rename(from, to) }))
}

func (w *watched) Remove(name string) error {
	return errors.Join(w.gone(), w.unlessGone(func() error { return w.FS.Remove(name) }))
}

func (w *watched) unlessGone(do func() error) error {
	if w.dead.Load() {
		return nil
	}
	return do()
}

// watchedFile is one descriptor.
type watchedFile struct {
	disk.File
	w      *watched
	name   string
	mu     sync.Mutex
	failed error // of a flush
}

// flush does what may be done once only after it failed.
func (f *watchedFile) flush(what string, do func() error) error {
	if err := f.w.gone(); err != nil {
		return err
	}
	f.mu.Lock()
	before := f.failed
	f.mu.Unlock()
	if before != nil {
		f.w.mu.Lock()
		f.w.wrong = append(f.w.wrong, fmt.Errorf("%q gets a %s after a flush of it failed: %w", f.name, what, before))
		f.w.mu.Unlock()
	}
	err := do()
	if err != nil {
		f.mu.Lock()
		f.failed = err
		f.mu.Unlock()
	}
	return err
}

func (f *watchedFile) Sync() error { return f.flush("flush", f.File.Sync) }

func (f *watchedFile) WriteSyncAt(p []byte, off int64) error {
	return f.flush("flushed write", func() error { return f.File.WriteSyncAt(p, off) })
}

func (f *watchedFile) WriteAt(p []byte, off int64) error {
	return f.flush("write", func() error { return f.File.WriteAt(p, off) })
}

func (f *watchedFile) Truncate(size int64) error {
	if err := f.w.gone(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// trusting is a disk whose reads are those of the page cache.
type trusting struct {
	disk.FS
	dir string
}

func (d trusting) Open(name string, write bool) (disk.File, error) {
	f, err := d.FS.Open(name, write)
	if err != nil {
		return nil, err
	}
	cached, err := os.Open(filepath.Join(d.dir, name))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &trustingFile{f, cached}, nil
}

type trustingFile struct {
	disk.File
	cached *os.File
}

func (f *trustingFile) ReadAt(p []byte, off int64) (int, error) { return f.cached.ReadAt(p, off) }
func (f *trustingFile) Close() error                            { return errors.Join(f.File.Close(), f.cached.Close()) }

// tmpfs mounts one of its own for the test.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := mounts.WorkDir(t)
	ok(t, unix.Mount("none", dir, "tmpfs", 0, options))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount a tmpfs: %v", err)
		}
	})
	return dir
}

// fill takes all the room of the volume at dir; give gives it back.
func fill(t *testing.T, dir string) (give func()) {
	t.Helper()
	name := filepath.Join(dir, "everything.else")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	ok(t, err)
	defer f.Close()
	for size := 1 << 20; size >= 512; { // ever smaller pieces, down to the last byte
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else {
			ok(t, err)
		}
	}
	return func() { ok(t, os.Remove(name)) }
}
