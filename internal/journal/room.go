package journal

import (
	"errors"
	"io/fs"
	"maps"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/mutant"
	"holdfast/internal/segment"
)

// reserved is a file that is ready to become a segment: every block of it has
// been written before, so that a flush has no metadata to wait for.
type reserved struct {
	name   string
	serial uint64
	file   disk.File
	size   int64
}

// zeros is what files are filled with, and how much at a time.
var zeros = disk.Buffer(1 << 20)

// segmentSize is the size of a segment under the limits in force.
func (j *Journal) segmentSize() int64 {
	if j.o.SegmentSize > 0 {
		return max(disk.Up(j.o.SegmentSize), 2*disk.Align+segment.DataStart)
	}
	size := int64(maxSegment)
	if b := j.limits.Load().Budget; b > 0 {
		size = min(size, b/32)
	}
	return max(disk.Up(size), minSegment)
}

// takeReserved returns the reserved file if it has room for a block of n
// bytes, else one made on the spot.
func (j *Journal) takeReserved(n int64) (*reserved, error) {
	need := disk.Up(n) + segment.DataStart + 3*disk.Align // header, a marker and the footer
	j.mu.Lock()
	r := j.reserve
	if r != nil && r.size >= need {
		j.reserve = nil
		j.mu.Unlock()
		return r, nil
	}
	j.mu.Unlock()
	return j.makeFile(max(min(firstSegment, j.segmentSize()), need))
}

// makeFile makes a file of size bytes, all written and flushed, after making
// room for it.
func (j *Journal) makeFile(size int64) (*reserved, error) {
	if err := j.makeRoom(size); err != nil {
		return nil, err
	}
	name, serial := j.ownName(spareSuffix)
	f, err := j.d.Create(name)
	if err != nil {
		j.account(-size)
		return nil, err
	}
	r := &reserved{name: name, serial: serial, file: f, size: size}
	for off := int64(0); off < size && err == nil; off += int64(len(zeros)) {
		err = f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, j.discard(r))
	}
	return r, nil
}

// discard removes a file that holds nothing of the stream.
func (j *Journal) discard(r *reserved) error {
	j.account(-r.size)
	return errors.Join(r.file.Close(), j.d.Remove(r.name))
}

// account adds to what the stream's files take.
func (j *Journal) account(n int64) {
	j.mu.Lock()
	j.bytes += n
	j.mu.Unlock()
}

// makeRoom makes sure that need more bytes keep to the limits, by removing the
// oldest delivered segments, and accounts for them, so that no two who ask at
// the same time get the same room. What a sink still needs is never touched.
func (j *Journal) makeRoom(need int64) error {
	for {
		what, err := j.claim(need)
		if what == "" || err != nil {
			return err
		}
		removed, err := j.removeOldest()
		if err != nil {
			return err
		}
		if !removed {
			return fault.New(fault.DiskFull, "stream %q has no room: %s", j.o.Name, what).
				WithHint("nothing was stored; all rows that are left are needed by a sink (holdfast status says which); rows are taken again as soon as there is room")
		}
	}
}

// lacking says which limit need more bytes would break; "" for none.
func (j *Journal) lacking(need int64) (string, error) {
	what, err := j.claim(need)
	if what == "" && err == nil {
		j.account(-need)
	}
	return what, err
}

// claim accounts for need more bytes, or says which limit they would break.
func (j *Journal) claim(need int64) (string, error) {
	l := j.limits.Load()
	if l.MinFree != nil {
		room, err := j.d.Space()
		if err != nil {
			return "", err
		}
		if room.Free-need < l.MinFree(room.Total) {
			return "the volume is down to min_free", nil
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	// The MANIFEST is there twice while it is replaced, and may have grown.
	if l.Budget > 0 && j.bytes+need+j.manifest+manifestReckon > l.Budget {
		return "its budget is used up", nil
	}
	j.bytes += need
	return "", nil
}

// neededLocked returns the first seq that a registered sink has not committed.
func (j *Journal) neededLocked() uint64 {
	need := j.end.Seq + 1
	for _, m := range j.marks {
		need = min(need, m+1)
	}
	return need
}

// removableLocked returns the oldest segment where nobody needs it any more.
func (j *Journal) removableLocked() *seg {
	if len(j.segs) == 0 {
		return nil
	}
	s := j.segs[0]
	if s.w != nil || !s.sealed && !s.poisoned || s.last() >= j.neededLocked() {
		return nil
	}
	if len(j.segs) == 1 { // the last one's header carries the seq on
		return nil
	}
	return s
}

// removeOldest removes the oldest segment if nobody needs it. It is the only
// place that removes rows. A file of full size is kept as the reserve.
func (j *Journal) removeOldest() (bool, error) {
	j.trim.Lock()
	defer j.trim.Unlock()
	j.mu.Lock()
	s := j.removableLocked()
	if s != nil && s.last() > j.noted {
		// Otherwise a start after a crash finds rows missing that a sink needs, by
		// its mark. A disk without room for the MANIFEST must get room all the same.
		j.mu.Unlock()
		_ = j.saveManifest()
		j.mu.Lock()
	}
	if s == nil {
		j.mu.Unlock()
		return false, nil
	}
	recycle := j.reserve == nil && s.readers == 0 && !s.poisoned && s.size >= j.segmentSize()-minSegment/2
	s.gone = true
	j.segs = j.segs[1:]
	j.changedLocked()
	j.mu.Unlock()
	if recycle {
		return true, j.recycle(s)
	}
	return true, j.removeFile(s)
}

// removeFile removes the file of a segment that is no longer listed. A file
// that stays is listed again, so that it is counted, and tried anew.
func (j *Journal) removeFile(s *seg) error {
	if err := j.d.Remove(s.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		j.mu.Lock()
		s.gone = false
		j.segs = append([]*seg{s}, j.segs...)
		j.mu.Unlock()
		return err
	}
	j.account(-s.size)
	if mutant.On(6) {
		return nil
	}
	return j.d.SyncDir("")
}

// unlink removes the file of a segment without rows.
func (j *Journal) unlink(s *seg) error {
	if err := j.d.Remove(s.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	j.account(-s.size)
	if mutant.On(6) {
		return nil
	}
	return j.d.SyncDir("")
}

// recycle makes a removed segment's file the reserve. Its old blocks cannot
// pass for new ones: they carry another identity.
func (j *Journal) recycle(s *seg) error {
	name, serial := j.ownName(spareSuffix)
	f, err := j.d.Open(s.name(), true)
	if err != nil {
		return errors.Join(err, j.removeFile(s))
	}
	r := &reserved{name: name, serial: serial, file: f, size: s.size}
	if err := j.d.Rename(s.name(), name); err != nil {
		return errors.Join(err, f.Close(), j.removeFile(s))
	}
	if err := j.d.SyncDir(""); err != nil {
		return errors.Join(err, j.discard(r))
	}
	j.mu.Lock()
	if j.reserve == nil {
		j.reserve, r = r, nil
	}
	j.mu.Unlock()
	if r != nil { // the keeper made one meanwhile
		return j.discard(r)
	}
	return nil
}

// describe is what each segment repeats about the stream.
func (j *Journal) describe() segment.Stream {
	j.mu.Lock()
	defer j.mu.Unlock()
	marks := maps.Clone(j.marks)
	delete(marks, j.leaving)
	return segment.Stream{ID: j.id, Name: j.o.Name, Marks: marks, Link: j.o.Link.column()}
}
