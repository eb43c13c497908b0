package journal

import (
	"errors"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"holdfast/internal/disk"
	"holdfast/internal/segment"
)

// checkpointParts is how many checkpoints a segment sees, besides the one
// behind its first rows: a start reads about such a part of the newest one.
const checkpointParts = 32

// checkpoints is the file CHECKPOINT: two pages, written in turn, so that one
// of them is whole whenever the power goes. What it says only saves reading,
// and proves; a stream without it starts as well, but slower.
type checkpoints struct {
	due atomic.Pointer[segment.Checkpoint] // to be written by the hasher

	mu    sync.Mutex         // held while a page is written; writers of small blocks do not take it
	file  disk.File          // nil: there is none, or it failed
	page  []byte             // to write from
	last  segment.Checkpoint // written last, or found at start
	large segment.Identity   // the segment that was said to have large blocks
}

// loadCheckpoint opens the file, making it where it is new, and returns the
// newest checkpoint of this stream; nil where there is none. No failure here
// is worth refusing a start.
func (j *Journal) loadCheckpoint() *segment.Checkpoint {
	c := &j.checks
	c.page = disk.Buffer(disk.Align)
	err := c.open(j.d)
	if err != nil {
		j.o.Log.Warn("no checkpoints: starts will read the newest segment whole", "stream", j.o.Name, "error", err)
		return nil
	}
	j.accountLocked(j.home, 2*disk.Align)
	if newest := newestCheckpoint(c.file, c.page); newest != nil {
		c.last = *newest
	}
	if c.last.Count == 0 || c.last.StreamID != j.id {
		return nil
	}
	found := c.last
	return &found
}

// hasCheckpoint tells whether there is a checkpoint, whatever it is of: rows were
// taken here.
func (j *Journal) hasCheckpoint() bool {
	f, err := j.d.Open(checkpointName, false)
	if err != nil {
		return false
	}
	defer f.Close()
	return newestCheckpoint(f, disk.Buffer(disk.Align)) != nil
}

// newestCheckpoint returns what the file says, which is the later one of its two
// pages that is whole; nil where none is. It reads into page.
func newestCheckpoint(f disk.File, page []byte) (newest *segment.Checkpoint) {
	for i := range int64(2) {
		if n, err := f.ReadAt(page, i*disk.Align); err != nil && err != io.EOF || n < disk.Align {
			continue
		}
		if got, err := segment.ParseCheckpoint(page); err == nil && got.Count > 0 && (newest == nil || got.Count > newest.Count) {
			newest = got
		}
	}
	return newest
}

// open opens the file, or makes it, with both pages written.
func (c *checkpoints) open(d disk.FS) error {
	f, err := d.Open(checkpointName, true)
	if err == nil {
		if size, serr := f.Size(); serr == nil && size == 2*disk.Align {
			c.file = f
			return nil
		}
		_ = f.Close() // of another size: made anew
		err = d.Remove(checkpointName)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f, err = d.Create(checkpointName); err != nil {
		return err
	}
	if err = f.WriteAt(disk.Buffer(2*disk.Align), 0); err == nil {
		err = f.Sync()
	}
	if err != nil { // the start goes on without it; a torn one holds no checkpoint
		return errors.Join(err, f.Close(), d.Remove(checkpointName))
	}
	c.file = f
	return nil
}

// checkpoint notes that s is flushed up to its end, where that is worth it.
// The hasher writes it, so that no writer waits.
func (j *Journal) checkpoint(s *seg) {
	if s.checked != 0 && s.end-s.checked < j.segmentSize()/checkpointParts {
		return
	}
	if c, ok := s.w.Checkpoint(); ok {
		s.checked = s.end
		j.checks.due.Store(&c)
		j.hashSoon()
	}
}

// clearCheckpoint forgets what the file says, so that nobody misses a segment
// that is about to go.
func (j *Journal) clearCheckpoint() {
	c := &j.checks
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return
	}
	empty := disk.Buffer(disk.Align)
	for i := range int64(2) {
		if err := c.file.WriteSyncAt(empty, i*disk.Align); err != nil {
			j.o.Log.Warn("no more checkpoints: the next start will read the newest segment whole", "stream", j.o.Name, "error", err)
			_ = c.file.Close() // nothing depends on it
			c.file = nil
			return
		}
	}
}

// unbegun forgets a segment that is about to go, if the file is of it.
func (j *Journal) unbegun(s *seg) {
	j.checks.mu.Lock()
	mine := j.checks.last.Number == s.number
	j.checks.mu.Unlock()
	if mine {
		j.clearCheckpoint()
	}
}

// begun notes that there is a new segment before it takes a row: a start that
// does not find it knows that something has removed it.
func (j *Journal) begun(w *segment.Writer) {
	next, ok := w.Checkpoint()
	c := &j.checks
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ok || c.file == nil {
		return
	}
	c.due.Store(nil)
	next.Large = next.Identity == c.large
	j.writeCheckpointLocked(next)
}

// saveCheckpoint writes what checkpoint noted.
func (j *Journal) saveCheckpoint() {
	c := &j.checks
	c.mu.Lock()
	defer c.mu.Unlock()
	due := c.due.Swap(nil)
	if due == nil || c.file == nil {
		return
	}
	next := *due
	next.Large = next.Identity == c.large
	j.writeCheckpointLocked(next)
}

// writeCheckpointLocked writes the page that is not the newest. A failure ends
// checkpoints for this run.
func (j *Journal) writeCheckpointLocked(next segment.Checkpoint) {
	c := &j.checks
	next.Count = c.last.Count + 1
	err := next.Encode(c.page)
	if err == nil {
		err = c.file.WriteSyncAt(c.page, int64(next.Count%2)*disk.Align)
	}
	if err != nil {
		j.o.Log.Warn("no more checkpoints: the next start will read the newest segment whole", "stream", j.o.Name, "error", err)
		_ = c.file.Close() // nothing depends on it
		c.file = nil
		return
	}
	c.last = next
}

// announceLarge makes sure that no checkpoint of s says that its blocks are
// small, before one that is not is written: a start would look too short a way
// behind damage for its proof. It returns false where that cannot be said; the
// block then needs a segment without a checkpoint.
func (j *Journal) announceLarge(s *seg) bool {
	c := &j.checks
	id := s.header.Identity
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.large == id {
		return true
	}
	c.large = id
	if c.last.Identity != id {
		return true // the first one will say it
	}
	if c.file == nil {
		return false
	}
	next := c.last
	next.Large = true
	j.writeCheckpointLocked(next)
	return c.file != nil
}

// closeCheckpoints gives the file up.
func (j *Journal) closeCheckpoints() error {
	c := &j.checks
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}
