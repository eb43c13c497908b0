package journal

import (
	"errors"
	"fmt"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/segment"
)

// lookAround is how often the keeper looks for work nobody told it of: room
// that others took on the volume, marks to be noted.
const lookAround = time.Second

// keep is the keeper: it does, off the path of the writers, all that a stream
// needs besides writing.
func (j *Journal) keep() {
	defer close(j.kept)
	tick := time.NewTicker(lookAround)
	defer tick.Stop()
	var last string
	for {
		select {
		case <-j.chores:
		case <-tick.C:
		case <-j.stop:
			<-j.ended
			return
		}
		err := errors.Join(j.sealRetired(), j.learnLinks(), j.trimHistory(), j.finishGone(), j.reserveAhead(), j.noteSegments(), j.clearBeside(), j.trimGaps(), j.dropDoubles(), j.sweep(), j.saveWhenDue())
		if err == nil {
			last = ""
		} else if err.Error() != last {
			last = err.Error()
			j.o.Log.Error("look after stream", "stream", j.o.Name, "error", err)
		}
	}
}

// sealRetired seals every segment that is no longer written to.
func (j *Journal) sealRetired() error {
	var errs []error
	for {
		j.mu.Lock()
		var s *seg
		for _, c := range j.segs {
			if c.w == nil && !c.sealed && !c.poisoned && c.hashing == nil {
				s = c
				break
			}
		}
		j.mu.Unlock()
		if s == nil {
			return errors.Join(errs...)
		}
		if err := j.seal(s); err != nil { // it is not tried again
			errs = append(errs, err)
		}
		j.mu.Lock()
		j.unsaved++
		j.changedLocked()
		j.mu.Unlock()
	}
}

// seal writes the footer of one segment. One that cannot be sealed is left as
// it is: its successor's header says where it ends.
func (j *Journal) seal(s *seg) error {
	sum, size, err := j.sealFile(s)
	j.mu.Lock()
	defer j.mu.Unlock()
	s.file = nil
	if err != nil {
		s.poisoned = true
		return err
	}
	j.accountLocked(s.at, size-s.size)
	s.size, s.sealed, s.summary, s.fileTime = size, true, &sum, j.o.Now().UnixMicro()
	s.firstTime, s.lastTime, s.link = sum.FirstTime, sum.LastTime, sum.Link
	s.forgetLocked()
	j.changed()
	return nil
}

func (j *Journal) sealFile(s *seg) (sum segment.Summary, size int64, err error) {
	f := s.file
	if f == nil {
		if f, err = j.openFile(s, true); err != nil {
			return sum, 0, err
		}
		if err = f.Sync(); err != nil {
			return sum, 0, errors.Join(err, f.Close())
		}
	}
	j.mu.Lock()
	known := s.summary
	j.mu.Unlock()
	if known == nil {
		r, rerr := segment.Recover(f, s.header, s.end, nil)
		if rerr != nil {
			return sum, 0, errors.Join(rerr, f.Close())
		}
		j.mu.Lock()
		j.damagedLocked(r.Damage...)
		j.mu.Unlock()
		r.Summary.Tail = s.tail()
		known = &r.Summary
	}
	j.mu.Lock()
	known.SHA256 = s.sumLocked()
	j.mu.Unlock()
	sum, size, err = segment.Seal(f, *known)
	return sum, size, errors.Join(err, f.Close())
}

// trimHistory removes delivered segments beyond what is to be kept.
func (j *Journal) trimHistory() error {
	for {
		l := j.limits.Load()
		j.mu.Lock()
		lack := int64(0)
		switch {
		case j.removableLocked() == nil:
		case l.KeepDelivered:
			lack = j.deliveredLocked()
		case l.History > 0:
			lack = j.deliveredLocked() - l.History
		}
		j.mu.Unlock()
		if lack > 0 {
			if removed, err := j.trimOldest(lack); !removed || err != nil {
				return err
			}
			continue
		}
		what, lack, err := j.lacking(0)
		if what == "" || err != nil {
			return err
		}
		if freed, err := j.purge(false); freed && err == nil {
			continue
		}
		if removed, err := j.trimOldest(lack); !removed || err != nil {
			return err
		}
	}
}

// trimOldest lets delivered rows go that history is too small for. No sink
// loses a row by that, whatever is chosen for a full disk.
func (j *Journal) trimOldest(lack int64) (bool, error) {
	if j.o.Room != nil {
		return j.o.Room(lack, false)
	}
	if j.tiered() {
		return false, nil
	}
	return j.removeOldest(false)
}

