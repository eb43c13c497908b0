package httpapi

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SourceStatus is one configured source. Numbers that a kind of source has not
// are 0.
type SourceStatus struct {
	Name           string   `json:"name"`
	Type           string   `json:"type"`
	State          string   `json:"state"`                // "starting", "following" (all that is complete is stored), "taking" (files are being stored), "listening", "waiting" (for the next attempt), "held" (something is not read until somebody looked)
	LastError      string   `json:"last_error,omitempty"` // why it waits
	Notes          []string `json:"notes,omitempty"`      // what somebody should look at
	Rows           uint64   `json:"rows"`                 // stored since the start
	Rejects        uint64   `json:"rejects"`              // that could not be parsed, since the start
	Bytes          uint64   `json:"bytes"`                // taken since the start
	PendingBytes   int64    `json:"pending_bytes"`        // that are there and not stored
	PendingSeconds float64  `json:"pending_seconds"`      // age of the oldest of them
	Files          int      `json:"files"`                // that are followed, or wait
	OpenFiles      int      `json:"open_files"`           // of them; connections, where a source has these
	BadFiles       uint64   `json:"bad_files,omitempty"`  // that were set aside since the start
	Listen         []string `json:"listen,omitempty"`     // where it takes messages
	Lost           uint64   `json:"lost,omitempty"`       // messages that came in and could not be kept, since the start
	Refused        uint64   `json:"refused,omitempty"`    // connections closed for what they sent or who they were, since the start

	Partitions []Partition `json:"partitions,omitempty"` // of a spool
}

// Age sets PendingSeconds from the time of the oldest; the zero time is none.
func (s *SourceStatus) Age(oldest time.Time) {
	if !oldest.IsZero() {
		s.PendingSeconds = max(0, time.Since(oldest).Seconds())
	}
}

var (
	perSource = []string{"source"}

	descSourceRows    = desc("source_rows_total", "Rows stored from the source since the start.", perSource)
	descSourceRejects = desc("source_rejects_total", "Lines of the source that are no rows, set aside since the start.", perSource)
	descSourceBytes   = desc("source_bytes_total", "Bytes taken from the source since the start.", perSource)
	descSourcePending = desc("source_pending_bytes", "Bytes that the source has and that are not stored.", perSource)
	descSourceLag     = desc("source_pending_seconds", "Age of the oldest of them.", perSource)
	descSourceFiles   = desc("source_files", "Files that are followed, or wait.", perSource)
	descSourceOpen    = desc("source_open_files", "Files of the source that are open.", perSource)
	descSourceLost    = desc("source_lost_total", "Messages that came in and could not be kept since the start.", perSource)
	descSourceRefused = desc("source_refused_total", "Connections closed for what they sent or who they were, since the start.", perSource)
	descSourceBad     = desc("source_bad_files_total", "Files of the source that were set aside since the start.", perSource)
	descSourceOK      = desc("source_ok", "1 while all that the source has is taken.", perSource)
)

// collectSources sends the numbers of sources.
func collectSources(all []SourceStatus, out chan<- prometheus.Metric) {
	for _, s := range all {
		one := samples{out, []string{s.Name}}
		one.total(descSourceRows, s.Rows)
		one.total(descSourceRejects, s.Rejects)
		one.total(descSourceBytes, s.Bytes)
		one.gauge(descSourcePending, float64(s.PendingBytes))
		one.gauge(descSourceLag, s.PendingSeconds)
		one.gauge(descSourceFiles, float64(s.Files))
		one.gauge(descSourceOpen, float64(s.OpenFiles))
		one.gauge(descSourceOK, yes(s.State == "following" || s.State == "listening"))
		one.total(descSourceBad, s.BadFiles)
		one.total(descSourceLost, s.Lost)
		one.total(descSourceRefused, s.Refused)
	}
}
