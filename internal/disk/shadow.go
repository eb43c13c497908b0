package disk

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Shadow is a tree that is read as it is on the disk below, and in which
// everything that is written stays in memory: what a start does to go on after a
// crash can be done on a disk that takes no write, and nothing there changes.
// Pages that are written are kept, those of zeros as nothing. Safe for
// concurrent use.
type Shadow struct {
	base FS
	dir  string // of base in the tree that all is kept by
	s    *shade
}

// shade is what a Shadow and its Subs share. Names are paths from its root.
type shade struct {
	base FS

	mu    sync.Mutex
	files map[string]*shadowed // that were opened, made or renamed
	dirs  map[string]bool      // that were made
	gone  map[string]bool      // what was at these names on the disk is not there any more
}

var _ FS = (*Shadow)(nil)

// NewShadow returns d with nothing written yet. Closing it closes d.
func NewShadow(d FS) *Shadow {
	return &Shadow{base: d, s: &shade{base: d, files: map[string]*shadowed{}, dirs: map[string]bool{}, gone: map[string]bool{}}}
}

// failed is an error of one name.
func failed(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// at returns the path of a name; of one that leads out of the tree, one that the
// disk refuses.
func (d *Shadow) at(name string) string {
	if clean := path.Clean(name); path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "../" + strings.TrimPrefix(clean, "/")
	}
	p := path.Join(d.dir, name)
	if p == "." {
		return ""
	}
	return p
}

// Create implements FS.
func (d *Shadow) Create(name string) (File, error) {
	p := d.at(name)
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if err := d.s.needDir("create", path.Dir(p)); err != nil {
		return nil, err
	}
	if _, err := d.s.find("create", p); err == nil || d.s.isDir(p) {
		return nil, failed("create", name, fs.ErrExist)
	}
	n := &shadowed{pages: map[int64][]byte{}}
	d.s.files[p] = n
	return n.open(d.s.base, name, true)
}

// Open implements FS.
func (d *Shadow) Open(name string, write bool) (File, error) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	n, err := d.s.find("open", d.at(name))
	if err != nil {
		return nil, err
	}
	return n.open(d.s.base, name, write)
}

// find returns the file of a path. shade.mu is held.
func (s *shade) find(op, p string) (*shadowed, error) {
	if n := s.files[p]; n != nil {
		return n, nil
	}
	if s.hidden(p) {
		return nil, failed(op, p, fs.ErrNotExist)
	}
	f, err := s.base.Open(p, false)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	n := &shadowed{base: p, below: size, size: size, pages: map[int64][]byte{}}
	s.files[p] = n
	return n, nil
}

// hidden tells whether what the disk has at a path is not there any more. shade.mu
// is held.
func (s *shade) hidden(p string) bool {
	for ; p != "." && p != "" && p != "/"; p = path.Dir(p) {
		if s.gone[p] {
			return true
		}
	}
	return false
}

// isDir tells whether a path is a directory. shade.mu is held.
func (s *shade) isDir(p string) bool {
	if p == "" || p == "." || s.dirs[p] {
		return true
	}
	if s.files[p] != nil || s.hidden(p) {
		return false
	}
	sub, err := s.base.Sub(p)
	return err == nil && sub.Close() == nil
}

func (s *shade) needDir(op, p string) error {
	if s.isDir(p) {
		return nil
	}
	return failed(op, p, fs.ErrNotExist)
}

// Rename implements FS, for files.
func (d *Shadow) Rename(from, to string) error {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	old, next := d.at(from), d.at(to)
	n, err := d.s.find("rename", old)
	if err == nil {
		err = d.s.needDir("rename", path.Dir(next))
	}
	if err != nil || old == next {
		return err
	}
	delete(d.s.files, old)
	d.s.gone[old] = true
	d.s.files[next] = n
	return nil
}

// Remove implements FS.
func (d *Shadow) Remove(name string) error {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	p := d.at(name)
	if d.s.isDir(p) {
		if all, err := d.s.list(p); err != nil || len(all) > 0 {
			return errors.Join(err, failed("remove", name, syscall.ENOTEMPTY))
		}
		delete(d.s.dirs, p)
	} else if _, err := d.s.find("remove", p); err != nil {
		return err
	}
	delete(d.s.files, p)
	d.s.gone[p] = true
	return nil
}

// Mkdir implements FS.
func (d *Shadow) Mkdir(name string) error {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if p := d.at(name); strings.HasPrefix(p, "../") {
		return failed("mkdir", name, fs.ErrInvalid)
	}
	made := d.dir
	for _, part := range strings.Split(path.Clean(name), "/") {
		made = path.Join(made, part)
		if d.s.isDir(made) {
			continue
		}
		if _, err := d.s.find("mkdir", made); err == nil {
			return failed("mkdir", name, syscall.ENOTDIR)
		}
		d.s.dirs[made] = true
	}
	return nil
}

// List implements FS.
func (d *Shadow) List(name string) ([]Entry, error) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.s.list(d.at(name))
}

// list returns what is in a directory. shade.mu is held.
func (s *shade) list(p string) ([]Entry, error) {
	all := map[string]Entry{}
	if !s.dirs[p] || !s.hidden(p) {
		if s.hidden(p) {
			return nil, failed("list", p, fs.ErrNotExist)
		}
		below, err := s.base.List(p)
		if err != nil && !s.dirs[p] {
			return nil, err
		}
		for _, e := range below {
			if !s.gone[path.Join(p, e.Name)] {
				all[e.Name] = e
			}
		}
	}
	here := func(full string) bool { return full != p && strings.TrimPrefix(path.Dir("/"+full), "/") == p }
	for full, n := range s.files {
		if here(full) {
			all[path.Base(full)] = Entry{Name: path.Base(full), Size: n.length()}
		}
	}
	for full := range s.dirs {
		if here(full) {
			all[path.Base(full)] = Entry{Name: path.Base(full), Dir: true}
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Entry) int { return strings.Compare(a.Name, b.Name) }), nil
}

// SyncDir implements FS: nothing here outlives the process.
func (d *Shadow) SyncDir(name string) error {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.s.needDir("sync directory", d.at(name))
}

// Lock implements FS. Where there is a lock file on the disk, no writer has it as
// long as this is open; several readers may.
func (d *Shadow) Lock(name string) (io.Closer, error) {
	if r, ok := d.base.(*Real); ok {
		return r.share(name)
	}
	return d.base.Lock(name)
}

// Space implements FS.
func (d *Shadow) Space() (Space, error) { return d.base.Space() }

// Sub implements FS.
func (d *Shadow) Sub(name string) (FS, error) {
	p := d.at(name)
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if err := d.s.needDir("sub", p); err != nil {
		return nil, err
	}
	sub := &Shadow{base: d.base, dir: p, s: d.s}
	if !d.s.dirs[p] {
		b, err := d.base.Sub(name)
		if err != nil {
			return nil, err
		}
		sub.base = b
	}
	return sub, nil
}

// Close implements FS.
func (d *Shadow) Close() error {
	if d.dir != "" && d.s.dirs[d.dir] { // it has nothing on the disk
		return nil
	}
	return d.base.Close()
}
