package holdfast

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"holdfast/internal/cold"
	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/internal/place"
	"holdfast/internal/roller"
)

// Cold is a directory where segments are copied before they leave, and from
// where others take them, or another store. The zero Cold is none.
type Cold struct {
	Store  cold.Store // instead of a directory; it is closed with the database
	Dir    string
	Exists bool   // Dir must be there already
	Size   int64  // bytes that it may take; 0: only its volume bounds it
	OnFull string // when it does not take a segment: "block" or "", "drop" or "hold"
}

// ColdTier is what became of a stream's segments at the cold tier, since the
// start.
type ColdTier struct {
	Where    string
	OnFull   string
	Waiting  int64 // bytes that stand there, as of a moment ago; 0 where it cannot tell
	Segments int64 // that were put there
	Bytes    int64
	Dropped  int64  // segments that left without a copy
	Held     int64  // that stay because they cannot be copied
	Failing  string // why it takes nothing; "": it does
	Since    time.Time
}

// openCold opens the stream's cold tier.
func (s *stream) openCold(o *journal.Options) error {
	if s.cold = s.Cold.Store; s.cold == nil && s.Cold.Dir == "" {
		return nil
	}
	if s.Limits.KeepDelivered || !rolls(s.Name) {
		return fault.New(fault.InvalidParameterValue, "stream %q keeps nothing that could be copied to a cold tier", s.Name)
	}
	if s.cold != nil {
		o.Cold = s.cold
		return nil
	}
	path, err := filepath.Abs(s.Cold.Dir)
	if err != nil {
		return err
	}
	later, late, err := cold.OpenLater(strings.TrimSuffix(path, "/")+"/", coldPatience, func() (cold.Store, error) { return s.openColdDir(path) })
	if err != nil {
		return err
	}
	if late {
		o.Log.Error("the cold directory does not answer; the start does not wait for it, and status tells how it is", "stream", s.Name, "directory", path)
	}
	s.cold, o.Cold = later, later
	return nil
}

// coldPatience is for how long a start waits for a cold directory: nothing that
// it needs is there.
const coldPatience = 3 * time.Second

// openColdDir opens a cold directory, which may hang.
func (s *stream) openColdDir(path string) (cold.Store, error) {
	open := disk.OpenReal
	if s.Cold.Exists {
		open = disk.OpenExisting
	}
	d, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.CannotConnectNow, "the cold directory %q of stream %q is missing", path, s.Name).
			WithHint("mount the volume, or make the directory; with a single = it is made at start")
	}
	if err != nil {
		return nil, err
	}
	dir := cold.OpenDirectory(place.Watch(d, path), path, s.Cold.Size)
	if err := dir.Clean(journal.ColdPrefix(s.Name)); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// coldTier tells how a stream's cold tier is doing.
func (db *DB) coldTier(s *stream) *ColdTier {
	a := db.roller.ColdAccount(s.Name)
	return &ColdTier{
		Where: s.cold.Where(), OnFull: cmp.Or(s.Cold.OnFull, string(roller.ColdBlock)), Waiting: a.Waiting,
		Segments: a.Segments, Bytes: a.Bytes, Dropped: a.Dropped, Held: a.Held, Failing: a.Failing, Since: a.Since,
	}
}

// interruptCold has no store keep a stop waiting.
func (db *DB) interruptCold() {
	for _, s := range db.streams {
		if i, ok := s.cold.(cold.Interrupter); ok {
			i.Interrupt()
		}
	}
}
