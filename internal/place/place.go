// Package place keeps directories apart that a data directory has outside of
// itself: several volumes of one tier, and the other tiers. It knows which
// streams were begun, wherever their files are.
//
// Each has a lock, so that no two servers use it, and a file that says whose it
// is and which. The data directory has a book of them. So a volume that is not
// mounted, or another one in its place, is noticed before anything is written
// there.
package place

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
)

const (
	bookName     = "DIRECTORIES" // in the data directory
	identityName = "DIRECTORY"   // in each other directory
	lockName     = "LOCK"
	version      = 1
	maxFile      = 1 << 20 // bytes: some thousand directories
)

// Want says which directory is wanted.
type Want struct {
	Path   string
	Stream string
	Tier   string // "hot" or "warm"
	Exist  bool   // it is never made
	Watch  bool   // nobody waits for it without end while it is in use
}

// identity is the file in a directory.
type identity struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Owner   string `json:"owner"` // the book's ID
	Stream  string `json:"stream"`
	Tier    string `json:"tier"`
}

// known is what the book says of a directory.
type known struct {
	ID     string `json:"id"`
	Path   string `json:"path"`
	Stream string `json:"stream"`
	Tier   string `json:"tier"`
}

// Book is the list of directories that belong to a data directory. Not safe
// for concurrent use.
type Book struct {
	d       disk.FS
	reading bool
	f       struct {
		Version     int      `json:"version"`
		ID          string   `json:"id"`
		Directories []known  `json:"directories"`
		Streams     []string `json:"streams,omitempty"` // that were begun
	}
}

// Place is a directory that is open and locked.
type Place struct {
	ID   string
	FS   disk.FS
	lock io.Closer
	all  *Watched // FS, or what watched it while it was opened
}

// Close gives the directory up.
func (p *Place) Close() error { return errors.Join(p.all.w.leave(p.lock.Close), p.all.Close()) }

// Silent returns since when a directory of a lower tier does not answer; zero: it
// does, or is not watched.
func (p *Place) Silent() time.Time { return p.all.Silent() }

// Path is where the directory is.
func (p *Place) Path() string { return p.all.w.path }

// OpenBook reads the book of the data directory d. One that is not there is
// empty; people may remove entries from it by hand.
func OpenBook(d disk.FS) (*Book, error) {
	b := &Book{d: d}
	text, err := disk.ReadFile(d, bookName, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		b.f.Version, b.f.ID = version, rand.Text()
		return b, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(text, &b.f); err != nil || b.f.ID == "" {
		return nil, fault.New(fault.InvalidTextRepr, "%s in the data directory cannot be read: %v", bookName, err).
			WithHint("restore it; without it, remove it and the file %s from each directory that belongs here", identityName)
	}
	if b.f.Version != version {
		return nil, fmt.Errorf("%s has version %d, this program knows %d: start the newer holdfast that wrote it", bookName, b.f.Version, version)
	}
	return b, nil
}

// Read has directories opened in a way that writes nothing to them.
func (b *Book) Read() { b.reading = true }

// Knows tells whether a directory is in the book. One that was taken out of it
// by hand is given up, with what is there.
func (b *Book) Knows(id string) bool { return b.at(func(k known) bool { return k.ID == id }) >= 0 }

// Other returns a directory of a stream's tier that has none of ids. Its path is
// "" where another one stands there now.
func (b *Book) Other(stream, tier string, ids []string) (path, id string, found bool) {
	at := b.at(func(k known) bool { return k.Stream == stream && k.Tier == tier && !slices.Contains(ids, k.ID) })
	if at < 0 {
		return "", "", false
	}
	return b.f.Directories[at].Path, b.f.Directories[at].ID, true
}

// Begun tells whether a stream was begun: it has files somewhere, or had.
func (b *Book) Begun(stream string) bool { return slices.Contains(b.f.Streams, stream) }

// Begin notes streams that have their first files. It writes nothing where all
// of them are noted.
func (b *Book) Begin(streams []string) error {
	before := b.f.Streams
	for _, s := range streams {
		if !b.Begun(s) {
			b.f.Streams = append(b.f.Streams, s)
		}
	}
	if len(b.f.Streams) == len(before) {
		return nil
	}
	if err := b.save(); err != nil {
		b.f.Streams = before
		return err
	}
	return nil
}

func (b *Book) at(is func(known) bool) int { return slices.IndexFunc(b.f.Directories, is) }

// notUsed is what is wrong with a mount point without its volume.
const notUsed = "is not the one that was used: it has no file " + identityName

// Open opens and locks a directory, making it where it is new. It refuses one
// that is another's, and one that is not what it was, because its volume is not
// mounted.
func (b *Book) Open(w Want) (*Place, error) {
	before := b.at(func(k known) bool { return k.Path == w.Path })
	open := disk.OpenReal
	if w.Exist || before >= 0 || b.reading {
		open = disk.OpenExisting
	}
	d, err := b.enter(w, open)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, b.away(w, before, "is missing")
	}
	if err != nil {
		return nil, err
	}
	if before >= 0 { // no lock file is left in a mount point
		if there, err := disk.Exists(d, identityName); !there && err == nil {
			return nil, errors.Join(b.away(w, before, notUsed), d.Close())
		}
	}
	lock, err := d.Lock(lockName)
	if errors.Is(err, disk.ErrLocked) {
		err = fault.New(fault.CannotConnectNow, "directory %q %s", w.Path, disk.ErrLocked).WithHint("another holdfast uses it; give this one a directory of its own")
	}
	if err != nil {
		return nil, errors.Join(silence(w, err), d.Close())
	}
	p := &Place{FS: d, lock: lock, all: d}
	if !w.Watch {
		p.FS = d.d
	}
	if p.ID, err = b.identify(d, w, before); err != nil {
		return nil, errors.Join(silence(w, err), p.Close())
	}
	return p, nil
}

