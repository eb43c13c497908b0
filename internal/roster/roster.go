// Package roster remembers what operators have said of sinks, in the file SINKS
// of the data directory: that one is paused, where a new one was told to begin,
// that one was renamed or retired.
//
// Which sinks rows are kept for is not here but in each stream's MANIFEST, and
// how far a sink has got is in the sink. So a lost SINKS loses no row; but what
// was paused would be delivered, and a name that was retired or renamed would be
// a new sink, which gets every row again. So whoever opens one that is lost
// pauses what it may have spoken of, until an operator resumes it.
package roster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/row"
)

// FileName is what the file is called.
const FileName = "SINKS"

const (
	asideName = "SINKS.damaged"
	maxFile   = 4 << 20 // bytes; some thousand sinks
	version   = 1
)

// Note is what was said of one sink.
type Note struct {
	Streams map[string]Place `json:"streams,omitempty"`
	Retired time.Time        `json:"retired,omitzero"`  // when its registration was ended; zero: it was not
	Renamed string           `json:"renamed,omitempty"` // what it is called since; "": this
}

// Place is what was said of one sink and one stream.
type Place struct {
	Paused   bool          `json:"paused,omitempty"`
	Attached bool          `json:"attached,omitempty"` // it had a cursor once
	Start    *row.Position `json:"start,omitempty"`    // where it was told to begin; nil: with the oldest row
	Was      []string      `json:"was,omitempty"`      // the names under which the sink may still have its cursor
}

// Roster is the file. Its methods are safe for concurrent use.
type Roster struct {
	d       disk.FS
	missing bool   // there was no file
	unsaid  bool   // the disk was full when that was to be told in a file
	changed func() // told of each change; nil: nobody is

	mu      sync.Mutex
	damaged error
	notes   map[string]Note
}

// file is the content of SINKS, besides a line with its CRC32C.
type file struct {
	Version int             `json:"version"`
	Sinks   map[string]Note `json:"sinks"`
}

// Open reads the file in d; that there is none says nothing of any sink. One
// that is damaged is set aside, and Damaged says so.
func Open(d disk.FS) (*Roster, error) {
	r := &Roster{d: d, notes: map[string]Note{}}
	text, err := disk.ReadFile(d, FileName, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		r.missing = true
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", FileName, err)
	}
	f, err := parse(text)
	var bad *damagedError
	if errors.As(err, &bad) {
		r.damaged = err
		return r, errors.Join(d.Rename(FileName, asideName), d.SyncDir("."))
	}
	if err != nil {
		return nil, err
	}
	maps.Copy(r.notes, f.Sinks)
	return r, nil
}

// damagedError says why the file cannot be believed.
type damagedError struct{ why string }

func (e *damagedError) Error() string {
	return fmt.Sprintf("%s is damaged: %s; it was set aside as %s", FileName, e.why, asideName)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func parse(text []byte) (f file, err error) {
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	if want := fmt.Sprintf("crc32c %08x\n", crc32.Checksum(line, castagnoli)); string(rest) != want {
		return f, &damagedError{"its checksum does not match"}
	}
	if err := json.Unmarshal(line, &f); err != nil {
		return f, &damagedError{err.Error()}
	}
	if f.Version != version {
		return f, fmt.Errorf("%s has version %d, this program knows %d: start the newer holdfast that wrote it", FileName, f.Version, version)
	}
	return f, nil
}

// Damaged returns why what was said is lost since Open; nil where it is not.
func (r *Roster) Damaged() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.damaged
}

// Missing is told by a stream that is being opened which files there were: that
// SINKS is not there, although it said something, is damage too. A file in the
// place of what would be set aside says so to whoever looks.
func (r *Roster) Missing(files []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.missing || r.damaged != nil || !slices.Contains(files, FileName) {
		return nil
	}
	r.damaged = errors.New(FileName + " is missing from the data directory")
	err := disk.Replace(r.d, "", asideName, []byte(r.damaged.Error()+"\n"))
	if r.unsaid = disk.IsFull(err); r.unsaid {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", asideName, err)
	}
	return nil
}

