package journal

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/manifests"
	"holdfast/internal/mutant"
	"holdfast/internal/segment"
	"holdfast/row"
)

// File is what a plan knows of a segment.
type File struct {
	Number              uint64
	Bytes               int64
	FirstSeq, LastSeq   uint64 // LastSeq is 0 without rows
	FirstTime, LastTime int64  // of receipt, Unix microseconds
	FileTime            int64  // when it was sealed
	Link                segment.LinkRange
	Sealed              bool // it is immutable, and its links are known
	Held                bool
	Directory           string // ID of where it is; empty: beside the MANIFEST
	Warm                bool   // it lies in the warm tier
}

// Files returns the segments, oldest first, without reading any.
func (j *Journal) Files() []File {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]File, 0, len(j.segs))
	for _, s := range j.segs {
		f := File{
			Number: s.number, Bytes: s.size, FirstSeq: s.first, LastSeq: s.last(), FirstTime: s.firstTime, LastTime: s.lastTime,
			FileTime: cmp.Or(s.fileTime, s.lastTime), Link: s.link,
			Sealed: s.w == nil && s.sealed && j.learnedLocked(s), Held: j.heldLocked(s) != "", Directory: s.at.ID, Warm: s.at.Warm,
		}
		if s.rows == 0 {
			f.LastSeq = 0
		}
		if mutant.On(33) && s.link.Rows > 0 {
			f.FileTime, f.LastTime = s.link.Last, s.link.Last
		}
		all = append(all, f)
	}
	return all
}

// Watermark returns what rolls have cut off.
func (j *Journal) Watermark() segment.Watermark {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cut
}

// Cut is what one roll changes in one stream. It is committed elsewhere, for
// all streams at once, between Prepare and Carry; a start gets it by Options.
type Cut struct {
	ID     string             `json:"id"` // of the stream
	Serial uint64             `json:"serial"`
	Mark   *segment.Watermark `json:"mark,omitempty"`   // nil: it stays
	Doomed []uint64           `json:"doomed,omitempty"` // numbers of the segments that go
	Until  int64              `json:"until,omitempty"`  // how long they wait in the trash, Unix microseconds; 0: not at all
	Lost   []row.Damage       `json:"lost,omitempty"`   // gaps for what is not behind every reader; with Undo, those that go again
	Undo   uint64             `json:"undo,omitempty"`   // serial of the roll that is taken back; then Doomed is empty
	Drop   bool               `json:"drop,omitempty"`   // sinks may need what goes
	To     string             `json:"to,omitempty"`     // the cold tier that has what goes; "": there is none
	Waived []uint64           `json:"waived,omitempty"` // what goes all the same without a copy there
}

// Removed tells of a segment that went.
type Removed struct {
	File
	Trash bool   // it can be taken back
	Roll  uint64 // serial of the roll, 0: a limit of the stream
	To    string // what it is called in the cold tier; "": it is in none
}

// Prepared is a cut that readers see, and that nothing was removed by yet. It
// ends with Carry or Abandon.
type Prepared struct {
	j      *Journal
	Cut    Cut
	segs   []*seg
	before segment.Watermark
}

// Prepare takes the segments that go off the list, after asking of each once
// more whether it may, and fills in where the watermark ends and which gaps
// there must be.
func (j *Journal) Prepare(c Cut) (*Prepared, error) {
	_ = j.saveIfDirty() // a MANIFEST that does not describe a segment cannot bring it back
	j.trim.Lock()
	p := &Prepared{j: j, Cut: c}
	if err := p.prepare(); err != nil {
		j.trim.Unlock()
		return nil, err
	}
	return p, nil
}

