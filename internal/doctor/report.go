package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// Severity says how much a finding matters.
type Severity int

// Severities. With a Note nothing needs doing.
const (
	Note     Severity = iota
	Warning           // something should be done, in daylight
	Critical          // rows are refused, at risk, or readable by whom they do not concern: now, or soon
)

var severities = []string{"note", "warning", "critical"}

// String returns the word for s.
func (s Severity) String() string { return severities[s] }

// MarshalText writes the word for s.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Severity) UnmarshalText(text []byte) error {
	i := slices.Index(severities, string(text))
	if i < 0 {
		return fmt.Errorf("severity %q is not known", text)
	}
	*s = Severity(i)
	return nil
}

// Finding is one thing that the doctor saw.
type Finding struct {
	Severity Severity `json:"severity"`
	Check    string   `json:"check"`   // which check found it; stable
	Subject  string   `json:"subject"` // the directory, file, device or sink that it is about
	Saw      string   `json:"saw"`     // the value
	Means    string   `json:"means"`   // what follows from it
	Do       string   `json:"do"`      // what to do; "" of a Note where there is nothing
	Commands []string `json:"commands,omitempty"`
}

// Place is a directory that was looked at, and its room.
type Place struct {
	Dir        string  `json:"dir"`
	Use        string  `json:"use"` // "data", "stream main", "sink files", or "directory" where it was named
	FileSystem string  `json:"file_system,omitempty"`
	Mount      string  `json:"mount,omitempty"`
	Device     string  `json:"device,omitempty"`
	Total      int64   `json:"total_bytes"`
	Free       int64   `json:"free_bytes"`
	Files      int64   `json:"files"` // that the volume can have; 0: as many as fit
	FreeFiles  int64   `json:"free_files"`
	Rate       float64 `json:"bytes_per_second,omitempty"` // of a stream, while a server answers: over the time that its rows span
	Lasts      float64 `json:"lasts_seconds,omitempty"`    // until its room is used up at that rate, if no sink took anything
	FlushP50   float64 `json:"flush_p50_seconds,omitempty"`
	FlushP99   float64 `json:"flush_p99_seconds,omitempty"`
}

// Report is everything that was seen, the worst first.
type Report struct {
	Findings []Finding `json:"findings"`
	Places   []Place   `json:"places"`
	Checks   []string  `json:"checks"` // that were made, whatever they found
}

// Count returns how many findings have the severity.
func (r *Report) Count(s Severity) (n int) {
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Wrong tells whether something needs doing.
func (r *Report) Wrong() bool { return r.Count(Critical)+r.Count(Warning) > 0 }

// sort puts the worst first, and what is about the same thing together.
func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		if a.Severity != b.Severity {
			return int(b.Severity - a.Severity)
		}
		return strings.Compare(a.Subject, b.Subject)
	})
	slices.Sort(r.Checks)
	r.Checks = slices.Compact(r.Checks)
}
