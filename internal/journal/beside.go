package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/manifests"
)

// beside are the manifests beside segments: derived from their footers, made
// by the keeper when a segment is sealed, and made anew where they are
// missing. Losing one loses nothing, so no segment waits for its manifest.
type beside struct {
	left []leftover // of segments that are gone; Journal.mu guards it
}

// leftover is a manifest whose segment is gone, until it is kept elsewhere, or
// removed.
type leftover struct {
	seg  *seg
	size int64 // of the file beside; 0: there is none
	at   int64 // when the segment went, Unix microseconds; 0: before the start
}

const (
	// besideReckon is what a manifest takes while it is written: a block, which is
	// then cut to its length.
	besideReckon = disk.Align
	// besideTurn bounds how many manifests the keeper makes, or takes away, before
	// it looks for other work: after an upgrade all of them are missing.
	besideTurn = 256
)

func besideName(number uint64) string {
	return fmt.Sprintf("%0*d%s", numberDigits, number, manifests.Suffix)
}

// loadBeside finds the manifests that are there, and those whose segment went
// and which the last run did not come to.
func (j *Journal) loadBeside(entries []entry) error {
	if !j.o.Manifests {
		return nil
	}
	here := map[uint64]*seg{}
	for _, list := range [][]*seg{j.segs, j.gone} {
		for _, s := range list {
			here[s.number] = s
		}
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name, manifests.Suffix+".tmp") {
			if err := e.at.FS.Remove(e.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		n, ok := numberIn(e.Name, manifests.Suffix)
		if !ok || e.Size == 0 {
			continue
		}
		if s := here[n]; s != nil && s.at != e.at { // of a copy that is not the segment
			if err := e.at.FS.Remove(e.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		j.accountLocked(e.at, e.Size)
		if s := here[n]; s != nil {
			s.beside = e.Size
			continue
		}
		j.beside.left = append(j.beside.left, leftover{seg: &seg{at: e.at, number: n}, size: e.Size})
	}
	return nil
}

// noteSegments makes the manifests that are missing.
func (j *Journal) noteSegments() error {
	if !j.o.Manifests {
		return nil
	}
	var todo []*seg
	j.mu.Lock()
	for i := len(j.segs) - 1; i >= 0 && len(todo) < besideTurn; i-- { // the newest first: those are asked for
		if s := j.segs[i]; s.sealed && s.w == nil && s.beside == 0 && s.rows > 0 && !s.unnoted {
			todo = append(todo, s)
		}
	}
	j.mu.Unlock()
	for _, s := range todo {
		if done, err := j.noteSegment(s); !done || err != nil {
			return err
		}
	}
	if len(todo) == besideTurn {
		j.chore()
	}
	return nil
}

// noteSegment makes the manifest of a sealed segment. It returns false where
// there is no room for it now.
func (j *Journal) noteSegment(s *seg) (bool, error) {
	at := j.placeOf(s)
	only := func(d *directory) bool { return d == at }
	if _, what, _, err := j.claim(besideReckon, only); what != "" || err != nil {
		return false, err
	}
	claimed := int64(besideReckon)
	text, err := j.noteOf(s)
	if err != nil || text == nil {
		j.account(at, -claimed)
		return true, err
	}
	size := int64(len(text))
	if more := disk.Up(size) - claimed; more > 0 { // of very long names
		if _, what, _, err := j.claim(more, only); what != "" || err != nil {
			j.account(at, -claimed)
			return false, err
		}
		claimed += more
	}
	if err := disk.Replace(at.FS, "", besideName(s.number), text); err != nil {
		j.account(at, -claimed)
		if disk.IsFull(err) {
			return false, nil
		}
		return false, fmt.Errorf("write the manifest of segment %d: %w", s.number, err)
	}
	j.account(at, size-claimed)
	j.mu.Lock()
	defer j.mu.Unlock()
	s.beside = size
	if s.left { // it went meanwhile
		j.leftLocked(s)
	}
	return true, nil
}

// noteOf returns the text of a segment's manifest; nil where it went.
func (j *Journal) noteOf(s *seg) ([]byte, error) {
	if !j.hold(s) {
		return nil, nil
	}
	defer j.leaveSeg(s)
	m, err := j.manifestOf(s)
	if err != nil {
		j.mu.Lock()
		s.unnoted = true // its footer cannot be read; readers and verify name that
		j.mu.Unlock()
		return nil, fmt.Errorf("make the manifest of segment %d: %w", s.number, err)
	}
	return m.Encode()
}

// manifestOf describes a segment by its footer.
func (j *Journal) manifestOf(s *seg) (m manifests.Manifest, err error) {
	if err := j.describeSeg(s); err != nil {
		return m, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	m = j.roughLocked(s)
	if s.summary != nil && s.sealed {
		m.SHA256, m.Rows = s.summary.SHA256, s.summary.Rows
	}
	return m, nil
}

// roughLocked is the manifest without what stands in the footer alone.
func (j *Journal) roughLocked(s *seg) manifests.Manifest {
	m := manifests.Manifest{
		Version: manifests.Version, Filename: s.name(), Size: s.size, Stream: j.o.Name, StreamID: j.id, Number: s.number,
		ID1: s.first, ID2: s.last(), Rows: s.rows, Time1: seconds(s.firstTime), Time2: seconds(s.lastTime), FileTime: seconds(s.fileTime),
		Sealed: moment(s.fileTime), Received: [2]time.Time{moment(s.firstTime), moment(s.lastTime)},
	}
	if s.fileTime == 0 { // sealed before that was noted
		m.FileTime, m.Sealed = m.Time2, m.Received[1]
	}
	if s.link.Column != "" && s.link.Rows > 0 {
		first, last := s.link.First, s.link.Last
		m.Link, m.Session1, m.Session2 = s.link.Column, &first, &last
	}
	return m
}

func seconds(us int64) int64    { return time.UnixMicro(us).Unix() }
func moment(us int64) time.Time { return time.UnixMicro(us).UTC() }

// leftLocked notes that the file of a segment is gone for good.
func (j *Journal) leftLocked(s *seg) {
	before := s.left
	if s.left = true; s.beside == 0 && (j.o.Gone == nil || s.rows == 0) {
		return
	}
	at := j.o.Now().UnixMicro()
	for i := 0; before && i < len(j.beside.left); i++ { // its manifest was written meanwhile
		if l := &j.beside.left[i]; l.seg == s {
			l.size = s.beside
			return
		}
	}
	j.beside.left = append(j.beside.left, leftover{s, s.beside, at})
}

// clearBeside hands the manifests of segments that are gone over to whoever
// keeps them, and then takes them away. While that does not work they stay,
// and count: no room was waited for, they are small.
func (j *Journal) clearBeside() error {
	if !j.o.Manifests {
		return nil
	}
	for {
		j.mu.Lock()
		todo := j.beside.left[:min(len(j.beside.left), besideTurn):min(len(j.beside.left), besideTurn)]
		j.mu.Unlock()
		if len(todo) == 0 {
			return nil
		}
		if j.o.Gone != nil {
			all := make([]manifests.Manifest, 0, len(todo))
			for _, l := range todo {
				m, err := j.goneManifest(l)
				if err != nil {
					return fmt.Errorf("find out where segment %d of stream %q went: %w", l.seg.number, j.o.Name, err)
				}
				all = append(all, m)
			}
			if err := j.o.Gone(all); err != nil {
				return fmt.Errorf("keep manifests of stream %q: %w", j.o.Name, err)
			}
		}
		for _, l := range todo {
			if l.size == 0 {
				continue
			}
			if err := l.seg.at.FS.Remove(besideName(l.seg.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			j.account(l.seg.at, -l.size)
		}
		j.mu.Lock()
		j.beside.left = j.beside.left[len(todo):]
		j.mu.Unlock()
	}
}

// goneManifest is what is kept of a segment that is gone.
func (j *Journal) goneManifest(l leftover) (manifests.Manifest, error) {
	m, err := j.readBeside(l.seg.at, l.seg.number)
	if err != nil {
		j.mu.Lock()
		m = j.roughLocked(l.seg)
		j.mu.Unlock()
	}
	m.Gone = &manifests.Gone{At: moment(l.at), Roll: l.seg.roll, To: j.whereTo(l.seg.number, l.seg.to)}
	if l.at == 0 { // the last run was killed before it came to this
		to, err := j.wentCold(l.seg.number)
		if err != nil {
			return m, err
		}
		m.Gone.To, m.Gone.At = j.whereTo(l.seg.number, to), j.o.Now().UTC()
	}
	return m, nil
}

// readBeside reads the manifest beside a segment, or beside the place of one.
func (j *Journal) readBeside(at *directory, number uint64) (manifests.Manifest, error) {
	text, err := disk.ReadFile(at.FS, besideName(number), manifests.MaxSize)
	if err != nil {
		return manifests.Manifest{}, err
	}
	m, err := manifests.Decode(text)
	if err == nil && (m.Number != number || m.StreamID != j.id) {
		err = manifests.ErrDamaged
	}
	return m, err
}
