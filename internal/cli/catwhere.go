package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/httpapi"
)

// catFilter are the flags of cat that say what rows must be like.
type catFilter struct {
	since   string
	explain bool
	given   func() bool // whether there is a condition
}

func (c *catFilter) flags(cmd *cobra.Command, q *httpapi.RowsQuery) {
	f := cmd.Flags()
	c.given = func() bool { return f.Changed("where") }
	f.StringVar(&q.Where, "where", "", "only rows of --table for which this `condition` holds")
	f.StringVar(&c.since, "since", "", "only rows received since then: a `time`, or how long ago (2h, 3d)")
	f.BoolVar(&c.explain, "explain", false, "tell on standard error how many segments were read, and how many the index spared")
	f.BoolVar(&q.CutOff, "cut-off", false, "also rows that rolls have cut off, as far as their segments are there: what a hold keeps")
	f.BoolVar(&q.NoIndex, "no-index", false, "read every segment, to compare")
}

// settle checks the flags.
func (c *catFilter) settle(q *httpapi.RowsQuery, now time.Time) (err error) {
	if c.given() && strings.TrimSpace(q.Where) == "" {
		return usage("leave --where out to get all rows; is a variable of the shell empty?", "the condition of --where is empty")
	}
	if q.Where != "" && q.Table == "" {
		return usage("name the table, too: --table T", "--where is about the columns of one table")
	}
	if c.since != "" {
		if q.Since, err = since(c.since, now); err != nil {
			return err
		}
	}
	return nil
}

// since reads a time, or how long ago it was.
func since(text string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage(`write it like 2h, 3d, "2026-11-20 23:30" (UTC) or 2026-11-20T23:30:00+01:00`, "--since %q is no time", text)
}

// explained shows how a read went, where it was asked for, or where rows could
// not be judged.
func (p *printer) explained(e httpapi.Explained, asked bool) {
	_ = p.out.Flush() // a write error comes back from the last one
	if e.Failed > 0 {
		fmt.Fprintf(p.errs, "holdfast: the condition could not be computed for %s, which are not shown; the first: %s\n", plural(e.Failed, "row"), oneLine(e.Why))
	}
	switch {
	case !asked:
	case p.json != nil:
		_ = json.NewEncoder(p.out).Encode(map[string]httpapi.Explained{"explained": e})
	default:
		fmt.Fprintf(p.errs, "holdfast: %s opened, %d skipped; %s asked, %d bytes of them read; %d rows looked at\n",
			plural(e.Opened, "segment"), e.Skipped, plural(e.Slices, "index slice"), e.Bytes, e.Rows)
	}
}
