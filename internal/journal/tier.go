package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/mutant"
	"holdfast/internal/segment"
)

// Copied is a segment of which a packed copy stands in the warm tier, flushed,
// read back and compared. The segment is where it was until Commit.
type Copied struct {
	j    *Journal
	s    *seg
	to   *directory
	size int64 // of the copy
	done bool
}

// double is a file that is not the segment which has its number: a copy that was
// not committed, or what was left behind by a move.
type double struct {
	at   *directory
	name string
	size int64 // that is accounted for it
}

// maxBeside bounds a file that is moved with a segment.
const maxBeside = 64 << 20

// ErrChanged says that what was to be moved, or copied, is not there any more.
var ErrChanged = errors.New("it has gone, or was moved, meanwhile")

// Copy makes a packed copy of a sealed segment in the warm tier, where the most
// room is. Nothing has happened before Commit. It ends with Commit or Discard.
func (j *Journal) Copy(number uint64) (*Copied, error) {
	c, err := j.copy(number)
	if err != nil {
		return nil, fmt.Errorf("move segment %d of stream %q to the warm tier: %w", number, j.o.Name, err)
	}
	return c, nil
}

func (j *Journal) copy(number uint64) (*Copied, error) {
	s := j.movable(number)
	if s == nil {
		return nil, ErrChanged
	}
	if err := j.describeSeg(s); err != nil {
		j.leaveSeg(s)
		return nil, err
	}
	j.mu.Lock()
	need := segment.PackedRoom(s.size)
	j.mu.Unlock()
	at, what, _, err := j.claim(need, func(d *directory) bool { return d.Warm })
	if err == nil && what != "" {
		err = fault.New(fault.DiskFull, "the warm tier has no room: %s", what)
	}
	if err != nil {
		j.leaveSeg(s)
		return nil, err
	}
	c := &Copied{j: j, s: s, to: at}
	if c.size, err = j.copyTo(s, at); err != nil {
		j.account(at, -need)
		j.leaveSeg(s)
		return nil, err
	}
	j.account(at, c.size-need)
	return c, nil
}

// movable returns a segment that can be moved, held; nil where it cannot.
func (j *Journal) movable(number uint64) *seg {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.IndexFunc(j.segs, func(s *seg) bool { return s.number == number })
	if i < 0 || i == len(j.segs)-1 || j.segs[i].w != nil || !j.segs[i].sealed || j.segs[i].at.Warm {
		return nil
	}
	j.segs[i].readers++
	return j.segs[i]
}

// copyTo writes the copy under a name of its own, flushes it, reads it back from
// the platter, and only then gives it its name.
func (j *Journal) copyTo(s *seg, to *directory) (size int64, err error) {
	if err := j.copyBeside(s, to); err != nil {
		return 0, err
	}
	name, _ := j.ownName(copySuffix)
	p, size, err := j.pack(s, to, name)
	if err == nil && !mutant.On(32) {
		err = j.compare(s, to, name, p)
	}
	final := packedName(s.number)
	if err == nil {
		err = j.replaceDouble(to, final, name)
	}
	if err != nil {
		if rerr := to.FS.Remove(name); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return 0, err
	}
	return size, to.FS.SyncDir("")
}

// replaceDouble gives a copy its name, in the place of an earlier one that was
// not committed.
func (j *Journal) replaceDouble(to *directory, final, name string) error {
	if err := to.FS.Rename(name, final); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.doubles = slices.DeleteFunc(j.doubles, func(d double) bool {
		if d.at != to || d.name != final {
			return false
		}
		j.accountLocked(to, -d.size)
		return true
	})
	return nil
}

// pack writes the copy and flushes it.
func (j *Journal) pack(s *seg, to *directory, name string) (p segment.Packed, size int64, err error) {
	from, err := j.openFile(s, false)
	if err != nil {
		return p, 0, err
	}
	defer from.Close()
	f, err := to.FS.Create(name)
	if err != nil {
		return p, 0, err
	}
	p, size, err = segment.Pack(from, &filling{f: f})
	if err == nil && !mutant.On(32) {
		err = f.Sync()
	}
	return p, size, errors.Join(err, f.Close())
}

