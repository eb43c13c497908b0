package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/mutant"
	"holdfast/internal/segment"
	"holdfast/row"
)

// Open opens the stream in directory d, making it where it is new. It recovers
// from whatever ended the last run: what was flushed is there, a torn tail
// that nobody was promised is voided, anything else is named as damage. The
// caller holds the lock of the data directory.
func Open(d disk.FS, o Options) (*Journal, error) {
	start := time.Now()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Aging == nil {
		o.Aging = o.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	j := &Journal{
		d: d, o: o, marks: map[string]uint64{}, departed: map[string]uint64{},
		wake: make(chan struct{}, 1), chores: make(chan struct{}, 1), orders: make(chan order),
		stop: make(chan struct{}), ended: make(chan struct{}), kept: make(chan struct{}), hashed: make(chan struct{}), hashWake: make(chan struct{}, 1),
	}
	j.setDirectories()
	j.salt = newSalt()
	j.filling, j.spare = newGroup(j.salt), newGroup(j.salt)
	j.schemas.byKey = map[string]*row.Schema{}
	j.limits.Store(&o.Limits)
	j.SetHolds(o.Holds)
	if err := j.load(); err != nil {
		if j.reserve != nil {
			err = errors.Join(err, j.reserve.file.Close())
		}
		err = errors.Join(err, j.closeCheckpoints())
		return nil, fmt.Errorf("open stream %q: %w", o.Name, err)
	}
	if o.Remembered != nil {
		j.SetHolds(o.Remembered(j.remembered))
	}
	j.damagedLocked(j.recovery.Damage...)
	j.recovery.Took = time.Since(start)
	go j.run()
	go j.keep()
	go j.hashAlong()
	j.startScrub()
	j.chore()
	return j, nil
}

// load finds what is there and gives this run its epoch.
func (j *Journal) load() error {
	entries, err := j.listing()
	if err != nil {
		return err
	}
	m, err := j.loadManifest(entries)
	if err != nil {
		return err
	}
	if err := j.checkDirectories(&m); err != nil {
		return err
	}
	if entries, err = j.loadRolled(entries, &m); err != nil {
		return err
	}
	if err := j.loadSegments(entries, m); err != nil {
		return err
	}
	if j.id == "" {
		j.id = newID()
	}
	j.epoch++
	from := j.loadCheckpoint()
	if from != nil && from.Tail().LastSeq > m.Tail.LastSeq { // flushed, and noted so, since the MANIFEST was written
		m.Tail = from.Tail()
	}
	j.newest = max(j.newest, m.Tail.Number, j.newestLocked())
	if from != nil {
		j.newest = max(j.newest, from.Number)
	}
	j.number = j.newest
	if err := j.loadTail(m, from); err != nil {
		return err
	}
	if err := j.loadGaps(entries); err != nil {
		return err
	}
	if err := j.loadSpares(entries); err != nil {
		return err
	}
	if err := j.loadLost(); err != nil {
		return err
	}
	if err := j.loadBeside(entries); err != nil {
		return err
	}
	if err := syncAll(j.dirs...); err != nil { // what was found is served from here on
		return err
	}
	err = j.saveManifest()
	if disk.IsFull(err) && m.Version != 0 { // the one that is there will do until a row is taken
		j.trouble = roomRefusal(err) // status says so before a writer has found out
		j.o.Log.Warn("the disk is full; rows are read, delivered and removed, but none is taken", "stream", j.o.Name, "error", err)
		return nil
	}
	return err
}

// loadManifest reads the MANIFEST. One that is damaged, lost or of another
// stream is named and made anew from the segments, which repeat all that
// matters; without any segment nobody could tell which seqs were given.
func (j *Journal) loadManifest(entries []entry) (manifest, error) {
	m, err := readManifest(j.d)
	newest, last := uint64(0), entry{}
	for _, e := range entries {
		if n, packed, ok := segmentIn(e.Name); ok && (newest == 0 || n >= newest) && !packed { // the newest is never in another tier
			newest, last = n, e
		}
	}
	switch {
	case err != nil && !errors.Is(err, errManifest):
		return m, err
	case err == nil && m.Version == 0 && (newest != 0 || j.hasCheckpoint()):
		err = errors.New("MANIFEST is missing")
	case err == nil && m.Version != 0 && m.Stream != j.o.Name:
		err = fmt.Errorf("MANIFEST is of stream %q: %w", m.Stream, errManifest)
	case err == nil && newest != 0:
		if h := headerOf(last, newest); h != nil && h.Stream.ID != m.ID {
			err = fmt.Errorf("MANIFEST is of another stream than segment %d: %w", newest, errManifest)
		}
	}
	if err == nil {
		j.id, j.epoch, j.counted, j.remembered = m.ID, m.Epoch, m.Counted, m.Beside
		maps.Copy(j.marks, m.Marks)
		maps.Copy(j.departed, m.Ended)
		return m, nil
	}
	if newest == 0 {
		return m, fmt.Errorf("%w, and no segment is there to make it anew from, so the seqs given are unknown; restore it, or move %q and %q away to begin a new stream", err, manifestName, checkpointName)
	}
	j.o.Log.Error("MANIFEST is not usable; it is made anew from the segments", "stream", j.o.Name, "error", err)
	j.name(row.Damage{What: err.Error() + "; it was made anew from the segments"})
	return manifest{}, nil
}

// headerOf returns a segment's header, nil where it is not readable.
func headerOf(e entry, number uint64) *segment.Header {
	f, err := e.open()
	if err != nil {
		return nil
	}
	defer f.Close()
	h, _, err := segment.ReadHeader(f)
	if err != nil || h.Number != number {
		return nil
	}
	return h
}

// belongs tells whether a segment's header is that of number in this stream.
func (j *Journal) belongs(number uint64, h *segment.Header) error {
	if h.Number != number || h.Stream.ID != j.id && j.id != "" {
		return fmt.Errorf("its file is segment %d of stream %q (%s): %w", h.Number, h.Stream.Name, h.Stream.ID, errMisplaced)
	}
	return nil
}

// newSalt returns the salt of this run. See row.Stamp.
func newSalt() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint32(b[:])
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// loadSegments lists the segments, reading only those that the MANIFEST does
// not describe.
func (j *Journal) loadSegments(entries []entry, m manifest) error {
	known := make(map[uint64]manifestSegment, len(m.Segments))
	for _, s := range m.Segments {
		known[s.Number] = s
	}
	rolled := make(map[uint64]bool, len(j.gone))
	for _, s := range j.gone {
		rolled[s.number] = true
	}
	for _, e := range j.segmentFiles(entries, known, rolled) {
		number, _, _ := segmentIn(e.Name)
		j.accountLocked(e.at, e.Size)
		k, ok := known[number]
		if ok && k.Size == e.Size && k.Packed == e.packed {
			j.segs = append(j.segs, k.segAt(e.at))
			continue
		}
		if ok && k.Packed == e.packed { // no crash changes a segment that was sealed
			j.name(row.Damage{Segment: number, Offset: min(k.Size, e.Size), What: fmt.Sprintf("its file has %d bytes, had %d when it was sealed", e.Size, k.Size)})
		}
		s, err := j.readSegment(number, e)
		if err != nil {
			return err
		}
		if s != nil || !e.packed {
			j.newest = max(j.newest, number)
		}
		if s != nil {
			j.segs = append(j.segs, s)
		}
	}
	if err := j.needNewest(entries, known); err != nil {
		return err
	}
	if err := j.dropUnfinished(); err != nil {
		return err
	}
	return j.followHeaders()
}

// segmentFiles returns the file of each segment that is listed, by number.
func (j *Journal) segmentFiles(entries []entry, known map[uint64]manifestSegment, rolled map[uint64]bool) (files []entry) {
	byNumber := map[uint64][]entry{}
	for _, e := range entries {
		if n, _, ok := segmentIn(e.Name); ok && !rolled[n] {
			byNumber[n] = append(byNumber[n], e)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(byNumber)) {
		var k *manifestSegment
		if s, ok := known[n]; ok {
			k = &s
		}
		files = append(files, j.choose(byNumber[n], k))
	}
	return files
}

// lose moves a packed file that is no segment of this stream to a directory of
// its own, so that it is in nobody's way and nobody loses it.
func (j *Journal) lose(e entry) error {
	if !e.packed {
		return nil
	}
	j.accountLocked(e.at, -e.Size)
	if err := e.at.FS.Mkdir(lostDir); err != nil {
		return err
	}
	if err := e.at.FS.Rename(e.Name, lostDir+"/"+e.Name); err != nil {
		return err
	}
	return syncAll(e.at)
}

// readSegment reads one segment's footer, or at least its header. A segment
// of which neither is readable is left where it is, and named.
func (j *Journal) readSegment(number uint64, e entry) (*seg, error) {
	f, err := e.open()
	if errors.Is(err, segment.ErrNotPacked) {
		j.name(row.Damage{Segment: number, What: err.Error()})
		return nil, j.lose(e)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &seg{at: e.at, packed: e.packed, number: number, size: e.Size}
	h, _, herr := segment.ReadHeader(f)
	if errors.Is(herr, segment.ErrVersion) {
		return nil, fmt.Errorf("segment %d: %w", number, herr)
	}
	sum, _, ferr := segment.ReadFooter(f)
	if h == nil && ferr == nil { // in a file that was used before the footer may be the old one
		ferr = j.belongs(number, &sum.Header)
	}
	if h != nil {
		if err := j.belongs(number, h); err != nil {
			j.name(row.Damage{Segment: number, What: err.Error()})
			return nil, j.lose(e)
		}
	}
	switch {
	case ferr == nil && (h == nil || h.Identity == sum.Header.Identity):
		if err := f.Sync(); err != nil { // the MANIFEST will rely on the footer, which a killed process may have left unflushed
			return nil, fmt.Errorf("segment %d: %w", number, err)
		}
		s.take(&sum)
		s.sealed = true
	case h != nil:
		// No footer, or the torn one of a crash while it was sealed: it is sealed anew.
		s.header, s.first, s.chain, s.end = *h, h.FirstSeq, h.Before.Chain, segment.DataStart
	default:
		j.name(row.Damage{Segment: number, What: "neither header nor footer is readable: " + herr.Error()})
		return nil, nil
	}
	j.epoch = max(j.epoch, s.header.Epoch)
	if j.id == "" {
		j.id = s.header.Stream.ID
	}
	if c := s.header.Stream.Cut; c.Roll > j.cut.Roll && c.Link == string(j.o.Link) { // the MANIFEST is older than the segment
		j.cut = c
	}
	for sink, mark := range s.header.Stream.Marks {
		_, known := j.marks[sink]
		ended, was := j.departed[sink]
		if !known && (!was || s.header.Epoch > ended) { // the MANIFEST is older than the segment
			j.marks[sink] = mark
		}
	}
	return s, nil
}

func (j *Journal) name(d row.Damage) {
	d.Stream = j.o.Name
	j.recovery.Damage = append(j.recovery.Damage, d)
}

// dropUnfinished removes, from the end of the stream, the parts of a staged
// transaction whose commit did not come to its end: nobody was told that it
// is stored. The last part gets its name when those of the others are durable,
// so where it is there, all are. An older last part may be left behind a newer
// segment that took its first part's number.
func (j *Journal) dropUnfinished() error {
	n := len(j.segs)
	if n == 0 || j.segs[n-1].header.Parts == 0 || mutant.On(23) {
		return nil // the MANIFEST describes only what was committed
	}
	last := j.segs[n-1].header
	same := func(h segment.Header) bool {
		return h.Parts == last.Parts && h.Number-uint64(h.Part) == last.Number-uint64(last.Part)
	}
	from := n - 1
	for ; from > 0; from-- {
		if err := j.describeSeg(j.segs[from-1]); err != nil || !same(j.segs[from-1].header) {
			break
		}
	}
	first := j.segs[from].header
	stale := first.Part != 1 && from > 0 && j.segs[from-1].number == first.Number-1 && j.segs[from-1].header.Number != 0
	if last.Part == last.Parts && !stale {
		return nil
	}
	for _, s := range j.segs[from:] {
		j.recovery.Cut += s.size
		if err := s.at.FS.Remove(s.name()); err != nil {
			return fmt.Errorf("remove a part of an unfinished transaction: %w", err)
		}
		j.accountLocked(s.at, -s.size)
	}
	j.newest = j.segs[n-1].number
	j.segs = j.segs[:from]
	return nil
}

// followHeaders gives each unsealed segment the end that its successor's
// header proves.
func (j *Journal) followHeaders() error {
	for i := 0; i+1 < len(j.segs); i++ {
		s, next := j.segs[i], j.segs[i+1]
		if s.sealed {
			continue
		}
		if err := j.describeSeg(next); err == nil && next.header.Before.Number == s.number && next.header.Before.End > 0 {
			b := next.header.Before
			s.end, s.chain, s.rows = b.End, b.Chain, b.LastSeq+1-s.first
			continue
		}
		if err := j.recoverTail(s, nil); err != nil {
			return err
		}
	}
	return nil
}

// loadTail recovers the last segment and sets where the stream ends.
func (j *Journal) loadTail(m manifest, from *segment.Checkpoint) error {
	j.tail = m.Tail
	if n := len(j.segs); n > 0 {
		s := j.segs[n-1]
		if !s.sealed {
			if err := j.recoverTail(s, from); err != nil {
				return err
			}
		}
		if s.rows > 0 || j.tail.LastSeq <= s.last() {
			j.tail = s.tail()
		}
		if s.rows == 0 && !s.sealed {
			if !j.recovery.short { // it goes because it is empty, and is not missed
				from = nil
			}
			j.segs = j.segs[:n-1]
			j.tail = s.header.Before
			if err := j.unlink(s); err != nil {
				return err
			}
		}
	}
	// One that had begun is there, unless something removed it.
	listed := func(number uint64) bool { // it was sealed, and the MANIFEST knows how far it came
		return slices.ContainsFunc(m.Segments, func(k manifestSegment) bool { return k.Number == number })
	}
	j.nameMissing(m, from != nil && from.Epoch+1 >= j.epoch && from.Number > j.tail.Number && !listed(from.Number))
	j.end = row.Position{Seq: j.tail.LastSeq, Chain: j.tail.Chain}
	return nil
}

// nameMissing names rows that were durable and whose segments are not there.
// What the MANIFEST counted as durable keeps its seqs, found or not. newest tells
// that the newest segment is missing.
func (j *Journal) nameMissing(m manifest, newest bool) {
	for i := 1; i < len(j.segs); i++ {
		if from, to := j.segs[i-1].last()+1, j.segs[i].first; from < to {
			j.name(row.Damage{Segment: j.segs[i].number, First: from, Last: to - 1, What: "segments are missing before this one"})
		}
	}
	lost := m.Tail
	for _, mark := range j.marks { // a sink has them
		if mark > lost.LastSeq {
			lost.LastSeq = mark
		}
	}
	if lost.LastSeq <= j.tail.LastSeq && !newest && !j.recovery.short {
		return
	}
	lost.End, lost.LastSeq = 0, max(lost.LastSeq, j.tail.LastSeq)
	what := "rows that were durable are missing at the end"
	sealed := slices.ContainsFunc(m.Segments, func(k manifestSegment) bool { return k.Number == m.Tail.Number && k.LastSeq == lost.LastSeq })
	if exact := sealed && !newest && !j.recovery.short || lost.LastSeq == m.Counted; !exact {
		// How many there were is not known: no seq that may have been given is given
		// again. What was counted so is not counted anew by the next start.
		lost.LastSeq += mostRows
		what += "; how many is not known, so this is the most that there can have been, and new ones get seqs behind it"
	}
	j.counted = lost.LastSeq
	lost.Number = max(lost.Number, j.tail.Number, j.newest)
	j.name(row.Damage{Segment: lost.Number, First: j.tail.LastSeq + 1, Last: lost.LastSeq, What: what})
	j.tail = lost
}

// mostRows is how many rows one segment can have.
const mostRows = maxSegment / row.RecordHead

// recoverTail finds the end of a segment that was being written when the last
// run ended. It is flushed first, so that what is found cannot go away again.
// from saves reading what stands before it.
func (j *Journal) recoverTail(s *seg, from *segment.Checkpoint) error {
	f, err := j.openFile(s, true)
	if err != nil {
		return err
	}
	if mutant.On(12) {
		err = nil
	} else if err = f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := segment.Recover(f, s.header, 0, from)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.recovery.Damage = append(j.recovery.Damage, r.Damage...)
	j.recovery.Cut += r.Cut
	s.take(&r.Summary)
	if r.Short && s.header.Parts == 0 {
		// What is missing of the last page would be missing when it is sealed.
		j.recovery.short = true
		if err = f.Truncate(s.end + 2*disk.Align); err == nil {
			err = f.Sync()
		}
		if err != nil {
			return errors.Join(err, f.Close())
		}
		j.accountLocked(s.at, s.end+2*disk.Align-s.size)
		s.size = s.end + 2*disk.Align
	}
	if r.Partial { // the rest is read when the segment is sealed, or by whom it concerns
		s.summary = nil
	}
	return f.Close()
}

// loadSpares takes one reserved file over and removes all others, and every
// staged transaction that was not committed.
func (j *Journal) loadSpares(entries []entry) error {
	for _, e := range entries {
		spare := strings.HasSuffix(e.Name, spareSuffix)
		if spare && j.reserve == nil && e.Size >= min(j.segmentSize(), firstSegment) && e.Size <= j.segmentSize() {
			f, err := e.at.FS.Open(e.Name, true)
			if err != nil {
				return err
			}
			j.accountLocked(e.at, e.Size)
			j.reserve = &reserved{at: e.at, name: e.Name, serial: j.serial.Add(1), file: f, size: e.Size}
			continue
		}
		if spare || strings.HasSuffix(e.Name, freshSuffix) || strings.HasSuffix(e.Name, stagedSuffix) || strings.HasSuffix(e.Name, copySuffix) || e.Name == manifestName+".tmp" {
			if err := e.at.FS.Remove(e.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
