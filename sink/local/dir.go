// Package local is what a sink without a database of its own needs to keep its
// place on this machine's disk: a directory of which every operation can be
// made to fail in a test, a lock between processes, and a file of cursors that
// is replaced as a whole.
package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// Watch sees every operation of a Dir, so that a test can fail one, stop at
// one, or know what a power cut would leave. The zero Watch lets all pass.
type Watch struct {
	// Before is called first. With an error the operation is not done, but for
	// a write, of which the first n bytes are.
	Before func(op Op, name string) (n int, err error)
	// After is called behind an operation that worked.
	After func(op Op, name string)
}

// Op is a kind of operation.
type Op string

// The operations that change something, or promise that it stays.
const (
	OpOpen     Op = "open"
	OpCreate   Op = "create"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpTruncate Op = "truncate"
	OpRename   Op = "rename" // its name is the new one
	OpRemove   Op = "remove"
	OpMkdir    Op = "mkdir"
	OpSyncDir  Op = "syncdir"
	OpLock     Op = "lock"
)

// Dir is a directory. No name leads out of it, whatever dots and links are in
// the way. One goroutine uses it at a time.
type Dir struct {
	path  string
	root  *os.Root
	info  fs.FileInfo
	watch Watch
}

// OpenDir opens the directory at path, which must exist.
func OpenDir(path string, w Watch) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Dir{path: path, root: root, info: info, watch: w}, nil
}

// Close gives the directory up. Files opened through it stay open.
func (d *Dir) Close() error { return d.root.Close() }

// Current reports whether the path still leads to this directory. Files in one
// that was moved away or replaced are files that nobody looks for.
func (d *Dir) Current() bool {
	info, err := os.Stat(d.path)
	return err == nil && os.SameFile(info, d.info)
}

// FS returns the directory for reading, past the Watch.
func (d *Dir) FS() fs.FS { return d.root.FS() }

// do runs f between the Watch's two calls.
func (d *Dir) do(op Op, name string, f func() error) error {
	if d.watch.Before != nil {
		if _, err := d.watch.Before(op, name); err != nil {
			return &fs.PathError{Op: string(op), Path: name, Err: err}
		}
	}
	err := f()
	if err == nil && d.watch.After != nil {
		d.watch.After(op, name)
	}
	return err
}

// Open opens a file that exists, for reading and for appending.
func (d *Dir) Open(name string) (*File, error) {
	return d.open(OpOpen, name, os.O_RDWR|os.O_APPEND|syscall.O_NONBLOCK, 0)
}

// Create makes a file that does not exist, for reading and appending, with
// exactly this mode. The caller syncs the directory.
func (d *Dir) Create(name string, mode fs.FileMode) (*File, error) {
	f, err := d.open(OpCreate, name, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	if err := f.f.Chmod(mode); err != nil { // past the umask
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d *Dir) open(op Op, name string, flag int, mode fs.FileMode) (*File, error) {
	var f *os.File
	err := d.do(op, name, func() (err error) {
		f, err = d.root.OpenFile(name, flag, mode)
		return err
	})
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %q: it is not a regular file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &File{f: f, dir: d, name: name, ino: inode(info)}, nil
}

// Stat returns the inode and the size of a file.
func (d *Dir) Stat(name string) (ino uint64, size int64, err error) {
	info, err := d.root.Stat(name)
	if err != nil {
		return 0, 0, err
	}
	return inode(info), info.Size(), nil
}

// Find returns the name of the regular file in the directory called in that
// has this inode, "" where none has.
func (d *Dir) Find(in string, ino uint64) (string, error) {
	list, err := fs.ReadDir(d.root.FS(), in)
	if err != nil {
		return "", err
	}
	for _, e := range list {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && inode(info) == ino {
			return path.Join(in, e.Name()), nil
		}
	}
	return "", nil
}

// Rename gives a file another name, in place of one that has it.
func (d *Dir) Rename(from, to string) error {
	return d.do(OpRename, to, func() error { return d.root.Rename(from, to) })
}

// Remove removes a file.
func (d *Dir) Remove(name string) error {
	return d.do(OpRemove, name, func() error { return d.root.Remove(name) })
}

// MakeDirs makes the directory called name, with those above it, where they
// are missing, and sees to it that they stay.
func (d *Dir) MakeDirs(name string, mode fs.FileMode) error {
	if name == "." {
		return nil
	}
	if info, err := d.root.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	above := path.Dir(name)
	if err := d.MakeDirs(above, mode); err != nil {
		return err
	}
	err := d.do(OpMkdir, name, func() error { return d.root.Mkdir(name, mode) })
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err == nil {
		err = d.root.Chmod(name, mode) // past the umask
	}
	if err != nil {
		return err
	}
	return d.SyncDir(above)
}

// SyncDir puts the names in a directory on disk.
func (d *Dir) SyncDir(name string) error {
	return d.do(OpSyncDir, name, func() error {
		f, err := d.root.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// ReadFile returns the content of a file of at most limit bytes.
func (d *Dir) ReadFile(name string, limit int64) (text []byte, err error) {
	err = d.do(OpRead, name, func() error {
		f, err := d.root.Open(name)
		if err != nil {
			return err
		}
		text, err = io.ReadAll(io.LimitReader(f, limit+1))
		if err == nil && int64(len(text)) > limit {
			err = fmt.Errorf("%q is larger than %d bytes", name, limit)
		}
		return errors.Join(err, f.Close())
	})
	return text, err
}

// Replace puts content in place of a file, or makes one: afterwards, and after
// a crash at any moment, the file has the old content or the new. moved says
// whether the new content may be there although there is an error.
func (d *Dir) Replace(name string, content []byte, mode fs.FileMode) (moved bool, err error) {
	temp := name + ".new"
	if err := d.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	f, err := d.Create(temp, mode)
	if err != nil {
		return false, err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return false, err
	}
	if err := d.Rename(temp, name); err != nil {
		return true, err
	}
	return true, d.SyncDir(path.Dir(name))
}

// File is a file opened by a Dir. What is written goes to its end.
type File struct {
	f    *os.File
	dir  *Dir
	name string
	ino  uint64
}

// Inode tells the file from others, whatever it is called.
func (f *File) Inode() uint64 { return f.ino }

// Size returns how large the file is now.
func (f *File) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Write appends p. After an error the end of the file may be anything.
func (f *File) Write(p []byte) (int, error) {
	if before := f.dir.watch.Before; before != nil {
		if n, err := before(OpWrite, f.name); err != nil {
			n, _ = f.f.Write(p[:min(n, len(p))])
			return n, &fs.PathError{Op: string(OpWrite), Path: f.name, Err: err}
		}
	}
	n, err := f.f.Write(p)
	if err == nil && f.dir.watch.After != nil {
		f.dir.watch.After(OpWrite, f.name)
	}
	return n, err
}

// ReadAt reads at a place.
func (f *File) ReadAt(p []byte, at int64) (int, error) { return f.f.ReadAt(p, at) }

// Sync returns when what was written is on disk. After an error nothing is
// known of it, and asking again would not tell.
func (f *File) Sync() error {
	return f.dir.do(OpSync, f.name, f.f.Sync)
}

// Truncate cuts the file to size, on disk as well.
func (f *File) Truncate(size int64) error {
	if err := f.dir.do(OpTruncate, f.name, func() error { return f.f.Truncate(size) }); err != nil {
		return err
	}
	return f.Sync()
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

func inode(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}
