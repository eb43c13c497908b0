package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Mem is a disk in memory which can crash. It keeps apart what a process sees
// from what would be found after a power cut, and knows only the promises of
// FS and File: a write is safe after Sync or WriteSyncAt of it, a name after
// SyncDir of its directory, and nothing is safe for any other reason.
//
// A failed flush (see Faulty) behaves as Linux does: what was to be flushed is
// forgotten, the next Sync succeeds, and the platter has the old bytes. A read
// shows the platter then, as a direct read does; after SetBuffered it shows
// the new bytes, as the page cache does.
//
// Offsets, lengths and buffers which are not multiples of Align are refused
// with EINVAL. Safe for concurrent use. Sub returns a *Mem of the same disk.
type Mem struct {
	d   *memory
	dir *node
}

// memory is the disk that a Mem and its Subs share.
type memory struct {
	mu       sync.Mutex
	root     *node
	changes  []naming // of names, unflushed, in the order in which they were made
	seq      uint64   // of the last naming
	locked   map[*node]bool
	buffered bool

	pages, maxPages   int64 // of Align bytes; a limit of 0 means none
	inodes, maxInodes int64
}

// node is a file or a directory, apart from its names.
type node struct {
	names map[string]*node // of a directory as the process sees it; nil: a file
	kept  map[string]kept  // of a directory as it is on the platter
	links int              // names that the process sees
	opens int

	seen    image    // of a file, as the process sees it
	platter image    // of a file, as flushed
	pending []change // what makes seen of platter, save for what failed flushes forgot
}

// kept is a name on the platter. A later naming is not undone by an earlier
// one that gets there after it.
type kept struct {
	to  *node // nil: the name is free
	seq uint64
}

// naming is one creation, renaming or removal. It reaches the platter as a
// whole: surely once every directory in it was flushed, else perhaps.
type naming struct {
	seq   uint64
	slots []slot
}

// slot is one name which a naming sets.
type slot struct {
	dir     *node
	name    string
	to      *node // nil: the name becomes free
	flushed bool
}

var _ FS = (*Mem)(nil)

// NewMem returns an empty disk without limits.
func NewMem() *Mem {
	root := newDir()
	root.links = 1
	return &Mem{d: &memory{root: root, locked: map[*node]bool{}}, dir: root}
}

func newDir() *node { return &node{names: map[string]*node{}, kept: map[string]kept{}} }

// SetQuota bounds the disk: bytes of file content, in whole pages of Align,
// and the number of files and directories. What is beyond fails with ENOSPC;
// a write puts down what still fits. 0 means no limit.
func (m *Mem) SetQuota(bytes, inodes int64) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	m.d.maxPages, m.d.maxInodes = bytes/Align, inodes
	if bytes > 0 && m.d.maxPages == 0 {
		m.d.maxPages = -1 // less than a page is room for none
	}
}

// SetBuffered makes reads show the page cache instead of the platter: they
// differ after a failed flush.
func (m *Mem) SetBuffered(on bool) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	m.d.buffered = on
}

// fail makes the error of an operation on a name.
func fail(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// find returns the node of name.
func (m *Mem) find(op, name string) (*node, error) {
	n := m.dir
	if name == "" || name == "." {
		return n, nil
	}
	clean := path.Clean(name)
	if !fs.ValidPath(clean) {
		return nil, fail(op, name, errors.New("path escapes from parent"))
	}
	for part := range strings.SplitSeq(clean, "/") {
		if n.names == nil {
			return nil, fail(op, name, syscall.ENOTDIR)
		}
		next, ok := n.names[part]
		if !ok {
			return nil, fail(op, name, fs.ErrNotExist)
		}
		n = next
	}
	return n, nil
}

// place returns the directory that holds, or would hold, name.
func (m *Mem) place(op, name string) (dir *node, base string, err error) {
	clean := path.Clean(name)
	if name == "" || clean == "." || !fs.ValidPath(clean) {
		return nil, "", fail(op, name, syscall.EINVAL)
	}
	dir, err = m.find(op, path.Dir(clean))
	if err == nil && dir.names == nil {
		err = fail(op, name, syscall.ENOTDIR)
	}
	return dir, path.Base(clean), err
}

// set carries a naming out, as the process sees it, and notes it as unflushed.
func (d *memory) set(slots ...slot) {
	d.seq++
	d.changes = append(d.changes, naming{seq: d.seq, slots: slots})
	for _, s := range slots {
		if s.to != nil {
			s.to.links++
		}
		if old := s.dir.names[s.name]; old != nil {
			old.links--
			d.release(old)
		}
		if s.to == nil {
			delete(s.dir.names, s.name)
		} else {
			s.dir.names[s.name] = s.to
		}
	}
}

// release gives back the room of a node that neither a name nor a descriptor holds.
func (d *memory) release(n *node) {
	if n.links == 0 && n.opens == 0 {
		d.pages -= int64(len(n.seen.pages))
		d.inodes--
	}
}

// inode takes the room of one more file or directory.
func (d *memory) inode() error {
	if d.maxInodes != 0 && d.inodes >= d.maxInodes {
		return syscall.ENOSPC
	}
	d.inodes++
	return nil
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	return m.create(name)
}

func (m *Mem) create(name string) (File, error) {
	dir, base, err := m.place("create", name)
	if err != nil {
		return nil, err
	}
	if dir.names[base] != nil {
		return nil, fail("create", name, fs.ErrExist)
	}
	if err := m.d.inode(); err != nil {
		return nil, fail("create", name, err)
	}
	n := &node{opens: 1}
	m.d.set(slot{dir: dir, name: base, to: n})
	return &memFile{d: m.d, n: n, name: name, write: true}, nil
}

// Open implements FS.
func (m *Mem) Open(name string, write bool) (File, error) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	n, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.names != nil {
		return nil, fail("open", name, syscall.EISDIR)
	}
	n.opens++
	return &memFile{d: m.d, n: n, name: name, write: write}, nil
}

