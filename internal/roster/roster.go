// Package roster remembers what operators have said of sinks, in the file SINKS
// of the data directory: that one is paused, where a new one was told to begin,
// that one was renamed or retired.
//
// Which sinks rows are kept for is not here but in each stream's MANIFEST, and
// how far a sink has got is in the sink. So a lost SINKS loses no row.
package roster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"sync"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/row"
)

const (
	fileName  = "SINKS"
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
	damaged error

	mu    sync.Mutex
	notes map[string]Note
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
	text, err := disk.ReadFile(d, fileName, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", fileName, err)
	}
	f, err := parse(text)
	var bad *damagedError
	if errors.As(err, &bad) {
		r.damaged = err
		return r, errors.Join(d.Rename(fileName, asideName), d.SyncDir("."))
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
	return fmt.Sprintf("%s is damaged: %s; it was set aside as %s", fileName, e.why, asideName)
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
		return f, fmt.Errorf("%s has version %d, this program knows %d: start the newer holdfast that wrote it", fileName, f.Version, version)
	}
	return f, nil
}

// Damaged returns why the file could not be believed when it was opened; nil
// where it could.
func (r *Roster) Damaged() error { return r.damaged }

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
	defer r.mu.Unlock()
	next := r.clone()
	f(next)
	maps.DeleteFunc(next, func(_ string, n Note) bool { return n.empty() })
	text, err := json.Marshal(file{version, next})
	if err != nil {
		return fmt.Errorf("encode %s: %w", fileName, err)
	}
	if len(text) > maxFile-100 {
		return fault.New(fault.LimitExceeded, "%s would take %d bytes", fileName, len(text)).WithHint("use fewer sinks")
	}
	text = fmt.Appendf(text, "\ncrc32c %08x\n", crc32.Checksum(text, castagnoli))
	if err := disk.ReplaceOnFull(r.d, "", fileName, text); err != nil {
		return fault.Unwritten(fileName, disk.IsFull(err), err)
	}
	r.notes = next
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