func (p *Prepared) prepare() error {
	j := p.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if p.Cut.Undo != 0 {
		return p.prepareUndoLocked()
	}
	doomed := make(map[uint64]bool, len(p.Cut.Doomed))
	for _, n := range p.Cut.Doomed {
		doomed[n] = true
	}
	var left []*seg
	kept := j.firstKeptLocked()
	for i, s := range j.segs {
		if !doomed[s.number] {
			left = append(left, s)
			continue
		}
		why := j.keptLocked(s, p.Cut.Drop)
		if i >= kept {
			why = "keep_at_least"
		}
		if s.w != nil || !s.sealed || i == len(j.segs)-1 {
			why = "it is written to, or the newest"
		}
		if why != "" {
			return fmt.Errorf("segment %d of stream %q: %w: %s", s.number, j.o.Name, errKept, why)
		}
		p.segs = append(p.segs, s)
	}
	if len(p.segs) != len(doomed) {
		return fault.New(fault.InvalidParameterValue, "stream %q has changed since the plan was made", j.o.Name).WithHint("make the plan anew")
	}
	if err := p.destinedLocked(); err != nil {
		return err
	}
	p.Cut.Lost = j.lossLocked(p.segs, fmt.Sprintf("rolled away by roll %d", p.Cut.Serial))
	if len(p.Cut.Lost) > 0 && !j.mending.TryLock() {
		return fault.New(fault.CannotConnectNow, "stream %q is being repaired", j.o.Name).WithHint("roll again when that is done")
	}
	p.before = j.cut
	if m := p.Cut.Mark; m != nil {
		m.End, m.Through, m.Roll = j.end.Seq, max(j.cut.Through, min(j.end.Seq, j.neededLocked()-1)), p.Cut.Serial
		j.cut = *m
	}
	for _, s := range p.segs {
		s.gone, s.roll, s.until, s.lost = true, p.Cut.Serial, p.Cut.Until, p.Cut.Drop
	}
	j.segs = left
	j.changedLocked()
	return nil
}

// lossLocked returns the gaps that must be there before segments go: where
// older ones stay in front of them, and where a sink still needs a row.
func (j *Journal) lossLocked(segs []*seg, what string) (lost []row.Damage) {
	goes := make(map[*seg]bool, len(segs))
	for _, s := range segs {
		goes[s] = true
	}
	need, hole := j.neededLocked(), false
	for _, s := range j.segs {
		if !goes[s] {
			hole = true
			continue
		}
		if s.rows == 0 || !hole && s.last() < need {
			continue
		}
		d := row.Damage{Stream: j.o.Name, Segment: s.number, First: s.first, Last: s.last(), What: what, Gap: true, Rolled: true}
		if !hole {
			d.First = max(d.First, need)
		}
		for _, part := range apart(j.gaps.list, d) {
			if part.Rolled && part.What == what && len(within(j.gaps.list, part.First, part.Last)) == 0 {
				lost = append(lost, part)
			}
		}
	}
	return lost
}

// giveUp makes gaps of what goes; false where repair is at work, which holds
// the gaps.
func (j *Journal) giveUp(lost []row.Damage) (bool, error) {
	if len(lost) == 0 {
		return true, nil
	}
	if !j.mending.TryLock() {
		return false, nil
	}
	defer j.mending.Unlock()
	return true, j.addGaps(j.gapsOf(lost))
}

func (j *Journal) gapsOf(lost []row.Damage) []gap {
	var given []gap
	for _, d := range lost {
		given = append(given, gap{Damage: d, Made: j.o.Now().UnixMicro()})
	}
	return given
}

// Abandon takes back what Prepare has done: the roll was not committed.
func (p *Prepared) Abandon() {
	j := p.j
	j.mu.Lock()
	if p.Cut.Undo == 0 {
		for _, s := range p.segs {
			s.gone, s.roll, s.until, s.lost = false, 0, 0, false
			s.unwaive()
			j.relistLocked(s)
		}
		j.cut = p.before
	}
	j.mu.Unlock()
	p.end()
}

func (p *Prepared) end() {
	if len(p.Cut.Lost) > 0 {
		p.j.mending.Unlock()
	}
	p.j.trim.Unlock()
}

// Carry carries out what was committed. What goes wrong is tried again by the
// keeper, and at the next start: it returns whether the MANIFEST knows of the
// roll by now, so that its commit may be forgotten.
func (p *Prepared) Carry() error {
	defer p.j.chore()
	defer p.j.changed()
	defer p.end()
	return p.carry()
}

func (p *Prepared) carry() error {
	j := p.j
	var errs []error
	switch {
	case p.Cut.Undo != 0:
		if err := p.giveBack(); err != nil {
			return err
		}
	case len(p.Cut.Lost) > 0:
		errs = append(errs, j.addGaps(j.gapsOf(p.Cut.Lost)))
	}
	j.mu.Lock()
	j.takeLocked(p.Cut, p.segs, p.before)
	j.mu.Unlock()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	err := j.saveManifest()
	if err != nil && !disk.IsFull(err) {
		return err
	}
	return errors.Join(err, j.finishGoneLocked())
}

