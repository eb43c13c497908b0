package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"holdfast/internal/disk"
	"holdfast/internal/segment"
	"holdfast/row"
)

// stray is the file of a segment under a name that is not its own: two files
// were exchanged, or one was put in the place of another. All of its rows are
// there, so it is renamed, and none is given up.
type stray struct {
	entry                   // Name is its path in its place
	slot   uint64           // the number in its name; 0: it has a third name
	header segment.Header   // of what it really is
	sum    *segment.Summary // nil: it has no footer of its own
	other  bool             // it is of another stream
}

// own is the name that the file has to have.
func (s *stray) own() string {
	if s.packed {
		return packedName(s.header.Number)
	}
	return segmentName(s.header.Number)
}

// String says what the file is, and where it belongs.
func (s *stray) String() string {
	if !s.other {
		return fmt.Sprintf("segment %d is misplaced: it is in the file %s, and has to be %s", s.header.Number, s.Name, s.own())
	}
	return fmt.Sprintf("misplaced: the file %s is segment %d of stream %q (%s); segment %d of this stream is not where it has to be, and may be in the directory of that one, as %s",
		s.Name, s.header.Number, s.header.Stream.Name, s.header.Stream.ID, s.slot, s.own())
}

// repair is what there is to do about the file.
func (s *stray) repair(stream string) Repair {
	r := Repair{Damage: row.Damage{Stream: stream, Segment: s.header.Number, What: s.String()}, Do: Rename, From: s.Name}
	if s.other {
		r.Segment = s.slot
	} else {
		r.To = s.own()
	}
	return r
}

// spot is a name in one of the stream's places.
type spot struct {
	at   *directory
	name string
}