// filling writes a file from its beginning on.
type filling struct {
	f  disk.File
	at int64
}

// Write implements io.Writer. p is of whole pages.
func (w *filling) Write(p []byte) (int, error) {
	if err := w.f.WriteAt(p, w.at); err != nil {
		return 0, err
	}
	w.at += int64(len(p))
	return len(p), nil
}

// compare reads a copy back, and holds it against what was read and against the
// digest that the segment was sealed with, so that no rot is spread.
func (j *Journal) compare(s *seg, to *directory, name string, p segment.Packed) error {
	f, err := to.FS.Open(name, false)
	if err != nil {
		return err
	}
	defer f.Close()
	return j.compareFile(f, s, &p)
}

// compareFile is compare for a file that is open; p is nil where it is not known
// how the segment was packed.
func (j *Journal) compareFile(f disk.File, s *seg, p *segment.Packed) error {
	u, err := segment.Unpack(f)
	if err != nil {
		return err
	}
	if err := u.Check(); err != nil {
		return fmt.Errorf("the copy is not what was written: %w", err)
	}
	sum, _, err := segment.ReadFooter(u)
	if err != nil {
		return err
	}
	if p != nil && (u.Index.SHA256 != p.SHA256 || u.Index.Packed != p.Packed) {
		return errors.New("the copy is another one than what was written")
	}
	j.mu.Lock()
	same := sum.Header.Number == s.number && sum.Header.FirstSeq == s.first && sum.Tail.LastSeq == s.last() && sum.Header.Stream.ID == j.id
	j.mu.Unlock()
	if !same {
		return errMisplaced
	}
	return segment.CheckDigest(u, &sum)
}

// besidesOf returns the files in a directory that belong to a segment and move
// with it: all of its number but the segment itself. Its manifest is not among
// them, because it is made anew where the segment goes.
func besidesOf(d disk.FS, number uint64) (names []string, err error) {
	entries, err := d.List("")
	if err != nil {
		return nil, err
	}
	prefix := fmt.Sprintf("%0*d.", numberDigits, number)
	for _, e := range entries {
		own := slices.Contains([]string{segmentName(number), packedName(number), trashName(number), besideName(number), besideName(number) + ".tmp"}, e.Name)
		if strings.HasPrefix(e.Name, prefix) && !e.Dir && !own {
			names = append(names, e.Name)
		}
	}
	return names, nil
}

// copyBeside copies what moves with a segment.
func (j *Journal) copyBeside(s *seg, to *directory) error {
	from := j.placeOf(s)
	names, err := besidesOf(from.FS, s.number)
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := disk.ReadFile(from.FS, name, maxBeside)
		if err == nil {
			err = disk.Replace(to.FS, "", name, text)
		}
		if err != nil {
			return fmt.Errorf("copy %q: %w", name, err)
		}
	}
	return nil
}

// Discard takes the copy away.
func (c *Copied) Discard() error {
	if c.done {
		return nil
	}
	c.done = true
	c.j.leaveSeg(c.s)
	c.j.leaveBehind(double{c.to, packedName(c.s.number), c.size})
	return c.j.dropDoubles()
}

// Commit makes the copy the segment, by one write of the MANIFEST, and takes away
// what it was. Readers go on with what they have open.
func (c *Copied) Commit() error {
	if c.done {
		return nil
	}
	j, s := c.j, c.s
	j.trim.Lock()
	defer j.trim.Unlock()
	j.mu.Lock()
	if s.gone || s.at.Warm {
		j.mu.Unlock()
		c.done = true
		j.leaveSeg(s)
		j.leaveBehind(double{c.to, packedName(s.number), c.size})
		return errors.Join(ErrChanged, j.dropDoublesLocked())
	}
	at, name, size, note := s.at, s.name(), s.size, s.beside
	s.at, s.packed, s.size, s.beside = c.to, true, c.size, 0
	j.mu.Unlock()
	if err := j.saveManifest(); err != nil {
		// Whether it was written is not known, so both files stay until one is.
		j.mu.Lock()
		s.at, s.packed, s.size, s.beside = at, false, size, note
		j.dirty = true
		j.mu.Unlock()
		c.done = true
		j.leaveSeg(s)
		j.leaveBehind(double{c.to, packedName(s.number), c.size})
		return err
	}
	c.done = true
	j.leaveSeg(s)
	j.leaveBehind(double{at, name, size})
	if note > 0 {
		j.leaveBehind(double{at, besideName(s.number), note})
	}
	names, err := besidesOf(at.FS, s.number)
	for _, name := range names {
		j.leaveBehind(double{at, name, 0})
	}
	j.chore()
	return errors.Join(err, j.dropDoublesLocked())
}

