// Package sources remembers how far sources were read, so that what is read
// again after a crash is stored once.
//
// A source's position moves with rows, in one step, although the file SOURCES
// and the stream are two: before the commit the file says which position is
// being moved to, and behind which seq the rows will stand; their first row is
// flagged. Whoever opens the file after a crash looks behind that seq for the
// flag: where it is, the position was reached. One move is under way at a time,
// so the flag can be of no other.
package sources

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"sync"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
)

const (
	fileName = "SOURCES"
	maxFile  = 16 << 20 // bytes
	version  = 1

	// What one source takes in the file is bounded, in bytes.
	maxName     = 512
	maxPosition = 1024
	maxSources  = 5000
)

// Move moves the position of a source.
type Move struct {
	Source   string
	From, To string // From must be where it stands; "" is where a new one stands
}

// place is where a source stands.
type place struct {
	Position string   `json:"position"`
	Moving   *pending `json:"moving,omitempty"`
}

// pending is a move that may or may not have happened.
type pending struct {
	To     string `json:"to"`
	Stream string `json:"stream"`
	After  uint64 `json:"after"` // the rows stand behind this seq
}

// Book is the file. Its methods are safe for concurrent use.
type Book struct {
	d disk.FS

	mu     sync.Mutex
	places map[string]place
	stale  bool  // the file says less than places, and nothing false
	broken error // why no move can be made
}

// Open reads the file in d. find reports whether a row with the flag Moves
// stands behind a seq of a stream; it returns an error where that cannot be
// told. A file that is damaged stops moves, and nothing else.
func Open(d disk.FS, find func(stream string, after uint64) (bool, error)) (*Book, error) {
	b := &Book{d: d, places: map[string]place{}}
	text, err := disk.ReadFile(d, fileName, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", fileName, err)
	}
	if b.places, err = parse(text); err != nil {
		b.broken = fault.New(fault.DataCorrupted, "the positions of sources cannot be read").Because(err).
			WithHint("put %s in the data directory back from a copy, or remove it and look what was stored of each source before it is read again", fileName)
		return b, nil
	}
	for name, p := range b.places {
		if p.Moving == nil {
			continue
		}
		moved, err := find(p.Moving.Stream, p.Moving.After)
		if err != nil {
			b.broken = fault.New(fault.OutcomeUnknown, "it is not known whether source %q stands at %q or at %q", name, p.Position, p.Moving.To).Because(err).
				WithHint("look what was stored last of it, and correct %s in the data directory", fileName)
			return b, nil
		}
		if moved {
			p.Position = p.Moving.To
		}
		p.Moving = nil
		b.places[name] = p
		b.stale = true
	}
	_ = b.settleLocked() // a full disk must not stop a start; what the file says still leads to the same
	return b, nil
}

// Position returns where a source stands; "" where it never moved.
func (b *Book) Position(source string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.places[source].Position, b.broken
}

// Move calls commit, which stores rows in a stream, the first of them flagged,
// and moves the source with it: both happen or none. after is a seq that the
// rows will stand behind. Without commit the source alone is moved. A source
// that stands elsewhere gives an error with code 40001. It waits for other
// moves.
func (b *Book) Move(m Move, stream string, after func() uint64, commit func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.judgeLocked(m); err != nil {
		return err
	}
	if commit == nil {
		return b.changeLocked(m.Source, place{Position: m.To})
	}
	was := b.places[m.Source]
	if err := b.changeLocked(m.Source, place{Position: was.Position, Moving: &pending{To: m.To, Stream: stream, After: after()}}); err != nil {
		return err
	}
	b.stale = true
	err := commit()
	if code := fault.Code(err); err != nil && (code == fault.OutcomeUnknown || code == fault.QueryCanceled) {
		b.broken = fault.New(fault.OutcomeUnknown, "it is not known whether source %q stands at %q or at %q", m.Source, was.Position, m.To).Because(err).
			WithHint("restart the server: it finds out what was stored")
		return err
	}
	if err != nil {
		b.places[m.Source] = was
		return err
	}
	b.places[m.Source] = place{Position: m.To}
	_ = b.settleLocked() // the next move, Close, or the next Open does it
	return nil
}

func (b *Book) judgeLocked(m Move) error {
	if b.broken != nil {
		return b.broken
	}
	is, known := b.places[m.Source]
	switch {
	case m.Source == "" || len(m.Source) > maxName || len(m.From) > maxPosition || len(m.To) > maxPosition:
		return fault.New(fault.InvalidParameterValue, "source %.64q cannot be moved to %.64q", m.Source, m.To).
			WithHint("a name has 1 to %d bytes, a position up to %d", maxName, maxPosition)
	case !known && len(b.places) >= maxSources:
		return fault.New(fault.LimitExceeded, "there are %d sources already", maxSources).
			WithHint("use one name for what is read again and again")
	case is.Position != m.From:
		return fault.New(fault.SerializationFailure, "source %q stands at %q, not at %q", m.Source, is.Position, m.From).
			WithHint("nothing was stored; another process read it meanwhile: go on from where it stands")
	}
	return nil
}

// changeLocked writes the file with another place for a source; nothing has
// changed where it fails.
func (b *Book) changeLocked(source string, to place) error {
	was, known := b.places[source]
	b.places[source] = to
	if to == (place{}) {
		delete(b.places, source)
	}
	err := b.writeLocked()
	if err != nil {
		if b.places[source] = was; !known {
			delete(b.places, source)
		}
		b.stale = true
		return fault.New(fault.IOError, "the position of source %q cannot be written", source).Because(err).WithHint("nothing was stored; look at the disk, and try again")
	}
	return nil
}

// settleLocked writes what was learned since the file was written.
func (b *Book) settleLocked() error {
	if !b.stale || b.broken != nil {
		return nil
	}
	return b.writeLocked()
}

// Close writes what is not written.
func (b *Book) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settleLocked()
}

// file is the content of SOURCES, besides a line with its CRC32C.
type file struct {
	Version int              `json:"version"`
	Sources map[string]place `json:"sources"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (b *Book) writeLocked() error {
	line, err := json.Marshal(file{Version: version, Sources: b.places})
	if err != nil {
		return err
	}
	text := fmt.Appendf(append(line, '\n'), "crc32c %08x\n", crc32.Checksum(line, castagnoli))
	if err := disk.Replace(b.d, "", fileName, text); err != nil {
		return err
	}
	b.stale = false
	return nil
}

func parse(text []byte) (map[string]place, error) {
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	if want := fmt.Sprintf("crc32c %08x\n", crc32.Checksum(line, castagnoli)); string(rest) != want {
		return nil, fmt.Errorf("%s is damaged: its checksum does not match", fileName)
	}
	var f file
	if err := json.Unmarshal(line, &f); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", fileName, err)
	}
	if f.Version != version {
		return nil, fmt.Errorf("%s has version %d, this program knows %d", fileName, f.Version, version)
	}
	if f.Sources == nil {
		f.Sources = map[string]place{}
	}
	return f.Sources, nil
}