// deliveredLocked returns the bytes of segments that nobody needs.
func (j *Journal) deliveredLocked() int64 {
	need, total := j.neededLocked(), int64(0)
	for _, s := range j.segs {
		if s.w != nil || s.last() >= need {
			break
		}
		if j.heldLocked(s) == "" { // those are kept for somebody, not as history
			total += s.size
		}
	}
	return total
}

// reserveAhead makes the next segment's file once the active one is a quarter
// full, so that a full disk shows before a row was taken, and so that no
// writer waits for zeros to be written.
func (j *Journal) reserveAhead() error {
	j.mu.Lock()
	n := len(j.segs)
	trouble := j.trouble != nil
	scarce := trouble || n > 0 && (j.segs[n-1].w == nil || j.segs[n-1].end > j.segs[n-1].size/4)
	scarce = scarce && j.reserve == nil && !j.closed
	j.mu.Unlock()
	if !scarce {
		return nil
	}
	if what, _, err := j.lacking(j.segmentSize()); !trouble && (what != "" || err != nil) {
		return err // writers are told when they need it; delivered rows are not removed before that
	}
	r, err := j.makeFile(j.segmentSize())
	if err != nil {
		if trouble { // writers were told already, and status says so
			return nil
		}
		return err
	}
	j.mu.Lock()
	old := j.reserve
	if old == nil {
		j.reserve = r
	}
	j.trouble = nil // healed, though nobody may be writing who would find out
	j.mu.Unlock()
	if old != nil { // a segment was recycled meanwhile
		return j.discardSpare(r)
	}
	return nil
}

// finish is the last part of Close: both goroutines have ended.
func (j *Journal) finish() error {
	var errs []error
	if n := len(j.saved); n > 0 {
		errs = append(errs, fmt.Errorf("close stream %q: %d blocks that were acked before their flush could not be flushed; nothing takes them", j.o.Name, n))
	}
	if s := j.active; s != nil {
		j.active = nil
		empty := s.w.Empty()
		s.w = nil
		if empty {
			errs = append(errs, s.file.Close(), j.drop(s))
		}
	}
	var buf hashBuffers
	for j.hashOne(&buf) { // the hasher may have ended before it knew of the last segments
	}
	errs = append(errs, j.sealRetired())
	j.mu.Lock()
	j.dirty = true
	r := j.reserve
	j.reserve = nil
	j.mu.Unlock()
	serr := j.saveIfDirty()
	if disk.IsFull(serr) { // nothing is lost: what it would say, the next start reads from the segments
		j.o.Log.Warn("the disk is full; the stream is closed without its newest MANIFEST", "stream", j.o.Name, "error", serr)
	} else {
		errs = append(errs, serr)
	}
	if j.limits.Load().KeepDelivered && serr == nil { // else the segments alone know the seq
		errs = append(errs, j.dropDelivered())
		if r != nil && len(j.segs) == 0 {
			errs = append(errs, j.discard(r))
			r = nil
		}
	}
	if r != nil {
		errs = append(errs, r.file.Close())
	}
	if err := errors.Join(j.noteSegments(), j.clearBeside()); err != nil { // the next start does it
		j.o.Log.Warn("not every manifest stands beside its segment", "stream", j.o.Name, "error", err)
	}
	errs = append(errs, j.closeCheckpoints(), j.d.SyncDir(""))
	return errors.Join(errs...)
}

// drop forgets a segment without rows.
func (j *Journal) drop(s *seg) error {
	j.mu.Lock()
	j.segs = j.segs[:len(j.segs)-1]
	s.gone = true
	j.mu.Unlock()
	return j.unlink(s)
}

// dropDelivered removes, at a clean stop, every segment that nobody needs: the
// MANIFEST that was just saved carries the seq on.
func (j *Journal) dropDelivered() error {
	j.trim.Lock()
	defer j.trim.Unlock()
	for {
		j.mu.Lock()
		s := j.victimLocked(false, true)
		if s == nil {
			j.mu.Unlock()
			return nil
		}
		lost := j.lossLocked([]*seg{s}, "removed at a clean stop, as keep: delivered asks")
		j.mu.Unlock()
		if ok, err := j.giveUp(lost); !ok || err != nil {
			return err
		}
		j.mu.Lock()
		j.detachLocked(s)
		j.mu.Unlock()
		if err := j.removeFile(s, unlinked, false); err != nil {
			return err
		}
	}
}
