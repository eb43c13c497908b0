package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strings"

	"holdfast/internal/segment"
	"holdfast/row"
)

// gap is a range of rows that repair gave up. It stands in the file GAPS, and
// nowhere else: segments are immutable, so their bytes stay as they are, and
// the MANIFEST may be made anew at any start without a gap coming or going.
// Readers hand a gap out in the place of its rows, whether or not they could
// be read by now, so that all sinks of a stream miss the same rows.
type gap struct {
	row.Damage
	Made       int64  `json:"made"`                 // Unix microseconds
	Quarantine string `json:"quarantine,omitempty"` // file with the bytes given up; "" where none were there
}

// gapsFile is the file GAPS, written as the MANIFEST is.
type gapsFile struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Stream  string `json:"stream"`
	Gaps    []gap  `json:"gaps"` // by seq; they do not overlap
}

const gapsVersion = 1

// gaps are those of a stream. Journal.mu guards it.
type gaps struct {
	list []gap // never changed in place, so that it can be read without the lock
	size int64 // of the file
}

// within returns those that hold a row from first to last.
func within(list []gap, first, last uint64) []gap {
	from := sort.Search(len(list), func(i int) bool { return list[i].Last >= first })
	to := from
	for to < len(list) && list[to].First <= last {
		to++
	}
	return list[from:to]
}

// apart returns d as it is where no row is lost, else the parts of it that lie
// in a gap, marked as that, and those that do not, in order.
func apart(list []gap, d row.Damage) (parts []row.Damage) {
	if d.First == 0 {
		return []row.Damage{d}
	}
	next := d.First
	for _, g := range within(list, d.First, d.Last) {
		if g.First > next {
			before := d
			before.First, before.Last = next, g.First-1
			parts = append(parts, before)
		}
		in := g.Damage
		in.First, in.Last = max(g.First, d.First), min(g.Last, d.Last)
		parts = append(parts, in)
		next = g.Last + 1
	}
	if next <= d.Last {
		d.First = next
		parts = append(parts, d)
	}
	return parts
}

// unrepaired returns what of all lies in no gap.
func unrepaired(list []gap, all []row.Damage) (left []row.Damage) {
	for _, d := range all {
		for _, part := range apart(list, d) {
			if !part.Gap {
				left = append(left, part)
			}
		}
	}
	return left
}

// pass marks what of a block lies in a gap, and leaves its rows out.
func (j *Journal) pass(b *row.Block) {
	j.mu.Lock()
	list := within(j.gaps.list, b.First, b.End.Seq)
	j.mu.Unlock()
	if len(list) == 0 {
		return
	}
	rows := b.Rows[:0]
	for _, r := range b.Rows {
		if len(within(list, r.Seq, r.Seq)) == 0 {
			rows = append(rows, r)
		}
	}
	b.Rows = rows
	damage := unrepaired(list, b.Damage)
	for _, g := range list {
		d := g.Damage
		d.First, d.Last = max(d.First, b.First), min(d.Last, b.End.Seq)
		damage = append(damage, d)
	}
	b.Damage = sortDamage(damage)
}

// sortDamage sorts damage by where it stands.
func sortDamage(all []row.Damage) []row.Damage {
	slices.SortStableFunc(all, func(a, b row.Damage) int { return cmp.Compare(a.First, b.First) })
	return all
}

// floorLocked returns the seq before the first that a reader may ask for:
// what was removed in order is gone, but in front of the oldest row there may
// be a gap, or damage, which no limit made: rows that a sink still needs.
func (j *Journal) floorLocked() uint64 {
	at := min(j.oldestLocked().Seq, j.neededLocked()-1)
	for _, g := range slices.Backward(j.gaps.list) {
		if g.Last == at {
			at = g.First - 1
		}
	}
	return at
}

// loadGaps reads GAPS, and takes what it holds out of the damage found.
func (j *Journal) loadGaps(entries []entry) error {
	for _, e := range entries {
		if e.Name == quarantineDir && e.Dir {
			e.at.aside = 0
		}
	}
	if err := j.recount(); err != nil {
		return err
	}
	if err := j.d.Remove(gapsName + ".tmp"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var f gapsFile
	err := readChecked(j.d, gapsName, &f)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, errChecked), err == nil && f.ID != j.id:
		j.name(row.Damage{What: gapsName + " is damaged, or of another stream: what was given up is named as damage again, and repair gives it up anew"})
		return nil
	case err != nil:
		return err
	case f.Version != gapsVersion:
		return fmt.Errorf("%s has version %d, this program knows %d: %w", gapsName, f.Version, gapsVersion, segment.ErrVersion)
	}
	for _, e := range entries {
		if e.at == j.home && e.Name == gapsName {
			j.gaps.size = e.Size
			j.accountLocked(j.home, e.Size)
		}
	}
	j.gaps.list = f.Gaps
	j.recovery.Damage = unrepaired(j.gaps.list, j.recovery.Damage)
	return nil
}

