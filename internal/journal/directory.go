package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/segment"
)

// Directory is one more place for a stream's segments, besides the one that
// has its MANIFEST.
type Directory struct {
	ID   string // by which the MANIFEST knows it, wherever it is mounted
	FS   disk.FS
	Size int64 // bytes that it may take; 0: only the others and the volume bound it
	Warm bool  // nothing is written there but packed copies, when a segment is moved
}

// directory is a place for segments. Journal.mu guards bytes.
type directory struct {
	Directory
	bytes int64 // of the files there, those about to be made included
	aside int64 // of these, in the quarantine there; -1: there is none
}

// setDirectories takes over where segments are. The first place is that of the
// MANIFEST.
func (j *Journal) setDirectories() {
	j.home = &directory{Directory: Directory{FS: j.d, Size: j.o.Home}, aside: -1}
	j.dirs = []*directory{j.home}
	for _, d := range j.o.More {
		j.dirs = append(j.dirs, &directory{Directory: d, aside: -1})
	}
	j.measureLocked()
}

// directoryOf returns the place that the MANIFEST calls id; nil where there is
// none.
func (j *Journal) directoryOf(id string) *directory {
	if i := slices.IndexFunc(j.dirs, func(d *directory) bool { return d.ID == id }); i >= 0 {
		return j.dirs[i]
	}
	return nil
}

// checkDirectories refuses to go on without a directory that has segments, until
// it is given up.
func (j *Journal) checkDirectories(m *manifest) error {
	missing, first := 0, ""
	for _, k := range m.Segments {
		if j.directoryOf(k.Directory) == nil && (j.o.GivenUp == nil || !j.o.GivenUp(k.Directory)) {
			missing, first = missing+1, k.Directory
		}
	}
	if missing == 0 {
		return nil
	}
	return fault.New(fault.CannotConnectNow, "%d segments of stream %q are in a directory with id %q, which is not configured", missing, j.o.Name, first).
		WithHint("name it again; where it is lost, remove its entry from DIRECTORIES in the data directory: rows that were there are then named as missing")
}

