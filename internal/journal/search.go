package journal

import (
	"slices"
	"time"

	"holdfast/internal/manifests"
)

// Search calls do for each segment that q means, oldest first: those that are
// there, and those in the trash. before is called first, with a function that
// tells whether a segment will come: in between, one may have gone, and be
// told of by whoever keeps the manifests of those. It reads no row.
func (j *Journal) Search(q manifests.Query, before func(comes func(number uint64) bool) error, do func(manifests.Found) error) error {
	segs := j.candidates(q)
	comes := func(number uint64) bool {
		_, ok := slices.BinarySearchFunc(segs, number, func(s *seg, n uint64) int {
			if s.number < n {
				return -1
			}
			return int(min(s.number-n, 1))
		})
		return ok
	}
	if err := before(comes); err != nil {
		return err
	}
	for _, s := range segs {
		if err := do(j.found(s)); err != nil {
			return err
		}
	}
	return nil
}

// candidates returns the segments that q means, oldest first.
func (j *Journal) candidates(q manifests.Query) (segs []*seg) {
	j.mu.Lock()
	defer j.mu.Unlock()
	take := func(s *seg) {
		m := j.roughLocked(s)
		if s.rows > 0 && (q.Meets(&m) || q.Links != nil && !j.learnedLocked(s)) {
			segs = append(segs, s)
		}
	}
	for _, s := range j.gone {
		take(s)
	}
	for _, l := range j.beside.left {
		take(l.seg)
	}
	for _, s := range j.segs {
		take(s)
	}
	slices.SortFunc(segs, func(a, b *seg) int {
		if a.number < b.number {
			return -1
		}
		return int(min(a.number-b.number, 1))
	})
	return slices.CompactFunc(segs, func(a, b *seg) bool { return a == b })
}

// found tells of one segment.
func (j *Journal) found(s *seg) manifests.Found {
	m, err := j.readBeside(j.placeOf(s), s.number)
	if err != nil && j.hold(s) {
		m, err = j.manifestOf(s)
		j.leaveSeg(s)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		m = j.roughLocked(s)
	}
	f := manifests.Found{Manifest: m, Where: manifests.Hot}
	if s.at.Warm {
		f.Where = manifests.Warm
	}
	switch {
	case s.left:
		f.Where = manifests.Left
		f.Gone = &manifests.Gone{At: j.o.Now().UTC(), Roll: s.roll, To: j.whereTo(s.number, s.to)}
		for _, l := range j.beside.left {
			if l.seg == s && l.at != 0 {
				f.Gone.At = moment(l.at)
			}
		}
	case s.gone:
		f.Where = manifests.Trash
		if s.until > 0 && s.until < time.Now().AddDate(200, 0, 0).UnixMicro() {
			f.Until = moment(s.until)
		}
	case !s.sealed:
		f.Where = manifests.Active
	}
	if c := j.cut; c.Roll != 0 && m.Session1 != nil && c.Link == m.Link && *m.Session1 < c.Below && m.ID1 <= c.Through {
		f.Hidden = &c.Below
	}
	return f
}
