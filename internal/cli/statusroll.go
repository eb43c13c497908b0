package cli

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"holdfast/internal/httpapi"
)

// printRolling tells how streams roll: what keeps their oldest rows, and what
// went last.
func printRolling(w io.Writer, all []httpapi.StreamStatus, now time.Time) error {
	if !slices.ContainsFunc(all, func(s httpapi.StreamStatus) bool { return s.Rolling != nil }) {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nROLLS\tTIER\tSIZE\tLIMIT\tTRASH\tWATERMARK\tLAST ROLL\tWENT\tPINNED BY")
	for _, s := range all {
		r := s.Rolling
		if r == nil {
			continue
		}
		mark, last, went := "-", "-", "-"
		switch {
		case !r.WatermarkTime.IsZero():
			mark = r.WatermarkTime.Format(time.DateTime)
		case r.Watermark != nil:
			mark = fmt.Sprintf("%s %d", word(r.Link), *r.Watermark)
		}
		if l := r.LastRoll; l != nil {
			last, went = ago(now.Sub(l.At)), plural(l.Segments, "segment")
		}
		for _, tier := range r.Tiers {
			limit := "none"
			if tier.LimitBytes > 0 {
				limit = bytesOf(tier.LimitBytes)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, tier.Tier, bytesOf(tier.Bytes), limit, bytesOf(r.TrashBytes),
				mark, last, went, oneLine(first(r.PinnedBy, "-")))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		r := s.Rolling
		if r == nil {
			continue
		}
		for _, size := range r.IgnoredSizes {
			fmt.Fprintf(w, "size of %s: %s, because it is more than a tenth smaller (roll: {shrink: true}, or serve --force, takes it into use)\n", s.Name, oneLine(size))
		}
		if r.Stuck != "" {
			fmt.Fprintf(w, "ALARM: segments of %s cannot be moved to the warm tier since %s: %s\n", s.Name, ago(now.Sub(r.StuckSince)), oneLine(r.Stuck))
		}
		for _, d := range r.Silent {
			fmt.Fprintf(w, "ALARM: the directory %q of %s does not answer since %s; what is in it cannot be read, and nothing moves there\n", oneLine(d.Directory), s.Name, ago(now.Sub(d.Since)))
		}
		printCold(w, &s, now)
		if l := r.LastRoll; l != nil {
			fmt.Fprintf(w, "last roll of %s: %s ago by %s (%s)\n", s.Name, ago(now.Sub(l.At)), oneLine(l.Rule), oneLine(l.By))
		}
		if r.LastTry == nil {
			continue
		}
		for _, way := range r.LastTry.InTheWay {
			fmt.Fprintf(w, "in the way of a roll of %s, %s ago: %s\n", s.Name, ago(now.Sub(r.LastTry.At)), oneLine(way))
		}
	}
	return nil
}

// printCold tells how a stream's cold tier is doing.
func printCold(w io.Writer, s *httpapi.StreamStatus, now time.Time) {
	c := s.Rolling.Cold
	if c == nil {
		return
	}
	fmt.Fprintf(w, "cold tier of %s: %s went to %s since the start", s.Name, plural(int(c.Segments), "segment"), oneLine(c.Where))
	if c.Dropped > 0 {
		fmt.Fprintf(w, ", %s left WITHOUT A COPY", plural(int(c.Dropped), "segment"))
	}
	if c.Held > 0 {
		fmt.Fprintf(w, ", %s cannot be copied and stay", plural(int(c.Held), "segment"))
	}
	fmt.Fprintln(w)
	if c.Failing != "" {
		fmt.Fprintf(w, "ALARM: the cold tier of %s fails since %s (on_cold_full: %s): %s\n", s.Name, ago(now.Sub(c.Since)), c.OnFull, oneLine(c.Failing))
	}
}