// takeLocked notes a roll as carried out.
func (j *Journal) takeLocked(c Cut, segs []*seg, before segment.Watermark) {
	j.rolled = c.Serial
	if c.Undo != 0 {
		j.undo = slices.DeleteFunc(j.undo, func(u undoable) bool { return u.Roll == c.Undo })
		j.gone = slices.DeleteFunc(j.gone, func(s *seg) bool { return slices.Contains(segs, s) })
		for _, s := range segs {
			s.gone, s.roll, s.until, s.lost, s.trashed = false, 0, 0, false, false
			s.unwaive()
			j.relistLocked(s)
		}
		if c.Mark != nil {
			j.cut = *c.Mark
		}
		return
	}
	j.gone = append(j.gone, segs...)
	if c.Until > 0 {
		j.undo = append(j.undo, undoable{Roll: c.Serial, Before: before, Until: c.Until})
	}
}

// finishGone does what rolls have left to do: doomed files leave, and those in
// the trash whose time is over.
func (j *Journal) finishGone() error {
	j.mu.Lock()
	none, unfinished := len(j.gone) == 0 && len(j.undo) == 0, j.unfinished != nil
	j.mu.Unlock()
	if none {
		return nil
	}
	if unfinished {
		if err := j.finishUndo(); err != nil {
			return err
		}
	}
	j.trim.Lock()
	defer j.trim.Unlock()
	return j.finishGoneLocked()
}

// finishGoneLocked is finishGone with trim held.
func (j *Journal) finishGoneLocked() error {
	now := j.o.Aging().UnixMicro()
	j.mu.Lock()
	var todo []*seg
	for _, s := range j.gone {
		if s.until <= now && j.keptLocked(s, s.lost) == "" || !s.trashed { // a hold keeps what is in the trash as well
			todo = append(todo, s)
		}
	}
	j.undo = slices.DeleteFunc(j.undo, func(u undoable) bool { return u.Until <= now })
	j.mu.Unlock()
	return j.finishAll(todo, now)
}

// finishAll takes away the files of rolled segments: all of them, and then one
// flush for each directory, before anybody is told.
func (j *Journal) finishAll(segs []*seg, now int64) error {
	var errs []error
	var went []*seg
	unlisted := map[*seg]bool{}
	to := func(s *seg) fate {
		if s.until > now {
			return trashed
		}
		return unlinked
	}
	for _, s := range segs {
		gone, err := j.destroy(s, to(s), s.lost)
		errs = append(errs, err)
		if gone {
			went = append(went, s)
			unlisted[s] = to(s) == unlinked
		}
	}
	if len(went) == 0 {
		return errors.Join(errs...)
	}
	errs = append(errs, settleGone(went...))
	j.mu.Lock()
	j.gone = slices.DeleteFunc(j.gone, func(s *seg) bool { return unlisted[s] })
	for _, s := range went {
		j.dirty = j.dirty || unlisted[s]
	}
	j.mu.Unlock()
	for _, s := range went {
		j.removed(s, to(s))
	}
	return errors.Join(errs...)
}

// removed tells who wants to know.
func (j *Journal) removed(s *seg, to fate) {
	j.changed()
	if j.o.Manifests && to != trashed {
		j.mu.Lock()
		j.leftLocked(s)
		j.mu.Unlock()
	}
	if j.o.Removed == nil || s.rows == 0 {
		return
	}
	j.o.Removed(Removed{
		File: File{
			Number: s.number, Bytes: s.size, FirstSeq: s.first, LastSeq: s.last(), FirstTime: s.firstTime, LastTime: s.lastTime,
			FileTime: cmp.Or(s.fileTime, s.lastTime), Link: s.link, Sealed: true,
		},
		Trash: to == trashed, Roll: s.roll, To: j.inCold(s.number, s.to),
	})
}

// purge frees the oldest file in the trash that nothing keeps there: room is
// needed now. The roll that put it there cannot be undone any more.
func (j *Journal) purge(warm bool) (bool, error) {
	j.trim.Lock()
	defer j.trim.Unlock()
	j.mu.Lock()
	var s *seg
	if at := slices.IndexFunc(j.gone, func(g *seg) bool { return g.at.Warm == warm && j.keptLocked(g, g.lost) == "" }); at >= 0 {
		s = j.gone[at]
		for i := range j.undo {
			if j.undo[i].Roll == s.roll {
				j.undo[i].Freed = true
			}
		}
		s.until = 0
	}
	j.mu.Unlock()
	if s == nil {
		return false, nil
	}
	err := j.finishAll([]*seg{s}, 0)
	return err == nil, err
}

