package holdfast

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/internal/place"
)

// directories opens the stream's directories, and returns that of its MANIFEST.
// Those outside of the data directory are locked one by one, and must be what
// they were.
func (s *stream) directories(db *DB, o *journal.Options) (disk.FS, error) {
	for _, m := range s.More {
		p, err := s.enter(db, place.Want{Path: m.Dir, Tier: "hot", Exist: m.Exists})
		if err != nil {
			return nil, err
		}
		o.More = append(o.More, journal.Directory{ID: p.ID, FS: p.FS, Size: db.size(s.Name, m.Dir, m.Size)})
	}
	for _, w := range s.Warm {
		p, err := s.enter(db, place.Want{Path: w.Dir, Tier: "warm", Exist: w.Exists, Watch: true})
		if err != nil {
			return nil, err
		}
		o.More = append(o.More, journal.Directory{ID: p.ID, FS: p.FS, Size: db.size(s.Name, w.Dir, w.Size), Warm: true})
	}
	if len(s.More) > 0 {
		o.Home = db.size(s.Name, "", s.Size)
	}
	if err := s.openCold(o); err != nil {
		return nil, err
	}
	o.GivenUp = func(id string) bool { return !db.book.Knows(id) }
	if inside, err := below(db.dir, s.Dir); s.Dir != "" && !inside || err != nil {
		p, eerr := s.enter(db, place.Want{Path: s.Dir, Tier: "hot", Exist: s.Exists})
		if eerr != nil {
			return nil, errors.Join(err, eerr)
		}
		return p.FS, errors.Join(err, s.elsewhere(db, p.FS, ""))
	}
	name := s.Dir
	if name == "" {
		name = db.home(s.Name)
	}
	name, err := filepath.Rel(db.dir, name)
	if err != nil {
		return nil, err
	}
	if err := s.elsewhere(db, db.disk, filepath.ToSlash(name)); err != nil {
		return nil, err
	}
	if !s.Exists {
		if err := db.disk.Mkdir(filepath.ToSlash(name)); err != nil {
			return nil, err
		}
	}
	return db.disk.Sub(filepath.ToSlash(name))
}

// home is where a stream is that names no directory.
func (db *DB) home(stream string) string { return filepath.Join(db.dir, "streams", stream) }

// elsewhere refuses to begin a stream in the directory name of d when its rows
// are in another one: with a part of its configuration it would give their seqs
// out again.
func (s *stream) elsewhere(db *DB, d disk.FS, name string) error {
	if begun, err := journal.Begun(d, name); begun || err != nil {
		return err
	}
	var mine []string
	for _, p := range s.places {
		mine = append(mine, p.ID)
	}
	if path, id, other := db.book.Other(s.Name, "hot", mine); other {
		return fault.New(fault.CannotConnectNow, "stream %q is in %q (id %s), which is not named as its directory here", s.Name, path, id).
			WithHint("give the configuration that names it, with --config; where it is lost, remove its entry from DIRECTORIES in the data directory, and the stream begins anew")
	}
	begun, err := journal.Begun(db.disk, "streams/"+s.Name)
	if err != nil {
		return err
	}
	if begun {
		return fault.New(fault.CannotConnectNow, "stream %q is in %q, and is to begin anew in %q", s.Name, db.home(s.Name), s.Dir).
			WithHint("move its files there while nothing uses them, or leave \"hot\" as it was")
	}
	return s.lost(db)
}

// lost refuses a stream without files that had some.
func (s *stream) lost(db *DB) error {
	why, remedy := []string{}, []string{}
	if db.book.Begun(s.Name) {
		why, remedy = append(why, "it was begun before"), append(remedy, fmt.Sprintf("remove %q from \"streams\" in DIRECTORIES", s.Name))
	}
	for sink, note := range db.roster.Notes() {
		if note.Retired.IsZero() && note.Streams[s.Name].Attached {
			why, remedy = append(why, fmt.Sprintf("sink %q has had rows of it", sink)), append(remedy, "move SINKS away, which pauses every sink")
			break
		}
	}
	if len(why) == 0 {
		return nil
	}
	return fault.New(fault.CannotConnectNow, "stream %q has no files in %q, and %s", s.Name, s.where(db), strings.Join(why, ", and ")).
		WithHint("mount its volume, or restore it; to begin it anew, with seqs from 1: in the data directory, %s", strings.Join(remedy, ", and "))
}

// where is the directory of the stream's MANIFEST.
func (s *stream) where(db *DB) string {
	if s.Dir != "" {
		return s.Dir
	}
	return db.home(s.Name)
}

// enter opens a directory outside of the data directory.
func (s *stream) enter(db *DB, w place.Want) (*place.Place, error) {
	given := w.Path
	path, err := filepath.Abs(given)
	if err != nil {
		return nil, err
	}
	w.Path, w.Stream = path, s.Name
	p, err := db.book.Open(w)
	if err == nil {
		s.places = append(s.places, p)
		if s.ids == nil {
			s.ids = map[string]string{}
		}
		s.ids[given] = p.ID
	}
	return p, err
}

// closePlaces gives up the directories outside of the data directory.
func (s *stream) closePlaces() error {
	var errs []error
	for _, p := range s.places {
		errs = append(errs, p.Close())
	}
	s.places = nil
	if s.cold != nil {
		errs = append(errs, s.cold.Close())
		s.cold = nil
	}
	return errors.Join(errs...)
}

// below tells whether a directory is in another one.
func below(dir, name string) (bool, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return false, err
	}
	if name, err = filepath.Abs(name); err != nil {
		return false, err
	}
	rel, err := filepath.Rel(dir, name)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)), nil
}

// budgetKey is under which the size of a directory is remembered; "" is the
// stream's first one.
func budgetKey(stream, dir string) string {
	if dir == "" {
		return stream
	}
	return stream + " " + dir
}

// size returns the size in use of a directory that is given one.
func (db *DB) size(stream, dir string, given int64) int64 {
	db.resizing.Lock()
	defer db.resizing.Unlock()
	if holds, known := db.sizes[budgetKey(stream, dir)]; known {
		return holds
	}
	return given
}
