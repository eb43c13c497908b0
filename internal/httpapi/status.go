package httpapi

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"holdfast/row"
)

// Status is how a server is, or how a data directory was left. Names and units
// in its JSON are stable.
type Status struct {
	Version     string         `json:"version"`
	Started     time.Time      `json:"started,omitzero"` // zero where no server runs
	Data        string         `json:"data"`
	Streams     []StreamStatus `json:"streams"`
	Sinks       []SinkStatus   `json:"sinks"`
	Sources     []SourceStatus `json:"sources,omitempty"`  // configured ones, while a server runs
	Doors       []DoorStatus   `json:"doors,omitempty"`    // open ones
	Warnings    []string       `json:"warnings,omitempty"` // what is wrong with files of the data directory, and what is configured against what sinks say
	Dedupe      []DedupeStatus `json:"dedupe,omitempty"`   // tables whose repeats are dropped
	Families    []FamilyStatus `json:"families,omitempty"` // that a running server closes by itself
	Listen      Listen         `json:"listen"`
	Connections int            `json:"connections"` // of all doors, now

	ResidentBytes     int64 `json:"resident_bytes"`      // memory of the server's process; 0 where the system does not tell
	PeakResidentBytes int64 `json:"peak_resident_bytes"` // the most that it has been
}

// Listen holds the addresses that the doors really have; empty where a door is
// closed.
type Listen struct {
	PG    string `json:"pg"`
	HTTP  string `json:"http"`
	MySQL string `json:"mysql,omitempty"`
}

// StreamStatus is one stream.
type StreamStatus struct {
	Name        string       `json:"name"`
	ID          string       `json:"id"`
	FirstSeq    uint64       `json:"first_seq"` // oldest row still stored; EndSeq+1 where none is
	EndSeq      uint64       `json:"end_seq"`   // last row that readers see; 0 before the first
	Segments    int          `json:"segments"`
	Bytes       int64        `json:"bytes"`                 // every file of the stream, reservations included
	LimitBytes  int64        `json:"limit_bytes"`           // budget; 0: only min_free bounds it
	FreeBytes   int64        `json:"free_bytes"`            // left on the volume
	State       string       `json:"state"`                 // "ok", "full" (writers are refused) or "failing" (the disk is; it is tried again)
	Error       string       `json:"error,omitempty"`       // why State is not "ok"
	ReplaySince time.Time    `json:"replay_since,omitzero"` // receipt of the oldest row still stored
	Damage      []row.Damage `json:"damage"`                // what was found damaged since the start
	Gaps        []row.Damage `json:"gaps"`                  // rows that repair gave up, the newest ranges
	GapRows     uint64       `json:"gap_rows"`              // in all of them that are still met
	Scrub       Scrub        `json:"scrub"`
	Rolling     *Rolling     `json:"rolling,omitempty"` // missing where nothing rolls
	Index       *IndexStatus `json:"index,omitempty"`   // missing where there is none
}

// Scrub is how far the scrubber got, which reads sealed segments again.
type Scrub struct {
	Bytes  uint64    `json:"bytes"`          // read since the start
	Damage uint64    `json:"damage"`         // places that it was the first to find
	Rounds uint64    `json:"rounds"`         // ended since the start
	Ended  time.Time `json:"ended,omitzero"` // when the last full round did
}

// SinkStatus is one stream's rows in one sink.
type SinkStatus struct {
	Name       string    `json:"name"`
	Stream     string    `json:"stream"`
	Type       string    `json:"type"`
	State      string    `json:"state"`       // "connecting", "delivering", "idle", "waiting" (for the next attempt), "paused" (by an operator), "halted" (an operator must look), "detached" (not configured)
	Seq        uint64    `json:"seq"`         // last row committed
	LagRows    uint64    `json:"lag_rows"`    // rows that the stream has and the sink has not
	LagBytes   int64     `json:"lag_bytes"`   // about, on disk
	LagSeconds float64   `json:"lag_seconds"` // age of the oldest row not committed
	LastError  string    `json:"last_error,omitempty"`
	Since      time.Time `json:"since,omitzero"` // when State became what it is
	Retries    uint64    `json:"retries"`        // since the start
	Rows       uint64    `json:"rows"`           // committed since the start
	Commits    uint64    `json:"commits"`        // since the start
	GapRows    uint64    `json:"gap_rows"`       // passed over since the start, because repair gave them up
	SizeBytes  int64     `json:"size_bytes"`     // on this machine's disk; 0 where the sink is elsewhere

	Reason        string  `json:"reason,omitempty"` // why it is halted, in a word
	Do            string  `json:"do,omitempty"`     // what there is to do about State and Reason
	RowsPerSecond float64 `json:"rows_per_second"`  // that it took within the last minute
	DoneSeconds   float64 `json:"done_seconds"`     // until it has everything, at that pace; 0 where nobody can tell, or it has
	RejectsOpen   int     `json:"rejects_open"`     // rows that it refused and that wait
	Rejects       uint64  `json:"rejects"`          // rows set aside since the start
}