// leaveBehind notes a file that is to be taken away when the MANIFEST on the disk
// says that it is not the segment.
func (j *Journal) leaveBehind(d double) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.doubles = append(j.doubles, d)
}

// dropDoubles takes away the files that are not segments.
func (j *Journal) dropDoubles() error {
	j.mu.Lock()
	none := len(j.doubles) == 0
	j.mu.Unlock()
	if none {
		return nil
	}
	j.trim.Lock()
	defer j.trim.Unlock()
	return j.dropDoublesLocked()
}

// dropDoublesLocked is dropDoubles with trim held.
func (j *Journal) dropDoublesLocked() error {
	if err := j.saveIfDirty(); err != nil {
		return err // until it says where segments are, any file may be one
	}
	j.mu.Lock()
	todo := slices.Clone(j.doubles)
	j.mu.Unlock()
	for _, d := range todo {
		if err := j.dropDouble(d); err != nil {
			return err
		}
	}
	return nil
}

// dropDouble takes away one file, after asking once more that no segment is it.
func (j *Journal) dropDouble(d double) error {
	j.mu.Lock()
	is := slices.ContainsFunc(slices.Concat(j.segs, j.gone), func(s *seg) bool { return s.at == d.at && (s.name() == d.name || trashName(s.number) == d.name) })
	j.doubles = slices.DeleteFunc(j.doubles, func(o double) bool { return o == d })
	j.mu.Unlock()
	if is {
		return nil
	}
	if err := d.at.FS.Remove(d.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		j.mu.Lock()
		j.doubles = append(j.doubles, d)
		j.mu.Unlock()
		return fmt.Errorf("remove %q, which stands elsewhere now: %w", d.name, err)
	}
	j.account(d.at, -d.size)
	return d.at.FS.SyncDir("")
}

// choose returns, of the files with a segment's number, the one that is the
// segment: that of which the MANIFEST knows. The others are copies that were not
// committed, or what a move left behind, and are taken away. Without a MANIFEST
// that knows it the plain one goes first, and none is taken away.
func (j *Journal) choose(files []entry, k *manifestSegment) entry {
	if len(files) == 1 {
		return files[0]
	}
	best := slices.IndexFunc(files, func(e entry) bool { return !e.packed })
	if k != nil {
		live := slices.IndexFunc(files, func(e entry) bool { return e.at.ID == k.Directory && e.packed == k.Packed && e.Size == k.Size })
		if live >= 0 {
			best = live
			for i, e := range files {
				if i != live {
					j.doubles = append(j.doubles, double{e.at, e.Name, e.Size})
				}
			}
		}
	}
	best = max(best, 0)
	for i, e := range files {
		if i != best {
			j.accountLocked(e.at, e.Size)
		}
	}
	return files[best]
}

// Short returns how many bytes are lacking in the hot tier so that need more can
// be written there; 0: none.
func (j *Journal) Short(need int64) (int64, error) { return j.short(need, false) }

// ShortWarm is Short for the warm tier.
func (j *Journal) ShortWarm(need int64) (int64, error) { return j.short(need, true) }

func (j *Journal) short(need int64, warm bool) (int64, error) {
	at, what, lack, err := j.claim(need, func(d *directory) bool { return d.Warm == warm })
	if err != nil || what != "" {
		return lack, err
	}
	j.account(at, -need)
	return 0, nil
}

// SegmentSize is the size of the segments that are written now.
func (j *Journal) SegmentSize() int64 { return j.segmentSize() }

// FreeWarm takes the oldest file out of the warm tier's trash, and returns false
// where none can go.
func (j *Journal) FreeWarm() (bool, error) { return j.purge(true) }
