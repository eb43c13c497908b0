package local

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// OpenInPlace opens a file that exists, to be read and written at places: what
// is written there with WriteAt replaces what was there. Write has no meaning
// for it.
func (d *Dir) OpenInPlace(name string) (*File, error) {
	return d.open(OpOpen, name, os.O_RDWR|syscall.O_NONBLOCK, 0)
}

// CreateInPlace makes a file as Create does, to be used as OpenInPlace says.
func (d *Dir) CreateInPlace(name string, mode fs.FileMode) (*File, error) {
	f, err := d.open(OpCreate, name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	if err := f.f.Chmod(mode); err != nil { // past the umask
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// WriteAt writes p at a place of a file that was opened in place. It is on
// disk after Sync. After an error what stands there may be anything.
func (f *File) WriteAt(p []byte, at int64) error {
	if before := f.dir.watch.Before; before != nil {
		if n, err := before(OpWrite, f.name); err != nil {
			_, werr := f.f.WriteAt(p[:min(n, len(p))], at)
			return &fs.PathError{Op: string(OpWrite), Path: f.name, Err: errors.Join(err, werr)}
		}
	}
	_, err := f.f.WriteAt(p, at)
	if err == nil && f.dir.watch.After != nil {
		f.dir.watch.After(OpWrite, f.name)
	}
	return err
}

// Hold takes a lock on the directory itself, which leaves no file behind; ok is
// false where another process, or another Dir, has it.
func (d *Dir) Hold() (held io.Closer, ok bool, err error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, false, err
	}
	err = d.do(OpLock, ".", func() error { return flock(&File{f: f}) })
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, false, f.Close()
	}
	if err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	return f, true, nil
}
