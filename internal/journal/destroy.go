package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"holdfast/internal/mutant"
)

// fate is what becomes of a segment's file.
type fate int

const (
	unlinked fate = iota // it is removed
	recycled             // it becomes the reserve, and is written anew
	trashed              // it waits in the trash, from where a roll can be undone
)

// errKept says that a segment may not go.
var errKept = errors.New("the segment is kept")

// destroy takes the file of a segment away for good, or into the trash, and
// tells whether it is gone from its place. It is the only function in the
// program that removes rows: every limit, roll, stop and start that lets rows
// go comes through here, where what must stay is asked once more. The segment
// is no longer listed when it is called, and its removal was committed. dropped
// says that a gap tells which rows were given up, so that no sink waits for
// them. Until settleGone the file may come back with the power.
func (j *Journal) destroy(s *seg, to fate, dropped bool) (gone bool, err error) {
	j.mu.Lock()
	why := j.keptLocked(s, dropped)
	if to == recycled && s.readers > 0 && !mutant.On(36) {
		to = unlinked // it reads on from the file that has no name any more
	}
	j.mu.Unlock()
	if why != "" {
		return false, fmt.Errorf("segment %d of stream %q: %w: %s", s.number, j.o.Name, errKept, why)
	}
	j.unbegun(s)
	if to == trashed && !s.trashed {
		if err := s.at.FS.Rename(s.name(), trashName(s.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		s.trashed = true
		return true, nil
	}
	var rerr error
	if to == recycled {
		if gone, rerr = j.recycle(s); gone {
			return true, rerr
		}
	}
	from := s.name()
	if s.trashed {
		from = trashName(s.number)
	}
	if err := s.at.FS.Remove(from); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, errors.Join(rerr, err)
	}
	j.account(s.at, -s.size)
	return true, rerr
}

// settleGone makes durable what destroy has done to segments: once for each
// directory, since that is what takes time.
func settleGone(segs ...*seg) error {
	if mutant.On(6) {
		return nil
	}
	dirs := make([]*directory, len(segs))
	for i, s := range segs {
		dirs[i] = s.at
	}
	return syncAll(dirs...)
}

// keptLocked returns why a segment must stay; "" where it need not.
func (j *Journal) keptLocked(s *seg, dropped bool) string {
	if name := j.heldLocked(s); name != "" {
		return "hold " + name
	}
	if j.comesBackLocked(s) {
		return "an undo brings it back"
	}
	if j.o.Cold != nil && s.gone && s.rows > 0 && s.to == "" {
		return errNotCold.Error()
	}
	if !dropped && s.rows > 0 && s.last() >= j.neededLocked() {
		return "a sink needs it"
	}
	return ""
}

// trashName is what the file of a roll is called that can be undone. It stays
// in its directory: only there a rename is one step, whenever the power goes.
func trashName(number uint64) string {
	return fmt.Sprintf("%0*d%s", numberDigits, number, trashSuffix)
}

// recycle makes a segment's file the reserve, and tells whether that has begun.
// Its old blocks cannot pass for new ones: they carry another identity.
// destroy alone calls it.
func (j *Journal) recycle(s *seg) (bool, error) {
	name, serial := j.ownName(spareSuffix)
	f, err := s.at.FS.Open(s.name(), true)
	if err != nil {
		return false, err
	}
	r := &reserved{at: s.at, name: name, serial: serial, file: f, size: s.size}
	if err := s.at.FS.Rename(s.name(), name); err != nil {
		return false, errors.Join(err, f.Close())
	}
	if err := s.at.FS.SyncDir(""); err != nil {
		return true, errors.Join(err, j.discardSpare(r))
	}
	j.mu.Lock()
	if j.reserve == nil {
		j.reserve, r = r, nil
	}
	j.mu.Unlock()
	if r != nil { // the keeper made one meanwhile
		return true, j.discardSpare(r)
	}
	return true, nil
}

// removeFile destroys a segment that is no longer listed. One that stays is
// listed again, so that it is counted, and tried anew.
func (j *Journal) removeFile(s *seg, to fate, dropped bool) error {
	gone, err := j.destroy(s, to, dropped)
	if !gone {
		j.mu.Lock()
		s.gone = false
		j.relistLocked(s)
		j.mu.Unlock()
		return err
	}
	err = errors.Join(err, settleGone(s))
	j.removed(s, to)
	return err
}

// relistLocked puts a segment back in its place.
func (j *Journal) relistLocked(s *seg) {
	at, _ := slices.BinarySearchFunc(j.segs, s.number, func(o *seg, number uint64) int { return cmp.Compare(o.number, number) })
	j.segs = slices.Insert(j.segs, at, s)
	j.changedLocked()
}
