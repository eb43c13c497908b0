package spool

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
)

const (
	// batchFiles, batchBytes and batchDirs bound one transaction, and what a
	// crash has read again. Its flushes cost the same whatever is in it.
	batchFiles = 1000
	batchBytes = 1 << 20
	batchDirs  = 64

	maxList = 8 << 20 // bytes of the list of a batch
	listHow = 1       // version of the list
)

// taken is a file of a batch.
type taken struct {
	Dir  string `json:"dir"`
	Name string `json:"name"`
	identity
}

// batch is what one transaction takes in. Its files are written down before the
// commit, and removed behind it:
//
//  1. The list says: batch b, behind batch a, has these files.
//  2. The rows are committed, and the source moves from a to b.
//  3. The files are removed, and their directories flushed.
//
// The next list replaces this one only then. Who finds the list of b after a
// crash asks where the source stands: at b, then the files that are still there
// are stored, and go; at a, then none of them is.
type batch struct {
	s      *Spool
	id     string
	tx     Tx // nil: nothing is in it
	stream string
	files  []taken
	dirs   map[string]*os.File
	bytes  int64
	rows, rejects,
	size uint64 // of what was taken in
	oldest time.Time
	buf    []byte // of a file
}

// list is the JSON of the file that has the files of a batch.
type list struct {
	Version int     `json:"version"`
	Batch   string  `json:"batch"`
	Behind  string  `json:"behind"`
	Files   []taken `json:"files"`
}

func (s *Spool) newBatch() *batch {
	return &batch{s: s, id: rand.Text(), dirs: map[string]*os.File{}}
}

// room makes sure that another file of a table fits in, and begins the
// transaction where there is none.
func (s *Spool) room(ctx context.Context, p place) error {
	b, stream := s.batch, s.o.Stream(s.table(p))
	full := len(b.files) >= batchFiles || b.bytes >= batchBytes || b.dirs[p.path] == nil && len(b.dirs) >= batchDirs
	if b.tx != nil && (full || stream != b.stream) {
		if err := s.commit(ctx); err != nil {
			return err
		}
		b = s.batch
	}
	if b.tx == nil {
		b.tx, b.stream = s.o.Store.Begin(s.o.Source, s.at, b.id), stream
	}
	return nil
}

// add notes that a file's rows are in the transaction.
func (b *batch) add(p place, name string, was identity) error {
	if b.dirs[p.path] == nil {
		f, err := openDir(p.f, ".")
		if err != nil {
			return err
		}
		b.dirs[p.path] = f
	}
	b.files = append(b.files, taken{p.path, name, was})
	b.bytes += was.Size
	if since := time.Unix(0, was.Time); b.oldest.IsZero() || since.Before(b.oldest) {
		b.oldest = since
	}
	return nil
}

// commit stores the batch, removes its files, and begins another.
func (s *Spool) commit(ctx context.Context) error {
	b := s.batch
	if len(b.files) == 0 {
		return nil
	}
	text, err := json.Marshal(list{Version: listHow, Batch: b.id, Behind: s.at, Files: b.files})
	if err != nil {
		return err
	}
	if err := disk.Replace(s.o.State, "", s.o.Name, sealed(text)); err != nil {
		return fmt.Errorf("write the list of a batch: %w", err)
	}
	tx := b.tx
	b.tx, s.settled, s.listed = nil, false, true
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	s.at = b.id
	if err := s.removeAll(b.files, b.dirs); err != nil {
		return err
	}
	s.settled = true
	s.seen.Files -= len(b.files)
	s.mu.Lock()
	s.status.Rows, s.status.Rejects, s.status.Bytes = s.status.Rows+b.rows, s.status.Rejects+b.rejects, s.status.Bytes+b.size
	s.mu.Unlock()
	next := s.newBatch()
	next.buf = b.buf
	b.oldest = time.Time{}
	b.drop()
	s.batch = next
	s.progress()
	return nil
}

// unlist writes that no file of the last batch is left, once there is time for it: a
// new file may get the name and the inode of one that was removed, and is none
// that was stored.
func (s *Spool) unlist() error {
	if !s.settled || !s.listed || s.at == "" {
		return nil
	}
	text, err := json.Marshal(list{Version: listHow, Batch: s.at})
	if err == nil {
		err = disk.Replace(s.o.State, "", s.o.Name, sealed(text))
	}
	if err != nil {
		return fmt.Errorf("write the list of a batch: %w", err)
	}
	s.listed = false
	return nil
}

