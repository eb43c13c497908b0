package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// spread is a figure over the rounds.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(all []float64) spread {
	if len(all) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	return spread{Median: (sorted[n/2] + sorted[(n-1)/2]) / 2, Min: sorted[0], Max: sorted[n-1]}
}

// line is one contender at one work, as it is reported. Ratios are medians of
// each round's own ratio, so that what the machine does in between cancels out.
type line struct {
	Work    string  `json:"work"`
	Name    string  `json:"name"`
	Mode    string  `json:"mode"`
	Durable bool    `json:"durable"`
	Rate    spread  `json:"rows_per_second"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	OfBare  spread  `json:"of_bare"`
	Journal spread  `json:"journal_over_it"` // how many times as fast Holdfast is
	Library spread  `json:"library_over_it"`
	Ahead   *bool   `json:"ahead,omitempty"` // of a durable peer: both are; of others nothing is said
	Note    string  `json:"note,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// report is everything that a run found.
type report struct {
	Machine string  `json:"machine"`
	Seed    uint64  `json:"seed"`
	Rounds  int     `json:"rounds"`
	Turn    float64 `json:"turn_s"`
	Lines   []line  `json:"lines"`
	Cold    *cold   `json:"cold,omitempty"`
}

// linesOf turns outcomes into lines.
func linesOf(all []*outcome) []line {
	find := func(w work, name string) *outcome {
		for _, o := range all {
			if o.work == w && o.contender.name == name {
				return o
			}
		}
		return nil
	}
	var lines []line
	for _, o := range all {
		c := o.contender
		l := line{Work: o.work.name, Name: c.name, Mode: c.mode, Durable: c.durable, Note: c.note}
		if o.err != nil {
			l.Error = o.err.Error()
			lines = append(lines, l)
			continue
		}
		var rates []float64
		var took histogram
		for _, t := range o.turns {
			rates = append(rates, t.rate)
			took.merge(t.took)
		}
		l.Rate = spreadOf(rates)
		l.P50, l.P99 = micros(&took, .5), micros(&took, .99)
		l.OfBare = ratio(o, find(o.work, nameBare))
		l.Journal = ratio(find(o.work, nameJournal), o)
		l.Library = ratio(find(o.work, nameLibrary), o)
		if c.durable && !c.product && c.name != nameBare && l.Journal.Median > 0 && l.Library.Median > 0 {
			ahead := l.Journal.Median > 1 && l.Library.Median > 1
			l.Ahead = &ahead
		}
		lines = append(lines, l)
	}
	return lines
}

func micros(h *histogram, q float64) float64 { return float64(h.quantile(q).Nanoseconds()) / 1000 }

// ratio returns a over b, round by round.
func ratio(a, b *outcome) spread {
	if a == nil || b == nil || a.err != nil || b.err != nil {
		return spread{}
	}
	var all []float64
	for i := range min(len(a.turns), len(b.turns)) {
		all = append(all, a.turns[i].rate/b.turns[i].rate)
	}
	return spreadOf(all)
}

// markdown writes the tables and what the check at the end says.
func (r *report) markdown(w io.Writer) {
	fmt.Fprintf(w, "%s; %d rounds of %.2f s each, seed %d; records of %d bytes; medians, with the slowest and the fastest round.\n", r.Machine, r.Rounds, r.Turn, r.Seed, recordSize)
	fmt.Fprintf(w, "\"of bare\" is the rate over that of the bare file; \"journal\" and \"library\" say how many times as fast Holdfast is.\n")
	work := ""
	for _, l := range r.Lines {
		if l.Work != work {
			work = l.Work
			fmt.Fprintf(w, "\n### %s\n\n| contender | how | rows/s | p50 µs | p99 µs | of bare | journal | library |\n|---|---|--:|--:|--:|--:|--:|--:|\n", work)
		}
		mode := l.Mode
		if !l.Durable {
			mode += ", **not durable**"
		}
		if l.Error != "" {
			fmt.Fprintf(w, "| %s | %s | **error**: %s | | | | | |\n", l.Name, mode, strings.ReplaceAll(l.Error, "|", "/"))
			continue
		}
		fmt.Fprintf(w, "| %s | %s | %s (%s..%s) | %.0f | %.0f | %s | %s | %s |\n", l.Name, mode,
			thousands(l.Rate.Median), thousands(l.Rate.Min), thousands(l.Rate.Max), l.P50, l.P99, times(l.OfBare), times(l.Journal), times(l.Library))
	}
	if r.Cold != nil {
		r.Cold.markdown(w)
	}
	if len(r.Lines) > 0 {
		r.verdict(w)
	}
}

// verdict says for each durable peer whether Holdfast is ahead of it, and
// names those that it is not ahead of.
func (r *report) verdict(w io.Writer) {
	ahead, measured := 0, 0
	fmt.Fprintf(w, "\n### Is Holdfast ahead of each durable peer?\n\n")
	for _, l := range r.Lines {
		switch {
		case l.Error != "":
			fmt.Fprintf(w, "- ERROR: %s: %s, %s: %s\n", l.Work, l.Name, l.Mode, l.Error)
		case l.Ahead != nil:
			measured++
			word := "NOT ahead"
			if *l.Ahead {
				word = "ahead"
				ahead++
			}
			fmt.Fprintf(w, "- %s: %s: %s, %s: journal %s, library %s\n", word, l.Work, l.Name, l.Mode, times(l.Journal), times(l.Library))
		}
	}
	fmt.Fprintln(w)
	for _, wk := range works {
		if best := r.best(wk.name); best != nil {
			fmt.Fprintf(w, "- the best durable peer with %s is %s, %s: journal %s, library %s of it\n", wk.name, best.Name, best.Mode, times(best.Journal), times(best.Library))
		}
	}
	fmt.Fprintf(w, "\nahead of %d of %d\n", ahead, measured)
}

// best returns the fastest durable peer of a work; nil: none was measured.
func (r *report) best(work string) (best *line) {
	for i, l := range r.Lines {
		if l.Work == work && l.Ahead != nil && (best == nil || l.Journal.Median < best.Journal.Median) {
			best = &r.Lines[i]
		}
	}
	return best
}

// failed reports whether something did not do what it should, other than be slower.
func (r *report) failed() bool {
	return slices.ContainsFunc(r.Lines, func(l line) bool { return l.Error != "" })
}

// write puts the report beside each other as name.md and name.json.
func (r *report) write(name string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	var md strings.Builder
	r.markdown(&md)
	if err := os.WriteFile(name+".md", []byte(md.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(name+".json", append(text, '\n'), 0o644)
}

// thousands writes a count so that it can be read.
func thousands(f float64) string {
	switch {
	case f >= 1e6:
		return fmt.Sprintf("%.2f M", f/1e6)
	case f >= 1e5:
		return fmt.Sprintf("%.0f k", f/1e3)
	default:
		return fmt.Sprintf("%.1f k", f/1e3)
	}
}

// times writes a ratio with its spread.
func times(s spread) string {
	if s.Median == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f (%.2f..%.2f)", s.Median, s.Min, s.Max)
}
