package spool

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"holdfast/internal/fault"
)

const (
	// batchFiles, batchBytes and batchDirs bound one transaction, and what a
	// crash has read again. Its flushes cost the same whatever is in it.
	batchFiles = 1500
	batchBytes = 1 << 20
	batchDirs  = 64
)

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
//
// While one batch goes through this, the files of the next are read. They stand
// behind those of the first one in the order of a look, so none is read twice.
type batch struct {
	s      *Spool
	id     string
	behind string // the batch before
	tx     Tx     // nil: nothing is in it
	stream string
	files  []taken
	dirs   map[string]*os.File
	bytes  int64
	rows, rejects,
	size uint64 // of what was taken in
	oldest time.Time
	buf    []byte // of a file
}

// storing is a batch that is being stored.
type storing struct {
	b       *batch
	changed []taken    // files that were written to since they were read
	done    chan error // has one
}

func (s *Spool) newBatch(behind string) *batch {
	return &batch{s: s, id: rand.Text(), behind: behind, dirs: map[string]*os.File{}}
}

// room makes sure that another file of a table fits in, and begins the
// transaction where there is none.
func (s *Spool) room(ctx context.Context, p place) error {
	b, stream := s.batch, s.o.Stream(s.table(p))
	full := len(b.files) >= s.most || b.bytes >= batchBytes || b.dirs[p.path] == nil && len(b.dirs) >= batchDirs
	if len(b.files) > 0 && (full || stream != b.stream) {
		if err := s.store(ctx); err != nil {
			return err
		}
		b = s.batch
	}
	if b.tx == nil {
		b.tx = s.o.Store.Begin(s.o.Source, b.behind, b.id)
	}
	b.stream = stream
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

// drop forgets a batch.
func (b *batch) drop() {
	if b.tx != nil {
		b.tx.Rollback()
		b.tx = nil
	}
	closeAll(b.dirs)
	b.dirs = nil
	if !b.oldest.IsZero() {
		b.s.seen.since(b.oldest)
	}
}

// store begins to store the batch, once the one before is, and begins another.
func (s *Spool) store(ctx context.Context) error {
	b := s.batch
	if len(b.files) == 0 {
		return nil
	}
	if err := s.await(); err != nil {
		return err
	}
	u := &storing{b: b, done: make(chan error, 1)}
	s.under, s.settled, s.listed = u, false, true
	s.batch = s.newBatch(b.id)
	s.batch.buf, b.buf = b.buf, nil
	go func() {
		changed, err := s.commit(ctx, b)
		u.changed = changed
		u.done <- err
	}()
	return nil
}

// commit stores a batch and removes its files, but for those that changed. It
// runs beside the reading of the next one.
func (s *Spool) commit(ctx context.Context, b *batch) (changed []taken, err error) {
	if err := s.write(list{Batch: b.id, Behind: b.behind, Files: b.files}); err != nil {
		return nil, err
	}
	tx := b.tx
	b.tx = nil
	if err := tx.Commit(ctx); err != nil {
		return nil, err
	}
	return removeAll(b.files, b.dirs)
}

// await waits until the batch that is being stored is, if there is one.
func (s *Spool) await() error {
	u := s.under
	if u == nil {
		return nil
	}
	err := <-u.done
	s.under = nil
	defer u.b.drop()
	if err == nil {
		err = s.setChanged(u.changed, u.b.dirs)
	}
	if err != nil {
		return err
	}
	b := u.b
	s.at, s.settled, b.oldest = b.id, true, time.Time{}
	s.seen.Files -= len(b.files)
	s.mu.Lock()
	s.status.Rows, s.status.Rejects, s.status.Bytes = s.status.Rows+b.rows, s.status.Rejects+b.rejects, s.status.Bytes+b.size
	s.mu.Unlock()
	s.progress()
	return nil
}

// unlist writes that no file of the last batch is left, once there is time for
// it, so that the next start need not look for them.
func (s *Spool) unlist() error {
	if !s.settled || !s.listed || s.at == "" {
		return nil
	}
	if err := s.write(list{Batch: s.at}); err != nil {
		return err
	}
	s.listed = false
	return nil
}

// removeAll removes files that are stored, and makes that durable. It returns
// those that were written to meanwhile.
func removeAll(files []taken, dirs map[string]*os.File) (changed []taken, err error) {
	var errs []error
	for _, t := range files {
		dir := dirs[t.Dir]
		if dir == nil {
			continue // it is gone, and its files with it
		}
		as, err := remove(dir, t.Name, t.identity)
		if err != nil {
			errs = append(errs, err)
		}
		if as == written {
			changed = append(changed, t)
		}
	}
	for _, f := range dirs {
		if f != nil {
			errs = append(errs, f.Sync())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return changed, fmt.Errorf("remove files whose rows are stored: %w", err)
	}
	return changed, nil
}

// setChanged sets files aside that were written to after they were read. One that
// stays where it is would be stored once more.
func (s *Spool) setChanged(files []taken, dirs map[string]*os.File) error {
	for _, t := range files {
		why := fmt.Sprintf("it was written to after it was complete; its first %d bytes are stored", t.Size)
		if !s.setAside(place{f: dirs[t.Dir], path: t.Dir}, t.Name, why) {
			return fmt.Errorf("file %q cannot be moved to %s/: %s", s.path(place{path: t.Dir}, t.Name), badDir, why)
		}
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
	defer closeAll(dirs)
	if err != nil {
		return err
	}
	changed, err := removeAll(l.Files, dirs)
	if err == nil {
		err = s.setChanged(changed, dirs)
	}
	s.settled = err == nil
	return err
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

func closeAll(dirs map[string]*os.File) {
	for _, f := range dirs {
		if f != nil {
			_ = f.Close() // it was only read
		}
	}
}
