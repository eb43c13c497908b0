package httpapi

import "time"

// DedupeStatus is a table whose repeats are dropped.
type DedupeStatus struct {
	Table         string    `json:"table"`
	Stream        string    `json:"stream"`
	Key           []string  `json:"key"`
	WindowSeconds float64   `json:"window_seconds"`
	Limit         int       `json:"limit"`             // of keys that are remembered
	Repeats       uint64    `json:"repeats"`           // rows dropped since the start
	Keys          int       `json:"keys"`              // that are remembered
	Forgotten     uint64    `json:"forgotten"`         // keys forgotten before their window ended, for lack of room
	Since         time.Time `json:"since,omitzero"`    // receipt of the oldest row remembered
	Unknown       string    `json:"unknown,omitempty"` // what of the window before the start is not known
}