// drop forgets a batch.
func (b *batch) drop() {
	if b.tx != nil {
		b.tx.Rollback()
		b.tx = nil
	}
	for _, f := range b.dirs {
		_ = f.Close() // it was only read
	}
	b.dirs = nil
	if !b.oldest.IsZero() {
		b.s.seen.since(b.oldest)
	}
}

// removeAll removes files that are stored, and makes that durable. One that was
// written to meanwhile is set aside.
func (s *Spool) removeAll(files []taken, dirs map[string]*os.File) error {
	var errs []error
	for _, t := range files {
		dir := dirs[t.Dir]
		if dir == nil {
			continue // it is gone, and its files with it
		}
		same, err := remove(dir, t.Name, t.identity)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if st, err := lookAt(dir, t.Name); !same && err == nil && st.Ino == t.Inode {
			s.setAside(place{f: dir, path: t.Dir}, t.Name, fmt.Sprintf("it was written to after it was complete; its first %d bytes are stored", t.Size))
		}
	}
	for _, f := range dirs {
		if f != nil {
			errs = append(errs, f.Sync())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove files whose rows are stored: %w", err)
	}
	return nil
}

// settle finds out where the source stands, and removes what is left of the
// batch that was stored last.
func (s *Spool) settle() error {
	at, err := s.o.Store.Position(s.o.Source)
	if err != nil {
		return err
	}
	s.at = at
	if at == "" {
		s.settled = true // no batch was ever stored
		return nil
	}
	l, err := readList(s.o.State, s.o.Name)
	if err == nil && l.Batch != at && l.Behind != at {
		err = fmt.Errorf("it is of batch %q behind %q, and batch %q was stored last", l.Batch, l.Behind, at)
	}
	if err != nil {
		return fault.New(fault.DataCorrupted, "which files were stored last cannot be read from %q", s.o.Name).Because(err).
			WithHint("put it back from a copy of the data directory that was made at once; or look which files of the spool are stored, remove them, and give the source another name")
	}
	if l.Batch != at {
		s.settled = true
		return nil
	}
	dirs, err := openDirs(s.root, l.Files)
	defer func() {
		for _, f := range dirs {
			if f != nil {
				_ = f.Close() // it was only read
			}
		}
	}()
	if err != nil {
		return err
	}
	if err := s.removeAll(l.Files, dirs); err != nil {
		return err
	}
	s.settled = true
	return nil
}

// openDirs opens the directories of files; nil stands for one that is gone.
func openDirs(root *os.File, files []taken) (map[string]*os.File, error) {
	dirs := map[string]*os.File{}
	for _, t := range files {
		if _, done := dirs[t.Dir]; done {
			continue
		}
		f, err := openPath(root, t.Dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return dirs, err
		}
		if err != nil {
			f = nil
		}
		dirs[t.Dir] = f
	}
	return dirs, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealed returns a line with its checksum behind it.
func sealed(line []byte) []byte {
	return fmt.Appendf(nil, "%s\ncrc32c %08x\n", line, crc32.Checksum(line, castagnoli))
}

func readList(d disk.FS, name string) (l list, err error) {
	text, err := disk.ReadFile(d, name, maxList)
	if err != nil {
		return l, err
	}
	const tail = len("\ncrc32c 01234567\n")
	line := text[:max(0, len(text)-tail)]
	if string(sealed(line)) != string(text) {
		return l, errors.New("it is damaged: its checksum does not match")
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return l, err
	}
	if l.Version != listHow {
		return l, fmt.Errorf("it has version %d, this program knows %d", l.Version, listHow)
	}
	return l, nil
}

// whyNot tells what kind of file cannot be taken in.
func whyNot(mode uint32) string {
	switch mode {
	case unix.S_IFIFO:
		return "it is a FIFO"
	case unix.S_IFSOCK:
		return "it is a socket"
	case unix.S_IFLNK:
		return "it is a symbolic link, and is not followed; with symlinks: values its text is a value"
	}
	return "it is a device"
}