// Verified is how much Verify, or Repair, has read.
type Verified struct {
	Streams  int   `json:"streams"`
	Segments int   `json:"segments"`
	Rows     int64 `json:"rows"`
	Bytes    int64 `json:"bytes"`
	Damaged  int   `json:"damaged"` // places reported, gaps apart
	Gaps     int   `json:"gaps"`    // ranges of rows given up before
}

// Repair is one damage, and what is, or would be, done about it.
type Repair struct {
	row.Damage
	Do         string `json:"do"`                   // "gap" (the rows are given up), "set aside" (a file that is of no use), "renew" (the MANIFEST), "rename" (a misplaced file; nothing is lost) or "leave" (no row is lost)
	Quarantine string `json:"quarantine,omitempty"` // file in the stream's directory that the bytes go to
	From       string `json:"from,omitempty"`       // name of a misplaced file
	To         string `json:"to,omitempty"`         // the one that it has to have; "": it is of another stream
	Done       bool   `json:"done"`
}

// RowsQuery says which rows are read.
type RowsQuery struct {
	Stream string
	Table  string // "" for all
	From   uint64 // the first seq wanted; 0 for the oldest stored
	Follow bool   // wait for more at the end
	Limit  int    // the most rows; 0 for all
	Whole  bool   // with the types of columns, and whether a row yields
	CutOff bool   // also rows that rolls have cut off and whose segments are there

	Where   string          // only rows of Table that match; "" for all
	Since   time.Time       // only rows received then or later; zero for all
	NoIndex bool            // read every segment, whatever the index says
	Explain func(Explained) // told at the end how it went; nil: nobody wants to know
}

// RowLine is a row as one line of NDJSON.
type RowLine struct {
	Seq      uint64    `json:"seq"`
	Received time.Time `json:"received"`
	Table    string    `json:"table"`
	Columns  []string  `json:"columns"`
	Values   []*string `json:"values"` // nil is NULL

	Malformed bool `json:"malformed,omitempty"` // a line that its source could not parse

	Types  []string `json:"types,omitempty"`  // of the columns, where they were asked for
	Yields bool     `json:"yields,omitempty"` // ON CONFLICT DO NOTHING; likewise
}

// line returns r as q wants it.
func (q RowsQuery) line(r *row.Row) *RowLine {
	l := LineOf(r)
	if q.Whole {
		l.Yields = r.Flags&row.Yields != 0
		for _, c := range r.Schema.Columns {
			l.Types = append(l.Types, c.Type)
		}
	}
	return l
}

// LineOf returns r as a RowLine, which shares no memory with r.
func LineOf(r *row.Row) *RowLine {
	l := &RowLine{
		Seq: r.Seq, Received: time.UnixMicro(r.Received).UTC(), Table: r.Schema.Table,
		Columns: make([]string, len(r.Schema.Columns)), Values: make([]*string, len(r.Values)),
		Malformed: r.Flags&row.Malformed != 0,
	}
	for i, c := range r.Schema.Columns {
		l.Columns[i] = c.Name
	}
	for i, v := range r.Values {
		if !v.Null {
			text := string(v.Text)
			l.Values[i] = &text
		}
	}
	return l
}

// Resident returns the memory of this process that is resident, and the most
// that ever was, in bytes; zeros where the system does not tell.
func Resident() (now, peak int64) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	return kib(text, "VmRSS:"), kib(text, "VmHWM:")
}

// kib finds a line like "VmRSS:   1234 kB".
func kib(text []byte, name string) int64 {
	for line := range bytes.Lines(text) {
		value, ok := bytes.CutPrefix(line, []byte(name))
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(value), []byte("kB")))), 10, 64)
		if err != nil {
			return 0
		}
		return n << 10
	}
	return 0
}