// Rename implements FS. Across directories it is durable only after SyncDir
// of both.
func (m *Mem) Rename(from, to string) error {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	fromDir, fromBase, err := m.place("rename", from)
	if err != nil {
		return err
	}
	toDir, toBase, err := m.place("rename", to)
	if err != nil {
		return err
	}
	n := fromDir.names[fromBase]
	old := toDir.names[toBase]
	switch {
	case n == nil:
		return fail("rename", from, fs.ErrNotExist)
	case n == old:
		return nil
	case old != nil && old.names != nil && n.names == nil:
		return fail("rename", to, syscall.EISDIR)
	case old != nil && old.names == nil && n.names != nil:
		return fail("rename", to, syscall.ENOTDIR)
	case old != nil && len(old.names) > 0:
		return fail("rename", to, syscall.ENOTEMPTY)
	}
	m.d.set(slot{dir: toDir, name: toBase, to: n}, slot{dir: fromDir, name: fromBase})
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	dir, base, err := m.place("remove", name)
	if err != nil {
		return err
	}
	n := dir.names[base]
	if n == nil {
		return fail("remove", name, fs.ErrNotExist)
	}
	if len(n.names) > 0 {
		return fail("remove", name, syscall.ENOTEMPTY)
	}
	m.d.set(slot{dir: dir, name: base})
	return nil
}

// Mkdir implements FS.
func (m *Mem) Mkdir(name string) error {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	if !fs.ValidPath(path.Clean(name)) {
		return fail("mkdir", name, syscall.EINVAL)
	}
	if path.Clean(name) == "." {
		return nil
	}
	made := ""
	for part := range strings.SplitSeq(path.Clean(name), "/") {
		made = path.Join(made, part)
		dir, base, err := m.place("mkdir", made)
		if err != nil {
			return err
		}
		if dir.names[base] != nil {
			continue
		}
		if err := m.d.inode(); err != nil {
			return fail("mkdir", name, err)
		}
		m.d.set(slot{dir: dir, name: base, to: newDir()})
		m.d.syncNames(dir)
	}
	return nil
}

// List implements FS.
func (m *Mem) List(name string) ([]Entry, error) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	n, err := m.find("list", name)
	if err != nil {
		return nil, err
	}
	if n.names == nil {
		return nil, fail("list", name, syscall.ENOTDIR)
	}
	entries := make([]Entry, 0, len(n.names))
	for _, base := range slices.Sorted(maps.Keys(n.names)) {
		e := n.names[base]
		entries = append(entries, Entry{Name: base, Dir: e.names != nil, Size: e.seen.size})
	}
	return entries, nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(name string) error {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	n, err := m.find("flush", name)
	if err != nil {
		return err
	}
	m.d.syncNames(n)
	return nil
}

// syncNames flushes the names in dir. A naming over two directories stays
// undecided until both are flushed.
func (d *memory) syncNames(dir *node) {
	d.changes = slices.DeleteFunc(d.changes, func(c naming) bool {
		whole := true
		for i := range c.slots {
			c.slots[i].flushed = c.slots[i].flushed || c.slots[i].dir == dir
			whole = whole && c.slots[i].flushed
		}
		if whole {
			for _, s := range c.slots {
				keep(s.dir.kept, s.name, kept{to: s.to, seq: c.seq})
			}
		}
		return whole
	})
}

// keep sets a name on the platter, unless a later naming got there before.
func keep(names map[string]kept, name string, k kept) {
	if names[name].seq < k.seq {
		names[name] = k
	}
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	n, err := m.find("lock", name)
	if errors.Is(err, fs.ErrNotExist) {
		var f File
		if f, err = m.create(name); err == nil {
			n = f.(*memFile).n
			n.opens--
		}
	}
	if err != nil {
		return nil, err
	}
	if m.d.locked[n] {
		return nil, fmt.Errorf("lock %q: %w", name, ErrLocked)
	}
	n.opens++
	m.d.locked[n] = true
	return &memLock{memFile{d: m.d, n: n, name: name}}, nil
}

// memLock is a lock file held.
type memLock struct{ memFile }

// Close lets go of the lock.
func (l *memLock) Close() error {
	l.d.mu.Lock()
	if !l.closed {
		delete(l.d.locked, l.n)
	}
	l.d.mu.Unlock()
	return l.memFile.Close()
}

// Space implements FS. Without a quota the disk has a TiB.
func (m *Mem) Space() (Space, error) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	total := int64(1 << 40)
	if m.d.maxPages != 0 {
		total = max(m.d.maxPages, 0) * Align
	}
	return Space{Total: total, Free: max(total-m.d.pages*Align, 0)}, nil
}

// Sub implements FS.
func (m *Mem) Sub(name string) (FS, error) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	n, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.names == nil {
		return nil, fail("open", name, syscall.ENOTDIR)
	}
	return &Mem{d: m.d, dir: n}, nil
}

// Close implements FS.
func (m *Mem) Close() error { return nil }