// addGaps makes gaps of what is given up: durable first, and met by readers
// then. A crash in between leaves either all of them or none.
func (j *Journal) addGaps(given []gap) error {
	j.mu.Lock()
	list := slices.Concat(j.gaps.list, given)
	j.mu.Unlock()
	slices.SortFunc(list, func(a, b gap) int { return cmp.Compare(a.First, b.First) })
	list = merged(list)
	if err := j.saveGaps(list); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.damage = unrepaired(list, j.damage)
	j.recovery.Damage = unrepaired(list, j.recovery.Damage)
	return nil
}

// several stands before what the last of several rolls and limits did.
const several = "removed by several rolls and limits; the last: "

// merged makes one gap of those of rolls and limits that follow each other:
// where the oldest is dropped again and again, each drop makes one. Those of
// repair stay apart, because each has bytes of its own in the quarantine.
func merged(list []gap) []gap {
	out := list[:0:0]
	for _, g := range list {
		n := len(out) - 1
		if n < 0 || !g.Rolled || !out[n].Rolled || out[n].Last+1 != g.First || g.Quarantine != "" || out[n].Quarantine != "" {
			out = append(out, g)
			continue
		}
		if out[n].What != g.What {
			out[n].What = several + strings.TrimPrefix(g.What, several)
		}
		out[n].Last, out[n].Made = g.Last, max(out[n].Made, g.Made)
	}
	return out
}

// dropGaps takes rows, by seq, out of the gaps that rolls have made: their
// segments are back. What repair has given up stays so.
func (j *Journal) dropGaps(back []row.Damage) error {
	if len(back) == 0 {
		return nil
	}
	j.mu.Lock()
	list := j.gaps.list
	j.mu.Unlock()
	left := make([]gap, 0, len(list))
	for _, g := range list {
		left = append(left, g.without(back)...)
	}
	return j.saveGaps(left)
}

// without returns what is left of a gap.
func (g gap) without(back []row.Damage) (left []gap) {
	if !g.Rolled {
		return []gap{g}
	}
	for _, b := range back {
		if b.Last < g.First || b.First > g.Last {
			continue
		}
		if b.First > g.First {
			before := g
			before.Last = b.First - 1
			left = append(left, before)
		}
		if b.Last >= g.Last {
			return left
		}
		g.First = b.Last + 1
	}
	return append(left, g)
}

// saveGaps writes GAPS anew. mending is held, or Open has not returned.
func (j *Journal) saveGaps(list []gap) error {
	size, err := writeChecked(j.d, gapsName, gapsFile{Version: gapsVersion, ID: j.id, Stream: j.o.Name, Gaps: list})
	if err != nil {
		return fmt.Errorf("write %s of stream %q: %w", gapsName, j.o.Name, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.accountLocked(j.home, size-j.gaps.size)
	j.gaps.list, j.gaps.size = list, size
	return nil
}

// trimGaps forgets the gaps that no reader can meet any more: the segments
// behind them were removed, and every registered sink has passed them.
func (j *Journal) trimGaps() error {
	if err := j.recount(); err != nil {
		return err
	}
	if !j.mending.TryLock() {
		return nil // repair is at work; the keeper comes again
	}
	defer j.mending.Unlock()
	j.mu.Lock()
	list, before := j.gaps.list, min(j.oldestLocked().Seq+1, j.neededLocked())
	j.mu.Unlock()
	n := sort.Search(len(list), func(i int) bool { return list[i].Last >= before })
	if n == 0 {
		return nil
	}
	return j.saveGaps(slices.Clone(list[n:]))
}

// recount counts the quarantine of each place, which operators empty by hand.
func (j *Journal) recount() error {
	var errs []error
	for _, at := range j.dirs {
		errs = append(errs, j.recountAt(at))
	}
	return errors.Join(errs...)
}

func (j *Journal) recountAt(at *directory) error {
	j.mu.Lock()
	was := at.aside
	j.mu.Unlock()
	if was < 0 {
		return nil
	}
	entries, err := at.FS.List(quarantineDir)
	if errors.Is(err, fs.ErrNotExist) {
		entries, err = nil, nil
	}
	if err != nil {
		return err
	}
	now := int64(0)
	for _, e := range entries {
		now += e.Size
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.accountLocked(at, now-at.aside)
	at.aside = now
	return nil
}

// gapStatusLocked returns the newest gaps, and how many rows are in all.
func (j *Journal) gapStatusLocked() (newest []row.Damage, rows uint64) {
	for i, g := range j.gaps.list {
		rows += g.Last + 1 - g.First
		if len(j.gaps.list)-i <= mostDamage {
			newest = append(newest, g.Damage)
		}
	}
	return newest, rows
}
