package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Report is one run of the bench.
type Report struct {
	Date    time.Time
	Machine Machine
	Results []Result
	Notes   []string // what was left out, and what to know of the figures
}

// nameWidth is that of the longest name, so that a table can be printed while
// it is still being measured.
const nameWidth = 24

// Header returns the head of the table whose lines are Result.Line.
func Header() string {
	return fmt.Sprintf("%-*s %12s %12s %6s %5s %10s %10s  %s\n", nameWidth, "case", "holdfast", "baseline", "ratio", "goal", "p50 µs", "p99 µs", "unit")
}

// Line returns the result as a line of the table.
func (r Result) Line() string {
	return fmt.Sprintf("%-*s %12s %12s %6.2f %5s %10s %10s  %s\n", nameWidth, r.Name,
		number(r.Rate), number(r.Baseline), r.Ratio, r.goal(), number(r.P50), number(r.P99), r.Unit)
}

// goal returns the goal, "-" where there is none.
func (r Result) goal() string {
	if r.Goal == 0 {
		return "-"
	}
	return strconv.FormatFloat(r.Goal, 'g', 3, 64)
}

// number writes v with three digits or more, and its thousands apart.
func number(v float64) string {
	switch {
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// Markdown writes the report as a document, with the command that made it.
func (r Report) Markdown(w io.Writer, command, commit string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Bench, %s\n\n", r.Date.Format("2006-01-02"))
	for _, f := range [][2]string{
		{"commit", commit}, {"command", "`" + command + "`"}, {"time", r.Date.UTC().Format(time.RFC3339)},
		{"CPUs", strings.TrimSpace(fmt.Sprint(r.Machine.CPUs, " ", r.Machine.CPU))}, {"kernel", r.Machine.Kernel},
		{"file system", r.Machine.FileSystem}, {"Go", r.Machine.Go + " " + r.Machine.Platform},
	} {
		if f[1] != "" {
			fmt.Fprintf(&b, "- %s: %s\n", f[0], f[1])
		}
	}
	b.WriteString("\nHoldfast and the baseline took turns in one run; rates are medians of the rounds, the ratio is the median of\n" +
		"each round's own. Latencies are per operation: a row, a batch, a COPY, a block read, a whole load.\n\n" +
		"| case | holdfast | baseline | unit | ratio | goal | p50 µs | p99 µs | baseline p50 | baseline p99 | rows per run |\n" +
		"|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, c := range r.Results {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.2f | %s | %s | %s | %s | %s | %s |\n", c.Name, number(c.Rate), number(c.Baseline), c.Unit, c.Ratio,
			c.goal(), number(c.P50), number(c.P99), number(c.BaselineP50), number(c.BaselineP99), number(float64(c.Rows)))
	}
	r.processorTimes(&b)
	b.WriteString("\nBaselines:\n\n")
	for _, c := range r.Results {
		fmt.Fprintf(&b, "- %s: %s\n", c.Name, c.Against)
	}
	if len(r.Notes) > 0 {
		b.WriteString("\nNotes:\n\n")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// processorTimes writes what is known of the processor time that both sides
// use, which a busy machine changes less than it does rates.
func (r Report) processorTimes(b *strings.Builder) {
	head := "\nProcessor time in µs per unit: of the loads that of the database and of psql included, of the\n" +
		"cases that begin with postgres that of the server alone:\n\n" +
		"| case | holdfast | baseline | ratio |\n|---|--:|--:|--:|\n"
	for _, c := range r.Results {
		if c.CPU > 0 && c.BaselineCPU > 0 {
			fmt.Fprintf(b, "%s| %s | %.2f | %.2f | %.2f |\n", head, c.Name, c.CPU, c.BaselineCPU, c.BaselineCPU/c.CPU)
			head = ""
		}
	}
}
