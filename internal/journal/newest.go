package journal

import (
	"fmt"
	"slices"

	"holdfast/row"
)

// needNewest sees that the newest segment is listed, because nobody could tell
// otherwise which seqs were given. One whose file is of no use is listed all the
// same where the MANIFEST knows what it had, or where its file is found in the
// place of another: readers meet damage there, and repair puts files back.
func (j *Journal) needNewest(entries []entry, known map[uint64]manifestSegment) error {
	n := len(j.segs)
	if j.newest == 0 || n > 0 && j.segs[n-1].number >= j.newest {
		return nil
	}
	name := segmentName(j.newest)
	at := slices.IndexFunc(entries, func(e entry) bool { return e.Name == name })
	if at < 0 { // it is listed in no place that it can be read from
		return j.unknownNewest("")
	}
	if k, ok := known[j.newest]; ok {
		j.segs = append(j.segs, k.segAt(entries[at].at))
		return nil
	}
	for _, e := range entries {
		slot, _, ok := slotOf(e.Name)
		if !ok || e.Name == name {
			continue
		}
		s, err := j.identify(e, slot)
		if err != nil {
			return fmt.Errorf("read the header of %s: %w", e.Name, err)
		}
		if s == nil || s.other || s.header.Number != j.newest {
			continue
		}
		if s.sum == nil { // it was being written, and a start has to read it
			return j.unknownNewest(e.Name)
		}
		own := &seg{at: e.at, number: j.newest, size: e.Size, sealed: true}
		own.take(s.sum)
		own.forgetLocked()
		j.segs = append(j.segs, own)
		return nil
	}
	return j.unknownNewest("")
}

// unknownNewest refuses a start; is is the name that the newest segment's file has
// now, "" where it is not there.
func (j *Journal) unknownNewest(is string) error {
	name := segmentName(j.newest)
	if is != "" {
		return fmt.Errorf("segment %d is the newest, and misplaced: it is in the file %q, and another one has its name, so nobody can tell which seqs were given; "+
			"give the files their own names: move %q aside, %q to %q, and the one aside to the name that its header says", j.newest, is, name, is, name)
	}
	found := slices.IndexFunc(j.recovery.Damage, func(d row.Damage) bool { return d.Segment == j.newest })
	what := "neither its header nor a footer is readable"
	if found >= 0 {
		what = j.recovery.Damage[found].What
	}
	return fmt.Errorf("segment %d is the newest, and of no use: %s; so the seqs in it are unknown; "+
		"restore it, or move %q away to go on without it: the rows in it are given up then, and new ones get seqs behind all that it can have held", j.newest, what, name)
}