// isGone tells whether a roll has let a segment go.
func (j *Journal) isGone(number uint64) bool {
	return slices.ContainsFunc(j.gone, func(s *seg) bool { return s.number == number })
}

// loadRolled takes over what rolls have done: what the MANIFEST says, and then
// what the last one has committed and the MANIFEST does not know.
func (j *Journal) loadRolled(entries []entry, m *manifest) ([]entry, error) {
	j.cut, j.rolled, j.undo = m.Cut, m.Rolled, m.Undo
	for _, g := range m.Gone {
		at := j.directoryOf(g.Directory)
		if at == nil { // what was there is given up with its directory
			continue
		}
		s := g.segAt(at)
		s.gone, s.roll, s.until, s.lost, s.to = true, g.Roll, g.Until, g.Lost, cmp.Or(g.To, manifests.Nowhere)
		j.gone = append(j.gone, s)
	}
	var segs []*seg
	if c := j.o.Cut; c != nil && c.Serial > m.Rolled && (c.ID == j.id || j.id == "") {
		described := map[uint64]*manifestSegment{}
		for i := range m.Segments {
			described[m.Segments[i].Number] = &m.Segments[i]
		}
		for _, n := range c.Doomed {
			s := &seg{at: j.home, number: n, gone: true, roll: c.Serial} // nobody could bring it back as it was
			if k := described[n]; k != nil && j.directoryOf(k.Directory) != nil {
				s = k.segAt(j.directoryOf(k.Directory))
				s.gone, s.roll, s.until, s.lost = true, c.Serial, c.Until, c.Drop
			}
			s.to = c.where(n)
			segs = append(segs, s)
		}
		before := j.cut
		if c.Undo != 0 {
			segs = slices.DeleteFunc(slices.Clone(j.gone), func(s *seg) bool { return s.roll != c.Undo })
			if err := j.bringBack(segs); err != nil {
				return nil, err
			}
		}
		j.takeLocked(*c, segs, before)
		if c.Undo != 0 { // loadSegments lists them
			j.segs = nil
			for _, s := range segs {
				m.Segments = append(m.Segments, s.note())
			}
			var err error
			if entries, err = j.listing(); err != nil {
				return nil, err
			}
			j.regained = c.Lost
		}
		if c.Mark != nil {
			j.cut = *c.Mark
		}
	}
	here := map[uint64][]entry{}
	for _, e := range entries {
		if n, _, ok := segmentIn(e.Name); ok {
			here[n] = append(here[n], e)
		}
	}
	sizes := map[uint64]entry{}
	for _, e := range entries {
		if n, ok := numberIn(e.Name, trashSuffix); ok {
			sizes[n] = e
		}
	}
	for n := range sizes {
		if !j.isGone(n) { // the MANIFEST that knew of it is lost
			j.gone = append(j.gone, &seg{at: sizes[n].at, number: n, gone: true, until: math.MaxInt64})
		}
	}
	for _, s := range j.gone {
		e, trashed := sizes[s.number]
		files := here[s.number]
		s.trashed = trashed && len(files) == 0
		if len(files) > 0 {
			note := s.note()
			e = j.choose(files, &note)
			s.packed = e.packed
		}
		if e.at != nil {
			s.at = e.at
		}
		s.size = e.Size
		j.accountLocked(s.at, e.Size)
		j.newest = max(j.newest, s.number)
	}
	return entries, nil
}

// loadLost makes the gaps of a roll that was committed and not carried out, and
// takes those back that such an undo has filled.
func (j *Journal) loadLost() error {
	if err := j.dropGaps(j.regained); err != nil {
		return err
	}
	if c := j.o.Cut; c != nil && c.Undo == 0 {
		var lost []row.Damage
		for _, d := range c.Lost {
			for _, part := range apart(j.gaps.list, d) {
				if part.What == d.What && len(within(j.gaps.list, part.First, part.Last)) == 0 && part.Last > j.oldestLocked().Seq {
					lost = append(lost, part)
				}
			}
		}
		if len(lost) > 0 {
			return j.addGaps(j.gapsOf(lost))
		}
	}
	return nil
}

// Rolled returns the serial of the last roll that the MANIFEST knows of.
func (j *Journal) Rolled() (serial uint64, durable bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rolled, j.savedRoll >= j.rolled
}

// Settle makes durable that the last roll was carried out.
func (j *Journal) Settle() error {
	if err := j.finishUndo(); err != nil {
		return err
	}
	if _, durable := j.Rolled(); durable {
		return nil
	}
	return j.saveManifest()
}