// Begun tells whether a stream is in the directory called name of d.
func Begun(d disk.FS, name string) (bool, error) {
	entries, err := d.List(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return slices.ContainsFunc(entries, func(e disk.Entry) bool {
		_, _, segment := segmentIn(e.Name)
		return segment || e.Name == manifestName
	}), err
}

// entry is a file, and where it is.
type entry struct {
	disk.Entry
	at     *directory
	packed bool // of a segment
}

// open opens the file, which is a segment.
func (e entry) open() (disk.File, error) { return e.at.open(e.Name, e.packed, false) }

// open opens a segment's file.
func (d *directory) open(name string, packed, write bool) (disk.File, error) {
	f, err := d.FS.Open(name, write && !packed)
	if err != nil || !packed {
		return f, err
	}
	u, err := segment.Unpack(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return u, nil
}

// segmentIn returns the number of the segment that a file is.
func segmentIn(name string) (number uint64, packed, ok bool) {
	if number, ok = segmentNumber(name); ok {
		return number, false, true
	}
	number, ok = numberIn(name, packedSuffix)
	return number, true, ok
}

// listing returns the files of all places, sorted by name.
func (j *Journal) listing() ([]entry, error) {
	var all []entry
	for _, at := range j.dirs {
		entries, err := at.FS.List("")
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			_, packed, ok := segmentIn(e.Name)
			all = append(all, entry{e, at, packed && ok})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// accountLocked adds to what the files in a place take.
func (j *Journal) accountLocked(at *directory, n int64) {
	at.bytes += n
	if !at.Warm {
		j.bytes += n
	}
}

// account adds to what the files in a place take.
func (j *Journal) account(at *directory, n int64) {
	j.mu.Lock()
	j.accountLocked(at, n)
	j.mu.Unlock()
}

// shortage is a limit that more bytes would break, and by how much.
type shortage struct {
	what string // "": none
	lack int64
}

// less returns the shortage that is mended sooner: none at best.
func (s shortage) less(o shortage) bool {
	return s.what == "" && o.what != "" || s.what != "" && o.what != "" && s.lack < o.lack
}

// worst returns the larger of two shortages.
func worst(a, b shortage) shortage {
	if a.less(b) {
		return b
	}
	return a
}

// claim accounts for need more bytes in the place with the most room, or says
// which limit they would break everywhere, and by how much at least. among says
// which places to look at.
func (j *Journal) claim(need int64, among func(*directory) bool) (at *directory, what string, lack int64, err error) {
	l := j.limits.Load()
	volume := make([]shortage, len(j.dirs)) // asked without the lock: a volume may take long to answer
	away := make([]error, len(j.dirs))
	for i, d := range j.dirs {
		if l.MinFree == nil && len(j.dirs) == 1 || !among(d) {
			continue
		}
		room, err := d.room()
		if err != nil && !d.Warm {
			return nil, "", 0, err
		}
		if away[i] = err; err != nil { // others of the tier may do
			continue
		}
		least := int64(0)
		if l.MinFree != nil {
			least = l.MinFree(room.Total)
		}
		volume[i] = shortage{"the volume is down to min_free", least - (room.Free - need)}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	best := shortage{}
	room := int64(0)
	for i, d := range j.dirs {
		if !among(d) || away[i] != nil {
			continue
		}
		short, left := j.shortLocked(d, need, volume[i])
		better := short.less(best)
		if short.what == "" && best.what == "" { // of equals the emptier one, and then the one named first
			better = left > room || left == room && at != nil && d.bytes < at.bytes
		}
		if at == nil || better {
			at, best, room = d, short, left
		}
	}
	if err := errors.Join(away...); at == nil && err != nil {
		return nil, "", 0, err
	}
	// The MANIFEST is there twice while it is replaced, and may have grown.
	if lack := j.bytes + need + j.manifestsLocked() - l.Budget; l.Budget > 0 && lack > 0 && at != nil && !at.Warm {
		best = worst(best, shortage{"its budget is used up", lack})
	}
	if best.what != "" {
		return nil, best.what, best.lack, nil
	}
	j.accountLocked(at, need)
	return at, "", 0, nil
}

// room asks a place for its room. One that does not answer has none, whatever is
// known of it from before.
func (d *directory) room() (disk.Space, error) {
	if w, ok := d.FS.(interface{ Silence() error }); ok && d.Warm {
		if err := w.Silence(); err != nil {
			return disk.Space{}, err
		}
	}
	return d.FS.Space()
}

// shortLocked returns which limit need more bytes in one place would break, and
// else how much room is left there.
func (j *Journal) shortLocked(d *directory, need int64, volume shortage) (shortage, int64) {
	short, left := shortage{}, -volume.lack
	if volume.lack > 0 {
		short = volume
	}
	if d.Size > 0 {
		size := d.Size
		if d == j.home {
			size -= j.manifestsLocked()
		}
		lack := d.bytes + need - size
		if lack > 0 {
			short = worst(short, shortage{fmt.Sprintf("what %q may take is used up", cmp.Or(d.ID, "its directory")), lack})
		}
		left = min(left, -lack)
	}
	return short, left
}

// DirectoryStatus is how one of a stream's places is doing.
type DirectoryStatus struct {
	ID    string // "": the one with the MANIFEST
	Warm  bool
	Bytes int64 // of the files there
	Size  int64 // that they may take; 0: not bounded
	Space disk.Space
	Err   error // why Space is not known
}

// Directories returns how each of the stream's places is doing.
func (j *Journal) Directories() []DirectoryStatus {
	all := make([]DirectoryStatus, len(j.dirs))
	for i, d := range j.dirs {
		all[i] = DirectoryStatus{ID: d.ID, Warm: d.Warm}
		all[i].Space, all[i].Err = d.FS.Space()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, d := range j.dirs {
		all[i].Bytes, all[i].Size = d.bytes, d.Size
		if d == j.home {
			all[i].Bytes += j.manifest
		}
	}
	return all
}

// syncAll makes the names in several places durable, in each once.
func syncAll(dirs ...*directory) error {
	var done []*directory
	for _, d := range dirs {
		if slices.Contains(done, d) {
			continue
		}
		if err := d.FS.SyncDir(""); err != nil {
			return err
		}
		done = append(done, d)
	}
	return nil
}

// placeOf returns where a segment is.
func (j *Journal) placeOf(s *seg) *directory {
	j.mu.Lock()
	defer j.mu.Unlock()
	return s.at
}

// openFile opens a segment's file where it is.
func (j *Journal) openFile(s *seg, write bool) (disk.File, error) {
	for {
		j.mu.Lock()
		at, name, packed := s.at, s.name(), s.packed
		j.mu.Unlock()
		f, err := at.open(name, packed, write)
		if errors.Is(err, fs.ErrNotExist) && j.placeOf(s) != at {
			continue // it was moved in between
		}
		return f, err
	}
}

// hot tells whether segments are written to a place.
func hot(d *directory) bool { return !d.Warm }

// tiered tells whether segments leave the hot tier for another one.
func (j *Journal) tiered() bool {
	return j.o.Cold != nil || slices.ContainsFunc(j.dirs, func(d *directory) bool { return d.Warm })
}