// strays finds the files that are segments under another name than their own,
// and which names are taken. Each header is read, no row is.
func (j *Journal) strays() (found []*stray, taken map[spot]bool, err error) {
	entries, err := j.listing()
	if err != nil {
		return nil, nil, err
	}
	for _, at := range j.dirs {
		lost, err := at.FS.List(lostDir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		for _, e := range lost {
			if _, packed, ok := segmentIn(e.Name); ok {
				e.Name = lostDir + "/" + e.Name
				entries = append(entries, entry{e, at, packed})
			}
		}
	}
	j.mu.Lock()
	newest, unsealed := uint64(0), map[uint64]bool{}
	for _, s := range j.segs {
		newest, unsealed[s.number] = s.number, !s.sealed
	}
	j.mu.Unlock()
	taken = map[spot]bool{}
	right := map[uint64]bool{}
	for _, e := range entries {
		taken[spot{e.at, e.Name}] = true
		e.packed = e.packed || strings.HasSuffix(e.Name, movedPackedSuffix)
		slot, third, ok := slotOf(e.Name)
		if !ok || slot > newest || unsealed[slot] { // what is being written is not there in whole
			continue
		}
		s, err := j.identify(e, slot)
		if err != nil {
			return nil, nil, fmt.Errorf("read the header of %s: %w", e.Name, err)
		}
		switch {
		case s == nil:
		case third || s.other || s.header.Number != slot:
			found = append(found, s)
		default:
			right[slot] = true
		}
	}
	// A second file of a segment that is in its place is of no use. One of another
	// stream that was set aside, or stands where no row is missing, is in nobody's way.
	found = slices.DeleteFunc(found, func(s *stray) bool {
		return !s.other && right[s.header.Number] || s.other && (path.Base(s.Name) != s.Name || len(j.ranges([]*stray{s})) == 0)
	})
	return found, taken, nil
}

// slotOf returns the number in a segment's name; third where the file waits for
// its own one.
func slotOf(name string) (slot uint64, third, ok bool) {
	if waits(name) {
		return 0, true, true
	}
	base := path.Base(name)
	slot, _, ok = segmentIn(base)
	return slot, base != name, ok
}

// identify reads what a file is; nil: nobody can tell, or it went meanwhile.
func (j *Journal) identify(e entry, slot uint64) (*stray, error) {
	f, err := e.open()
	if lost(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	whole := disk.Salvage(f)
	defer whole.Close()
	h, _, err := segment.ReadHeader(whole)
	if lost(err) || errors.Is(err, segment.ErrVersion) || errors.Is(err, io.EOF) { // the last: it is shorter than a header
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &stray{entry: e, slot: slot, header: *h, other: h.Stream.ID != j.id}
	sum, _, err := segment.ReadFooter(whole)
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return nil, err
	}
	if err == nil && sum.Header.Identity == h.Identity { // in a file that was used before it may be the old one
		s.sum = &sum
	}
	return s, nil
}

// ranges returns the rows that misplaced files hold, and those whose own files
// may be where another stream's stand. They are no gap, whatever is read.
func (j *Journal) ranges(found []*stray) (kept []gap) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range found {
		number := s.header.Number
		if s.other {
			number = s.slot
		}
		g := gap{Damage: j.rowsOfLocked(number)}
		g.Gap = true // for unrepaired, which leaves out what is
		if !s.other && s.sum != nil {
			g.First, g.Last = s.sum.Header.FirstSeq, s.sum.Tail.LastSeq
		}
		if g.First <= g.Last && g.First != 0 {
			kept = append(kept, g)
		}
	}
	slices.SortFunc(kept, func(a, b gap) int { return cmp.Compare(a.First, b.First) })
	next := uint64(1) // two foreign files in a row may stand for the same rows
	apart := kept[:0]
	for _, g := range kept {
		if g.First = max(g.First, next); g.First <= g.Last {
			apart, next = append(apart, g), g.Last+1
		}
	}
	return apart
}

// rowsOfLocked returns the rows of a segment, and of one that is not listed all
// that it can have and that is missing. Journal.mu is held.
func (j *Journal) rowsOfLocked(number uint64) row.Damage {
	d := row.Damage{Segment: number, First: j.neededLocked(), Last: j.end.Seq} // what limits removed is not missing
	for _, s := range j.segs {
		switch {
		case s.number < number:
			d.First = s.last() + 1
		case s.number == number:
			d.First, d.Last = s.first, s.last()
			return d
		default:
			d.Last = s.first - 1
			return d
		}
	}
	return d
}

// putBack gives each misplaced file of this stream its own name, as far as no
// other file has that, and returns those that have theirs now. No rename ever
// replaces a file: where names stand in a ring one steps aside first. Each is
// durable before the next, so a crash leaves every file under one name, and
// what has not its own one is found by the next repair.
func (j *Journal) putBack(found []*stray, taken map[spot]bool) (back []*stray, err error) {
	waiting := slices.DeleteFunc(slices.Clone(found), func(s *stray) bool { return s.other })
	if len(waiting) == 0 {
		return nil, nil
	}
	if err := syncAll(j.dirs...); err != nil { // an earlier repair may have been cut short
		return nil, err
	}
	for len(waiting) > 0 {
		i := slices.IndexFunc(waiting, func(s *stray) bool { return !taken[spot{s.at, s.own()}] })
		if i >= 0 {
			s := waiting[i]
			if err := j.giveName(s, s.own(), taken); err != nil {
				return back, err
			}
			back, waiting = append(back, s), slices.Delete(waiting, i, i+1)
			continue
		}
		if i = slices.IndexFunc(waiting, func(s *stray) bool { return inRing(s, waiting) }); i < 0 {
			break // a file that is not known to be misplaced has the name
		}
		third, _ := j.ownName(movedSuffix)
		if waiting[i].packed {
			third, _ = j.ownName(movedPackedSuffix)
		}
		if err := j.giveName(waiting[i], third, taken); err != nil {
			return back, err
		}
	}
	return back, nil
}

// inRing tells whether a file stands in another one's place, which stands in a
// third one's, until one stands in its own.
func inRing(s *stray, waiting []*stray) bool {
	at := s
	for range waiting {
		i := slices.IndexFunc(waiting, func(o *stray) bool { return o.at == at.at && o.Name == at.own() })
		if i < 0 {
			return false
		}
		if at = waiting[i]; at == s {
			return true
		}
	}
	return false
}

// giveName gives a misplaced file another name, and makes that durable. Files with
// a third name, and those set aside, are not counted.
func (j *Journal) giveName(s *stray, to string, taken map[spot]bool) error {
	if err := s.at.FS.Rename(s.Name, to); err != nil {
		return err
	}
	from := s.Name
	s.Name = to
	delete(taken, spot{s.at, from})
	taken[spot{s.at, to}] = true
	_, _, was := segmentIn(from)
	_, _, is := segmentIn(to)
	switch {
	case was && !is:
		j.account(s.at, -s.Size)
	case is && !was:
		j.account(s.at, s.Size)
	}
	if path.Base(from) != from {
		if err := s.at.FS.SyncDir(lostDir); err != nil {
			return err
		}
	}
	return s.at.FS.SyncDir("")
}

// resume has readers meet the rows of files that are back in their places, and
// takes what was said of them out of Status.
func (j *Journal) resume(back []*stray, slots []uint64) error {
	if len(back) == 0 {
		return nil
	}
	j.mu.Lock()
	for _, s := range back {
		j.readmitLocked(s)
	}
	j.mu.Unlock()
	there := j.ranges(back)
	j.mu.Lock()
	stale := func(d row.Damage) bool { return d.First == 0 && slices.Contains(slots, d.Segment) }
	j.damage = unrepaired(there, without(j.damage, stale))
	j.recovery.Damage = unrepaired(there, without(j.recovery.Damage, stale))
	j.changedLocked()
	j.mu.Unlock()
	for _, s := range back {
		j.o.Log.Warn("repaired", "did", Rename, "stream", j.o.Name, "segment", s.header.Number, "to", s.Name)
	}
	return j.saveManifest()
}

// readmitLocked lists a segment whose file is back: where it was not listed it
// was not found at the start. One without a footer waits for the next start.
// Journal.mu is held.
func (j *Journal) readmitLocked(s *stray) {
	n, have := slices.BinarySearchFunc(j.segs, s.header.Number, func(o *seg, number uint64) int { return cmp.Compare(o.number, number) })
	if have {
		if old := j.segs[n]; old.at != s.at {
			old.at, old.beside = s.at, 0
		}
		return
	}
	if s.sum == nil {
		return
	}
	fresh := &seg{at: s.at, packed: s.packed, number: s.header.Number, size: s.Size, sealed: true}
	fresh.take(s.sum)
	if fresh.last() > j.end.Seq || n < len(j.segs) && fresh.last() >= j.segs[n].first || n > 0 && fresh.first <= j.segs[n-1].last() {
		return
	}
	fresh.forgetLocked()
	j.segs = slices.Insert(slices.Clone(j.segs), n, fresh)
}

// replace puts the misplaced files of this stream back, where apply asks for
// it, and returns what there is to tell, and what readers do not meet yet.
func (j *Journal) replace(apply bool) (told []Repair, left []*stray, err error) {
	if apply {
		j.trim.Lock() // no segment is moved or removed meanwhile
		defer j.trim.Unlock()
	}
	found, taken, err := j.strays()
	if err != nil || len(found) == 0 {
		return nil, nil, err
	}
	var slots []uint64
	for _, s := range found {
		told = append(told, s.repair(j.o.Name))
		slots = append(slots, s.slot, s.header.Number)
	}
	if !apply {
		return told, found, nil
	}
	back, err := j.putBack(found, taken)
	err = errors.Join(err, j.resume(back, slots))
	for i, s := range found {
		if told[i].Done = slices.Contains(back, s); !told[i].Done {
			told[i].From = s.Name // it may have stepped aside
		}
		if !told[i].Done || !j.lists(s.header.Number) {
			left = append(left, s)
		}
	}
	return told, left, err
}

// lists tells whether readers know a segment.
func (j *Journal) lists(number uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.segs, func(s *seg) bool { return s.number == number })
}

// misplaced is what misplaced files say about damage: nil where there are none.
type misplaced struct {
	files []*stray
	kept  []gap // rows that they hold
}

// beyond returns what of the damage found is not because of a misplaced file.
func (m misplaced) beyond(found []row.Damage) (rest []row.Damage) {
	for _, d := range found {
		if d.Gap {
			rest = append(rest, d)
		} else if d.First != 0 {
			rest = append(rest, unrepaired(m.kept, []row.Damage{d})...)
		} else if !slices.ContainsFunc(m.files, func(s *stray) bool { return d.Segment != 0 && s.slot == d.Segment }) {
			rest = append(rest, d)
		}
	}
	return rest
}

// named returns damage with what is known of misplaced files.
func (m misplaced) named(d row.Damage) row.Damage {
	if d.Gap {
		return d
	}
	for _, s := range m.files {
		if s.slot == d.Segment && d.Segment != 0 && d.Offset == 0 {
			d.What = s.String()
			return d
		}
	}
	if d.First != 0 && len(within(m.kept, d.First, d.Last)) > 0 {
		d.What += "; rows of it are in misplaced files, which repair names"
	}
	return d
}
