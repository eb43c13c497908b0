package httpapi

import "time"

// FamilyStatus is a family of SQL tables that a server closes by itself.
type FamilyStatus struct {
	Name      string    `json:"name"`
	State     string    `json:"state"`                // "waiting", "closing", "refused" (a rule stands against it) or "failing" (it is tried again)
	Next      time.Time `json:"next,omitzero"`        // when it is closed next; zero where size alone decides
	Tried     time.Time `json:"tried,omitzero"`       // the last closing, however it ended
	Closed    time.Time `json:"closed,omitzero"`      // the last that closed a period
	Archive   int64     `json:"archive_id,omitempty"` // that it made
	Until     time.Time `json:"until,omitzero"`       // the end of its period
	LastError string    `json:"last_error,omitempty"`
	Closings  uint64    `json:"closings"` // since the start
	Refusals  uint64    `json:"refusals"` // since the start
	Failures  uint64    `json:"failures"` // since the start
}
