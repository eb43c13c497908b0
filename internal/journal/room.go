package journal

import (
	"errors"
	"io/fs"
	"maps"
	"strings"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/mutant"
	"holdfast/internal/segment"
)

// reserved is a file that is ready to become a segment: every block of it has
// been written before, so that a flush has no metadata to wait for.
type reserved struct {
	at     *directory
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
	if least := j.smallest.Load(); least > 0 { // several of them fit into the smallest directory
		size = min(size, least/8)
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
// room for it. It has another name until then: a start must not take over what
// a power cut left half filled, where the file system would have to find a place
// for each row, and to note it, before the row is safe.
func (j *Journal) makeFile(size int64) (*reserved, error) {
	at, err := j.makeRoom(size)
	if err != nil {
		return nil, err
	}
	name, serial := j.ownName(freshSuffix)
	f, err := at.FS.Create(name)
	if err != nil {
		j.account(at, -size)
		return nil, err
	}
	r := &reserved{at: at, name: name, serial: serial, file: f, size: size}
	for off := int64(0); off < size && err == nil; off += int64(len(zeros)) {
		err = f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		ready := strings.TrimSuffix(name, freshSuffix) + spareSuffix
		if err = at.FS.Rename(name, ready); err == nil {
			r.name = ready
		}
	}
	if err != nil {
		return nil, errors.Join(err, j.discardSpare(r))
	}
	return r, nil
}

// discard removes a file that holds nothing of the stream.
func (j *Journal) discard(r *reserved) error {
	j.account(r.at, -r.size)
	return errors.Join(r.file.Close(), r.at.FS.Remove(r.name))
}

// discardSpare is discard for a file that nothing but room depends on: one that
// cannot be removed stays counted, and the keeper tries again.
func (j *Journal) discardSpare(r *reserved) error {
	return errors.Join(r.file.Close(), j.removeSpare(r))
}

func (j *Journal) removeSpare(r *reserved) error {
	err := r.at.FS.Remove(r.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		j.mu.Lock()
		j.litter = append(j.litter, r)
		j.mu.Unlock()
		return err
	}
	j.account(r.at, -r.size)
	return nil
}

// sweep removes spare files that could not be removed before.
func (j *Journal) sweep() error {
	j.mu.Lock()
	litter := j.litter
	j.litter = nil
	j.mu.Unlock()
	var errs []error
	for _, r := range litter {
		errs = append(errs, j.removeSpare(r))
	}
	return errors.Join(errs...)
}

// makeRoom makes sure that need more bytes keep to the limits, by removing the
// oldest delivered segments, and accounts for them, so that no two who ask at
// the same time get the same room. What a sink still needs is never touched.
func (j *Journal) makeRoom(need int64) (*directory, error) {
	for {
		at, what, lack, err := j.claim(need, hot)
		if what == "" || err != nil {
			return at, err
		}
		removed, err := j.free(lack)
		if !removed && err == nil && j.limits.Load().DropOldest {
			// The keeper may have let the last ones go that nobody needs, and then
			// nobody has to do without rows.
			if at, what, lack, err = j.claim(need, hot); what == "" || err != nil {
				return at, err
			}
			removed, err = j.dropNeeded(lack)
		}
		if err != nil {
			return nil, err
		}
		if !removed {
			return nil, fault.New(fault.DiskFull, "stream %q has no room: %s", j.o.Name, what).
				WithHint("nothing was stored; what is left is needed by a sink, held, kept, or not in the cold tier yet (holdfast status says which); rows are taken again as soon as there is room; a transaction has to fit into it whole")
		}
	}
}

// lacking says which limit need more bytes would break, and by how much; ""
// for none.
func (j *Journal) lacking(need int64) (what string, lack int64, err error) {
	at, what, lack, err := j.claim(need, hot)
	if what == "" && err == nil {
		j.account(at, -need)
	}
	return what, lack, err
}

// neededLocked returns the first seq that a registered sink has not committed.
func (j *Journal) neededLocked() uint64 {
	need := j.end.Seq + 1
	for _, m := range j.marks {
		need = min(need, m+1)
	}
	if mutant.On(35) {
		for _, m := range j.marks {
			need = max(need, m+1)
		}
	}
	return need
}

// victimLocked returns the oldest segment that may go: nobody needs it, unless
// drop is set, and nothing keeps it. Held ones are passed over. With last set
// it may be the newest, whose header else carries the seq on.
func (j *Journal) victimLocked(drop, last bool) *seg {
	need, end := j.neededLocked(), j.firstKeptLocked()
	if !last {
		end = min(end, len(j.segs)-1)
	}
	for _, s := range j.segs[:max(end, 0)] {
		if s.w != nil || !s.sealed && !s.poisoned || !drop && s.last() >= need {
			return nil
		}
		if j.heldLocked(s) == "" {
			return s
		}
	}
	return nil
}

// removableLocked returns the oldest segment that nobody needs any more.
func (j *Journal) removableLocked() *seg { return j.victimLocked(false, false) }

// free lets the oldest go that no sink needs, so that lack bytes become free: by
// itself, or, where a link ties the stream to others, together with what belongs
// to it. It returns false where nothing may go.
func (j *Journal) free(lack int64) (bool, error) {
	if freed, err := j.purge(false); freed || err != nil {
		return freed, err
	}
	return j.trimOldest(lack)
}

// dropNeeded lets the oldest go although sinks need it, which was chosen for when
// nothing else helps.
func (j *Journal) dropNeeded(lack int64) (bool, error) {
	if j.o.Room != nil {
		return j.o.Room(lack, true)
	}
	if j.tiered() {
		return false, nil // what leaves first lies elsewhere
	}
	return j.removeOldest(true)
}

// removeOldest removes the oldest segment that may go. A file of full size is
// kept as the reserve.
func (j *Journal) removeOldest(drop bool) (bool, error) {
	j.trim.Lock()
	defer j.trim.Unlock()
	j.mu.Lock()
	s := j.victimLocked(drop, false)
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
	lost := j.lossLocked([]*seg{s}, "removed by a limit")
	j.mu.Unlock()
	if ok, err := j.giveUp(lost); !ok || err != nil {
		return false, err
	}
	j.mu.Lock()
	to := unlinked
	if j.reserve == nil && !s.at.Warm && (s.readers == 0 || mutant.On(36)) && !s.poisoned && s.size >= j.segmentSize()-minSegment/2 {
		to = recycled
	}
	j.detachLocked(s)
	j.mu.Unlock()
	return true, j.removeFile(s, to, len(lost) > 0)
}

// detachLocked takes a segment off the list: readers do not find it any more.
func (j *Journal) detachLocked(s *seg) {
	s.gone = true
	for i := range j.segs {
		if j.segs[i] != s {
			continue
		}
		if i == 0 { // so that a long list is not copied for each that goes
			j.segs = j.segs[1:]
		} else {
			j.segs = append(j.segs[:i:i], j.segs[i+1:]...)
		}
		break
	}
	j.changedLocked()
}

// unlink removes the file of a segment without rows.
func (j *Journal) unlink(s *seg) error {
	j.unbegun(s)
	if err := s.at.FS.Remove(s.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	j.account(s.at, -s.size)
	if mutant.On(6) {
		return nil
	}
	return s.at.FS.SyncDir("")
}

// describe is what each segment repeats about the stream.
func (j *Journal) describe() segment.Stream {
	j.mu.Lock()
	defer j.mu.Unlock()
	marks := maps.Clone(j.marks)
	delete(marks, j.leaving)
	return segment.Stream{ID: j.id, Name: j.o.Name, Marks: marks, Link: j.o.Link.column(), Cut: j.cut}
}