// Trouble tells that what was said was lost, and what to do; "": it was not, or
// somebody has settled that.
func (r *Roster) Trouble() string {
	bad := r.Damaged()
	there, err := disk.Exists(r.d, asideName)
	switch {
	case there && bad == nil:
		bad = errors.New(FileName + " was damaged or missing at a start")
	case !there && err == nil && !r.unsaid:
		return ""
	}
	return fmt.Sprintf("%v, so every sink was paused: retire and rename anew what was, holdfast sink resume NAME for each that is to go on, then remove %s from the data directory", bad, asideName)
}

// Says tells whether there is a note on any sink.
func (r *Roster) Says() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.notes) > 0
}

// OnChange has f called after each change that is durable. It must be called
// before anything changes.
func (r *Roster) OnChange(f func()) { r.changed = f }

// Note returns what was said of a sink.
func (r *Roster) Note(sink string) Note {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.notes[sink].clone()
}

// Place returns what was said of a sink and a stream.
func (r *Roster) Place(sink, stream string) Place { return r.Note(sink).Streams[stream] }

// Notes returns what was said of every sink.
func (r *Roster) Notes() map[string]Note {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clone()
}

func (r *Roster) clone() map[string]Note {
	out := make(map[string]Note, len(r.notes))
	for name, n := range r.notes {
		out[name] = n.clone()
	}
	return out
}

func (n Note) clone() Note {
	n.Streams = maps.Clone(n.Streams)
	if n.Streams == nil {
		n.Streams = map[string]Place{}
	}
	return n
}

// empty reports whether n says nothing.
func (n Note) empty() bool {
	for _, p := range n.Streams {
		if p.Paused || p.Attached || p.Start != nil || len(p.Was) > 0 {
			return false
		}
	}
	return n.Retired.IsZero() && n.Renamed == ""
}

// Change calls f with all that was said, to be changed as it likes, and makes
// that durable. After an error all is as before.
func (r *Roster) Change(f func(notes map[string]Note)) error {
	r.mu.Lock()
	next := r.clone()
	f(next)
	err := r.write(next)
	if err == nil {
		r.notes = next
	}
	r.mu.Unlock()
	if err == nil && r.changed != nil {
		r.changed()
	}
	return err
}

// Assume is Change that holds as long as the program runs where the disk is
// full: the next start finds as little as this one did, and assumes it again.
func (r *Roster) Assume(f func(notes map[string]Note)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.notes)
	if err := r.write(r.notes); fault.Code(err) != fault.DiskFull {
		return err
	}
	return nil
}

// write makes notes durable, those that say nothing left out. Roster.mu is held.
func (r *Roster) write(next map[string]Note) error {
	maps.DeleteFunc(next, func(_ string, n Note) bool { return n.empty() })
	text, err := json.Marshal(file{version, next})
	if err != nil {
		return fmt.Errorf("encode %s: %w", FileName, err)
	}
	if len(text) > maxFile-100 {
		return fault.New(fault.LimitExceeded, "%s would take %d bytes", FileName, len(text)).WithHint("use fewer sinks")
	}
	text = fmt.Appendf(text, "\ncrc32c %08x\n", crc32.Checksum(text, castagnoli))
	if err := disk.ReplaceOnFull(r.d, "", FileName, text); err != nil {
		return fault.Unwritten(FileName, disk.IsFull(err), err)
	}
	return nil
}

// ChangePlace is Change for one sink and one stream.
func (r *Roster) ChangePlace(sink, stream string, f func(p *Place)) error {
	return r.Change(func(notes map[string]Note) {
		n := notes[sink].clone()
		p := n.Streams[stream]
		f(&p)
		n.Streams[stream] = p
		notes[sink] = n
	})
}
