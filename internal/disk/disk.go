// Package disk is the only package that touches files: everything that must
// survive goes through FS and File, so that a test can put a disk below which
// fails, or forgets what was not flushed.
//
// The rules behind it: a flush that returned an error is final for its file;
// a name is durable only after SyncDir of its directory; a flush happens
// through the descriptor that wrote.
package disk

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
	"unsafe"

	"holdfast/internal/mutant"
)

// Align is the grain of direct input and output: offsets, lengths and buffer
// addresses of File.ReadAt and File.WriteAt are multiples of it.
const Align = 4096

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("is in use by another process")

// FS is a directory tree. Names are relative to its root, use slashes and
// cannot leave it. Safe for concurrent use.
type FS interface {
	// Create makes a new file (mode 0600) for reading and writing. It fails with
	// fs.ErrExist where the name is taken. The name is durable after SyncDir.
	Create(name string) (File, error)
	// Open opens a file for reading and, where write is set, for writing.
	Open(name string, write bool) (File, error)
	// Rename gives a file another name, replacing what has it. Durable after
	// SyncDir of the directory.
	Rename(from, to string) error
	// Remove removes a file or an empty directory. Durable after SyncDir.
	Remove(name string) error
	// Mkdir makes a directory (mode 0700), and those above it, where missing,
	// and makes their names durable.
	Mkdir(name string) error
	// List returns the entries of a directory, sorted by name.
	List(name string) ([]Entry, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Lock takes the lock file name for as long as the returned Closer is open.
	// It fails with ErrLocked at once where another process holds it.
	Lock(name string) (io.Closer, error)
	// Space tells how much room the volume has.
	Space() (Space, error)
	// Sub returns the tree below a directory that exists.
	Sub(name string) (FS, error)
	// Close gives the tree up; files that are open stay open.
	Close() error
}

// Entry is one name in a directory.
type Entry struct {
	Name string
	Dir  bool
	Size int64 // bytes; of a file
}

// Space is the room of a volume, in bytes and in files.
type Space struct {
	Volume string // which volume it is: the same for all directories on it
	Total  int64
	Free   int64 // for a user without privileges

	Files     int64 // that the volume can have; 0 where no number bounds them
	FreeFiles int64 // that it can still take
}

// File is an open file. Its methods are safe for concurrent use, as far as
// the ranges do not overlap.
type File interface {
	// ReadAt reads len(p) bytes at off from the platter, not from a cache,
	// where the file system allows it. Short reads come with io.EOF.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes all of p at off. It is not durable before Sync.
	WriteAt(p []byte, off int64) error
	// WriteSyncAt writes all of p at off and flushes it in the same call. Only
	// what it wrote is covered, not what WriteAt wrote before. After an error
	// the file must not be written again.
	WriteSyncAt(p []byte, off int64) error
	// Sync flushes everything written. After an error the file must not be
	// written again: a second Sync may lie.
	Sync() error
	// Truncate sets the size. Durable after Sync.
	Truncate(size int64) error
	// Size returns the size in bytes.
	Size() (int64, error)
	// Close closes the descriptor.
	Close() error
}

// Buffer returns n bytes, zeroed, whose address is a multiple of Align. n is
// rounded up to a multiple of Align.
func Buffer(n int) []byte {
	n = Up(n)
	if raw := make([]byte, n); past(raw) == 0 { // as Go's allocator lays out whole pages, though it promises nothing
		return raw
	}
	raw := make([]byte, n+Align)
	skip := Up(past(raw)) - past(raw)
	return raw[skip : skip+n : skip+n]
}

// past returns by how many bytes b begins behind a multiple of Align.
func past(b []byte) int { return int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % Align) }

// Up returns n rounded up to a multiple of Align.
func Up[T int | int64](n T) T { return (n + Align - 1) &^ (Align - 1) }

// ReadFile reads a small file whole: at most limit bytes, else an error.
func ReadFile(d FS, name string, limit int64) ([]byte, error) {
	f, err := d.Open(name, false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("file is larger than it can be")}
	}
	buf := Buffer(int(size) + 1)
	n, err := f.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return buf[:min(n, int(size))], nil
}

// Exists tells whether a file can be opened.
func Exists(d FS, name string) (bool, error) {
	f, err := d.Open(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// Replace puts content in place of a small file so that a crash leaves either
// the old content or the new one: written beside, flushed, renamed, and the
// directory flushed.
func Replace(d FS, dir, name string, content []byte) error {
	if mutant.On(15) {
		return overwrite(d, dir, name, content)
	}
	tmp := name + ".tmp"
	if err := d.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := d.Create(tmp)
	if err != nil {
		return err
	}
	buf := Buffer(len(content))
	copy(buf, content)
	err = f.WriteAt(buf, 0)
	if err == nil {
		err = f.Truncate(int64(len(content)))
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(d.Remove(tmp)))
	}
	if mutant.On(5) {
		return nil
	}
	return d.SyncDir(dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// IsFull tells whether err says that the volume, or the user's share of it,
// has no room: for bytes or for another file.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
