package cold

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
)

// tmpSuffix ends the name of a file that is not finished.
const tmpSuffix = ".cold-tmp"

// Directory is a directory that others empty.
type Directory struct {
	d     disk.FS
	where string
	size  int64
}

var _ Store = (*Directory)(nil)

// OpenDirectory returns the store in d, which people call where, and which may
// take size bytes; 0: only the volume bounds it.
func OpenDirectory(d disk.FS, where string, size int64) *Directory {
	return &Directory{d: d, where: strings.TrimSuffix(where, "/") + "/", size: size}
}

// Clean takes away what an earlier run did not finish, of names that begin with
// own.
func (s *Directory) Clean(own string) error {
	entries, err := s.d.List("")
	if err != nil {
		return err
	}
	cleaned := false
	for _, e := range entries {
		if e.Dir || !strings.HasPrefix(e.Name, own) || !strings.HasSuffix(e.Name, tmpSuffix) {
			continue
		}
		if err := s.d.Remove(e.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		cleaned = true
	}
	if cleaned {
		return s.d.SyncDir("")
	}
	return nil
}

// Where implements Store.
func (s *Directory) Where() string { return s.where }

// Close implements Store.
func (s *Directory) Close() error { return s.d.Close() }

// Open implements Store.
func (s *Directory) Open(name string) (File, error) {
	f, err := s.d.Open(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, away(err)
	}
	return &unaligned{f: f}, nil
}

// Used implements Store.
func (s *Directory) Used() (bytes, size int64, err error) {
	entries, err := s.d.List("")
	if err != nil {
		return 0, s.size, away(err)
	}
	for _, e := range entries {
		if !e.Dir {
			bytes += e.Size
		}
	}
	return bytes, s.size, nil
}

// Put implements Store: under another name first, flushed, and then renamed.
func (s *Directory) Put(name string, replace bool, fill func(io.Writer) error) error {
	before, err := s.sizeOf(name)
	switch {
	case err == nil && !replace:
		if err := s.d.SyncDir(""); err != nil { // whoever put it may have died before
			return away(err)
		}
		return fmt.Errorf("%q: %w", s.where+name, fs.ErrExist)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return away(err)
	}
	used, _, err := s.Used()
	if err != nil {
		return err
	}
	tmp := name + tmpSuffix
	if err := s.d.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return away(err)
	}
	err = s.write(tmp, used-before, fill)
	if err == nil {
		if err = s.d.Rename(tmp, name); err == nil {
			return away(s.d.SyncDir(""))
		}
		err = away(err)
	}
	if rerr := s.d.Remove(tmp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}

// sizeOf returns the size of a file; 0 where there is none.
func (s *Directory) sizeOf(name string) (int64, error) {
	f, err := s.d.Open(name, false)
	if err != nil {
		return 0, err
	}
	n, err := f.Size()
	return n, errors.Join(err, f.Close())
}

// write makes a file of what fill writes, and flushes it. used is what others
// take of the bytes that may wait here.
func (s *Directory) write(name string, used int64, fill func(io.Writer) error) error {
	f, err := s.d.Create(name)
	if err != nil {
		return away(err)
	}
	w := &writer{f: f, buf: disk.Buffer(1 << 20)[:0], where: s.where}
	if s.size > 0 {
		w.bounded, w.left = true, s.size-used
	}
	err = fill(w)
	if err == nil {
		err = w.finish()
	}
	if w.err != nil {
		err = away(w.err)
	}
	if cerr := f.Close(); err == nil && cerr != nil {
		err = away(cerr)
	}
	return err
}

// away marks an error as the store's.
func away(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrAway, err)
}

// writer writes a file from its beginning on, whole pages at a time.
type writer struct {
	f       disk.File
	where   string
	buf     []byte // aligned
	at      int64
	bounded bool
	left    int64 // that may be written
	err     error // what went wrong here
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.bounded && int64(len(p)) > w.left {
		w.err = fault.New(fault.DiskFull, "the cold tier %q is full", w.where).WithHint("empty it, or give it more room")
		return 0, w.err
	}
	w.left -= int64(len(p))
	for done := 0; done < len(p); {
		n := min(len(p)-done, cap(w.buf)-len(w.buf))
		w.buf, done = append(w.buf, p[done:done+n]...), done+n
		if len(w.buf) == cap(w.buf) {
			if w.err = w.flush(); w.err != nil {
				return done - n, w.err
			}
		}
	}
	return len(p), nil
}

// flush writes what waits, with zeros up to the next page.
func (w *writer) flush() error {
	n := len(w.buf)
	page := w.buf[:disk.Up(n)]
	clear(page[n:])
	if n > 0 {
		if err := w.f.WriteAt(page, w.at); err != nil {
			return err
		}
	}
	w.at, w.buf = w.at+int64(n), w.buf[:0]
	return nil
}

// finish writes the rest, cuts the file to its length, and flushes it.
func (w *writer) finish() error {
	if w.err == nil {
		w.err = w.flush()
	}
	if w.err == nil && w.at%disk.Align != 0 {
		w.err = w.f.Truncate(w.at)
	}
	if w.err == nil {
		w.err = w.f.Sync()
	}
	return w.err
}

// unaligned reads a file at any offset.
type unaligned struct{ f disk.File }

// Close implements File.
func (u *unaligned) Close() error { return u.f.Close() }

// Size implements File.
func (u *unaligned) Size() (int64, error) {
	n, err := u.f.Size()
	return n, away(err)
}

// ReadAt implements File.
func (u *unaligned) ReadAt(p []byte, off int64) (int, error) {
	from := off &^ (disk.Align - 1)
	skip := int(off - from)
	buf := disk.Buffer(skip + len(p))
	n, err := u.f.ReadAt(buf, from)
	n = max(0, min(n-skip, len(p)))
	copy(p, buf[skip:skip+n])
	if n == len(p) {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, away(err)
}
