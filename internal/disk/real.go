package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"holdfast/internal/mutant"
)

// Real is a directory of the machine's file system, opened through os.Root so
// that no name leads out of it.
type Real struct {
	root *os.Root
	path string
	flag int // directFlag, or 0: every file goes through the page cache
}

// flushNames flushes a directory's names. It is a variable so that a test can
// see which are flushed.
var flushNames = (*os.File).Sync

// OpenReal opens a directory, making it (mode 0700) and those above it where
// they are missing.
func OpenReal(dir string) (*Real, error) {
	if err := mkdirDurable(dir); err != nil {
		return nil, err
	}
	return openRoot(dir, directFlag)
}

// OpenExisting opens a directory that is there.
func OpenExisting(dir string) (*Real, error) { return openRoot(dir, directFlag) }

// OpenBuffered opens a directory that is there and never asks for O_DIRECT:
// what a file system gets that does not have it. A test puts the journal
// through the page cache with it where the file system would spare it that.
func OpenBuffered(dir string) (*Real, error) { return openRoot(dir, 0) }

func openRoot(dir string, flag int) (*Real, error) {
	if mutant.On(13) {
		flag = 0
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Real{root: root, path: dir, flag: flag}, nil
}

// mkdirDurable makes dir and flushes the directory that holds its name.
func mkdirDurable(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := path.Dir(strings.TrimRight(dir, "/"))
	if err := mkdirDurable(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if mutant.On(7) {
		return nil
	}
	p, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(flushNames(p), p.Close())
}

// Create implements FS.
func (r *Real) Create(name string) (File, error) {
	return r.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Open implements FS.
func (r *Real) Open(name string, write bool) (File, error) {
	if write {
		return r.open(name, os.O_RDWR)
	}
	return r.open(name, os.O_RDONLY)
}

func (r *Real) open(name string, flag int) (File, error) {
	if f, err := r.root.OpenFile(name, flag|r.flag, 0o600); err == nil {
		return &realFile{f: f, direct: r.flag != 0}, nil
	} else if !refusesDirect(err) {
		return nil, r.linked(name, err)
	}
	f, err := r.root.OpenFile(name, flag&^os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &realFile{f: f}, nil
}

// linked says of a file that could not be opened when it is a symbolic link out
// of the directory, which the error alone does not tell.
func (r *Real) linked(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return err
	}
	if i, lerr := r.root.Lstat(name); lerr != nil || i.Mode()&fs.ModeSymlink == 0 {
		return err
	}
	return fmt.Errorf("%q is a symbolic link, and none is followed out of its directory: move the file itself back to that name; "+
		"to keep old segments on another disk name a directory there with warm: in the stream's configuration: %w", path.Join(r.path, name), err)
}

// Rename implements FS.
func (r *Real) Rename(from, to string) error { return r.root.Rename(from, to) }

// Remove implements FS.
func (r *Real) Remove(name string) error { return r.root.Remove(name) }

// Mkdir implements FS.
func (r *Real) Mkdir(name string) error {
	made := ""
	for _, part := range strings.Split(path.Clean(name), "/") {
		parent := made
		made = path.Join(made, part)
		err := r.root.Mkdir(made, 0o700)
		if errors.Is(err, fs.ErrExist) || err == nil && mutant.On(7) {
			continue
		}
		if err != nil {
			return err
		}
		if err := r.SyncDir(parent); err != nil {
			return err
		}
	}
	return nil
}

// List implements FS.
func (r *Real) List(name string) ([]Entry, error) {
	d, err := r.root.Open(orDot(name))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	infos, err := d.Readdir(-1)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(infos))
	for _, i := range infos {
		entries = append(entries, Entry{Name: i.Name(), Dir: i.IsDir(), Size: i.Size()})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// SyncDir implements FS.
func (r *Real) SyncDir(name string) error {
	d, err := r.root.Open(orDot(name))
	if err != nil {
		return err
	}
	return errors.Join(flushNames(d), d.Close())
}

func orDot(name string) string {
	if name == "" {
		return "."
	}
	return name
}

// Lock implements FS. The lock is an flock: it ends with the process.
func (r *Real) Lock(name string) (io.Closer, error) {
	f, err := r.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return r.flocked(f, name, unix.LOCK_EX)
}

// share takes the lock together with others that do so, and writes nothing for
// it. Where there is no lock file nobody else has one.
func (r *Real) share(name string) (io.Closer, error) {
	f, err := r.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, err
	}
	return r.flocked(f, name, unix.LOCK_SH)
}

func (r *Real) flocked(f *os.File, name string, how int) (io.Closer, error) {
	if err := flock(f, how); err != nil && !mutant.On(20) {
		return nil, errors.Join(fmt.Errorf("lock %q: %w", path.Join(r.path, name), err), f.Close())
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// Space implements FS.
func (r *Real) Space() (Space, error) { return space(r.path) }

// Sub implements FS.
func (r *Real) Sub(name string) (FS, error) {
	root, err := r.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &Real{root: root, path: path.Join(r.path, name), flag: r.flag}, nil
}

// Close implements FS.
func (r *Real) Close() error { return r.root.Close() }

// realFile is a file of the machine. Where direct is set its descriptor is
// O_DIRECT: what it reads comes from the platter and what it writes leaves no
// page behind that could lie after a failed flush.
type realFile struct {
	f      *os.File
	direct bool
}

func (f *realFile) ReadAt(p []byte, off int64) (int, error) {
	if !f.direct && !mutant.On(13) {
		dropCache(f.f)
	}
	return readAt(f.f, p, off)
}

func (f *realFile) WriteAt(p []byte, off int64) error {
	_, err := f.f.WriteAt(p, off)
	return err
}

func (f *realFile) WriteSyncAt(p []byte, off int64) error {
	if f.direct {
		return writeSync(f.f, p, off)
	}
	if err := f.WriteAt(p, off); err != nil {
		return err
	}
	return f.Sync()
}

func (f *realFile) Sync() error               { return datasync(f.f) }
func (f *realFile) Truncate(size int64) error { return f.f.Truncate(size) }
func (f *realFile) Close() error              { return f.f.Close() }

func (f *realFile) Size() (int64, error) {
	i, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}
