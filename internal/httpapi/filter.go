package httpapi

import (
	"net/url"
	"time"

	"holdfast/internal/fault"
)

// Explained tells how a read came to its rows.
type Explained struct {
	Opened  int    `json:"opened"`  // segments that were read, in part or whole
	Skipped int    `json:"skipped"` // segments that were not, because no row in them could match
	Slices  int    `json:"slices"`  // index slices that were asked for that
	Bytes   int64  `json:"bytes"`   // that were read of them
	Rows    uint64 `json:"rows"`    // rows that were looked at
	Failed  int    `json:"failed"`  // rows of which a part of the condition could not be computed; they do not match
	Why     string `json:"why,omitempty"`
}

// readFilter reads what rows must be like.
func (q *RowsQuery) readFilter(v url.Values) (err error) {
	q.Where, q.NoIndex = v.Get("where"), v.Get("no_index") == "1"
	if v.Has("where") && q.Where == "" {
		return fault.New(fault.InvalidParameterValue, "where is empty").WithHint("leave it out to get all rows")
	}
	if q.Where != "" && q.Table == "" {
		return fault.New(fault.InvalidParameterValue, "where is about the columns of one table").WithHint("give table, too")
	}
	if s := v.Get("since"); s != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return fault.New(fault.InvalidParameterValue, "since %q is not a time", s).WithHint("write it like 2026-11-20T23:30:00Z")
		}
	}
	if v.Get("explain") == "1" {
		q.Explain = func(Explained) {}
	}
	return nil
}

// writeFilter is the other end of readFilter.
func (q *RowsQuery) writeFilter(v url.Values) {
	if q.Where != "" {
		v.Set("where", q.Where)
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if q.NoIndex {
		v.Set("no_index", "1")
	}
	if q.Explain != nil {
		v.Set("explain", "1")
	}
}