// enter opens a directory, but does not wait for one that hangs.
func (b *Book) enter(w Want, open func(string) (*disk.Real, error)) (*Watched, error) {
	at := watched(nil, w.Path, usual)
	d, err := call(at.w, reading, at.w.bytes, func() (*disk.Real, error) { return open(w.Path) }, func(d *disk.Real) { _ = d.Close() })
	if err != nil {
		return nil, silence(w, err)
	}
	at.d = d
	if b.reading {
		at.d = disk.NewShadow(d)
	}
	return at, nil
}

// silence says what to do about a directory that does not answer.
func silence(w Want, err error) error {
	if !errors.Is(err, ErrSilent) {
		return err
	}
	return fault.New(fault.CannotConnectNow, "the %s directory %q of stream %q does not answer", w.Tier, w.Path, w.Stream).Because(err).
		WithHint("bring back what it is mounted from, and start again; its rows cannot be read without it")
}

// away refuses a directory that is not what it was.
func (b *Book) away(w Want, before int, what string) error {
	f := fault.New(fault.CannotConnectNow, "the directory %q of stream %q %s", w.Path, w.Stream, what)
	if before < 0 {
		return f.WithHint("mount the volume, or make the directory; with a single = it is made at start")
	}
	return f.WithHint("mount its volume; where that is lost, remove the entry with id %s from %s in the data directory: rows that were there are then named as missing", b.f.Directories[before].ID, bookName)
}

// identify returns the ID of a directory, giving it one where it is new.
func (b *Book) identify(d disk.FS, w Want, before int) (string, error) {
	is, fresh, err := b.judge(d, w, before)
	if err == nil && fresh {
		err = b.introduce(d, is)
	}
	if err != nil {
		return "", err
	}
	return is.ID, b.note(known{is.ID, w.Path, is.Stream, is.Tier})
}

// judge reads who a directory is, and refuses one that is not the wanted one.
// One that is new gets an identity that does not stand there yet.
func (b *Book) judge(d disk.FS, w Want, before int) (is identity, fresh bool, err error) {
	text, err := disk.ReadFile(d, identityName, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && before >= 0:
		return is, false, b.away(w, before, notUsed)
	case errors.Is(err, fs.ErrNotExist):
		return identity{version, rand.Text(), b.f.ID, w.Stream, w.Tier}, true, nil
	case err != nil:
		return is, false, err
	}
	if err := json.Unmarshal(text, &is); err != nil || is.ID == "" {
		return is, false, fault.New(fault.InvalidTextRepr, "file %s in %q cannot be read", identityName, w.Path).WithHint("restore it, or remove it together with the entry in %s of the data directory", bookName)
	}
	switch {
	case is.Version != version:
		err = fmt.Errorf("%s in %q has version %d, this program knows %d: start the newer holdfast that wrote it", identityName, w.Path, is.Version, version)
	case is.Owner != b.f.ID:
		err = fault.New(fault.CannotConnectNow, "directory %q belongs to another data directory", w.Path).
			WithHint("give this one a directory of its own; if it is to take this one over, remove the file %s from it first", identityName)
	case is.Stream != w.Stream || is.Tier != w.Tier:
		err = fault.New(fault.CannotConnectNow, "directory %q is of the %s tier of stream %q, not of the %s tier of %q", w.Path, is.Tier, is.Stream, w.Tier, w.Stream).
			WithHint("see that each volume is mounted where it belongs")
	}
	return is, false, err
}

// introduce writes who a new directory is, when the book has its own ID on the
// disk.
func (b *Book) introduce(d disk.FS, is identity) error {
	if err := b.save(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(is, "", "  ")
	if err != nil {
		return err
	}
	return disk.Replace(d, "", identityName, append(text, '\n'))
}

// note puts a directory into the book, in the place of what was there before
// under its ID or its path.
func (b *Book) note(k known) error {
	if b.at(func(o known) bool { return o == k }) >= 0 {
		return nil
	}
	// What was at the path before is mounted elsewhere, or away: its ID stays known.
	for i := range b.f.Directories {
		if o := &b.f.Directories[i]; o.Path == k.Path && o.ID != k.ID {
			o.Path = ""
		}
	}
	if at := b.at(func(o known) bool { return o.ID == k.ID }); at >= 0 {
		b.f.Directories[at] = k
	} else {
		b.f.Directories = append(b.f.Directories, k)
	}
	return b.save()
}

func (b *Book) save() error {
	text, err := json.MarshalIndent(b.f, "", "  ")
	if err != nil {
		return err
	}
	return disk.Replace(b.d, "", bookName, append(text, '\n'))
}
