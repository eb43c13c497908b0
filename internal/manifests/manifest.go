// Package manifests is about what stands beside each sealed segment: one JSON object
// that says which rows are in it, so that other programs, and people years
// later, need not read it. It is derived from the segment's footer, and can be
// made anew at any time. Catalogue keeps manifests of segments that are gone.
package manifests

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Version is the version of a manifest's JSON form.
const Version = 1

// Suffix is what a manifest's name ends in; before it stands its segment's.
const Suffix = ".json"

// MaxSize bounds what is read as a manifest: ten times the longest one.
const MaxSize = 16 << 10

// Manifest describes one segment. The first nine names, and times as Unix
// seconds, are those of the manifests of the NetWitness Core database.
type Manifest struct {
	Filename string `json:"filename"`
	Size     int64  `json:"size"`     // bytes of the file
	FileTime int64  `json:"fileTime"` // when it was sealed
	ID1      uint64 `json:"id1"`      // the first seq
	ID2      uint64 `json:"id2"`      // the last
	Session1 *int64 `json:"session1"` // the lowest link; null where no row has one
	Session2 *int64 `json:"session2"` // the highest
	Time1    int64  `json:"time1"`    // receipt of the first row
	Time2    int64  `json:"time2"`    // of the last

	Version  int          `json:"version"`
	Stream   string       `json:"stream"`
	StreamID string       `json:"stream_id"`
	Number   uint64       `json:"number"`
	Link     string       `json:"link,omitempty"` // the column that session1 and session2 are of
	Rows     uint64       `json:"rows"`
	Sealed   time.Time    `json:"sealed"`         // as fileTime, time1 and time2, to the microsecond
	Received [2]time.Time `json:"received"`       // of the first and the last row
	SHA256   string       `json:"sha256"`         // of the content: all of the file before its footer, hexadecimal; "" not known
	File     string       `json:"file,omitempty"` // SHA-256 of the whole file, where it was moved or packed
	Gone     *Gone        `json:"gone,omitempty"` // the segment is gone
}

// Gone tells when a segment went, why, and where to.
type Gone struct {
	At   time.Time `json:"at"`
	Rule string    `json:"rule"`           // the limit or the message; "" where a crash forgot it
	Roll uint64    `json:"roll,omitempty"` // serial of the roll, which the ledger has too
	By   string    `json:"by,omitempty"`
	To   string    `json:"to"` // Nowhere, or what it was moved to
}

// Nowhere is where a segment goes that is removed for good.
const Nowhere = "removed"

// Where a segment is that a search finds.
const (
	Active = "active" // it is written to, and has no digest yet
	Hot    = "hot"
	Warm   = "warm"
	Trash  = "trash" // rolled, and can be brought back
	Left   = "gone"
)

// Found is what a search finds.
type Found struct {
	Manifest
	Where  string    `json:"where"`
	Until  time.Time `json:"undo_until,omitzero"`    // of one in the trash
	Hidden *int64    `json:"hidden_below,omitempty"` // rows whose link is below it are cut off already
}

// ErrDamaged says that a manifest is not one.
var ErrDamaged = errors.New("the manifest cannot be read")

// Encode returns the manifest as one line.
func (m *Manifest) Encode() ([]byte, error) {
	text, err := json.Marshal(m)
	return append(text, '\n'), err
}

// Decode reads what Encode returned. The error wraps ErrDamaged.
func Decode(text []byte) (m Manifest, err error) {
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if m.Version != Version || m.Number == 0 {
		return m, fmt.Errorf("%w: version %d, segment %d", ErrDamaged, m.Version, m.Number)
	}
	return m, nil
}

// Query asks for segments. What is nil is not asked for; ends are included.
type Query struct {
	Stream string // "": all
	Times  *Span  // of receipt, Unix microseconds
	Links  *Span
	Seqs   *Span
}

// Span is what lies from First to Last, both included.
type Span struct{ First, Last int64 }

// meets tells whether the spans have something in common; nil has with all.
func (s *Span) meets(first, last int64) bool {
	return s == nil || s.First <= last && first <= s.Last
}

// Meets tells whether a segment can hold a row that is asked for. A link is in
// no segment without links.
func (q *Query) Meets(m *Manifest) bool {
	if q.Stream != "" && q.Stream != m.Stream || q.Links != nil && (m.Session1 == nil || m.Session2 == nil) {
		return false
	}
	return (q.Links == nil || q.Links.meets(*m.Session1, *m.Session2)) &&
		q.Seqs.meets(int64(m.ID1), int64(m.ID2)) && q.Times.meets(m.Received[0].UnixMicro(), m.Received[1].UnixMicro())
}
