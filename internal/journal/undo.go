package journal

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"

	"holdfast/internal/fault"
	"holdfast/internal/segment"
	"holdfast/row"
)

// undoable is a roll that can be taken back.
type undoable struct {
	Roll   uint64            `json:"roll"`
	Before segment.Watermark `json:"before"`
	Until  int64             `json:"until"`
	Freed  bool              `json:"freed,omitempty"` // room was needed meanwhile
}

// prepareUndoLocked finds what an undo brings back.
func (p *Prepared) prepareUndoLocked() error {
	j := p.j
	at := slices.IndexFunc(j.undo, func(u undoable) bool { return u.Roll == p.Cut.Undo })
	if at < 0 || j.undo[at].Until <= j.o.Aging().UnixMicro() {
		return fault.New(fault.UndefinedObject, "roll %d of stream %q cannot be undone", p.Cut.Undo, j.o.Name).WithHint("its time is over, or it is undone already")
	}
	if j.undo[at].Freed || at != len(j.undo)-1 {
		return fault.New(fault.InvalidParameterValue, "roll %d of stream %q cannot be undone: its files were freed, or a later roll stands before it", p.Cut.Undo, j.o.Name).
			WithHint("undo the later roll first; what was freed for want of room is gone")
	}
	before := j.undo[at].Before
	p.Cut.Mark = &before
	for _, s := range j.gone {
		if s.roll == p.Cut.Undo {
			p.segs = append(p.segs, s)
			p.Cut.Lost = append(p.Cut.Lost, j.madeLocked(s)...)
		}
	}
	if len(p.Cut.Lost) > 0 && !j.mending.TryLock() {
		return fault.New(fault.CannotConnectNow, "stream %q is being repaired", j.o.Name).WithHint("undo the roll when that is done")
	}
	slices.SortFunc(p.Cut.Lost, func(a, b row.Damage) int { return cmp.Compare(a.First, b.First) })
	return nil
}

// madeLocked returns what of a rolled segment is in gaps that rolls have made.
func (j *Journal) madeLocked(s *seg) (all []row.Damage) {
	if s.rows == 0 {
		return nil
	}
	for _, g := range within(j.gaps.list, s.first, s.last()) {
		if g.Rolled {
			d := g.Damage
			d.Segment, d.First, d.Last = s.number, max(d.First, s.first), min(d.Last, s.last())
			all = append(all, d)
		}
	}
	return all
}

// giveBack has files and rows at their places again. Where that fails, the undo
// is committed all the same, and nothing of it is noted as done: the keeper, who
// wants to roll next, or the next start tries again.
func (p *Prepared) giveBack() error {
	j := p.j
	err := j.bringBack(p.segs)
	if err == nil {
		err = j.dropGaps(p.Cut.Lost)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unfinished = nil
	if err != nil {
		j.unfinished = p
	}
	return err
}

// bringBack moves files out of the trash to their places.
func (j *Journal) bringBack(segs []*seg) error {
	for _, s := range segs {
		if err := s.at.FS.Rename(trashName(s.number), s.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncAll(j.dirs...)
}

// finishUndo tries again what giveBack could not do.
func (j *Journal) finishUndo() error {
	j.trim.Lock()
	j.mu.Lock()
	p := j.unfinished
	j.mu.Unlock()
	if p == nil {
		j.trim.Unlock()
		return nil
	}
	if len(p.Cut.Lost) > 0 && !j.mending.TryLock() {
		j.trim.Unlock()
		return fault.New(fault.CannotConnectNow, "an undo in stream %q waits for a repair", j.o.Name).WithHint("it is finished when that is done")
	}
	defer j.changed()
	defer p.end()
	return p.carry()
}

// comesBackLocked tells whether a committed undo is about to bring a segment back.
func (j *Journal) comesBackLocked(s *seg) bool {
	return j.unfinished != nil && slices.Contains(j.unfinished.segs, s)
}

// Undoable returns the rolls that can be taken back here, oldest first.
func (j *Journal) Undoable() (serials []uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, u := range j.undo {
		if !u.Freed && u.Until > j.o.Aging().UnixMicro() {
			serials = append(serials, u.Roll)
		}
	}
	return serials
}

// HadRoll tells whether a roll can, or could, be taken back here.
func (j *Journal) HadRoll(serial uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.undo, func(u undoable) bool { return u.Roll == serial })
}
