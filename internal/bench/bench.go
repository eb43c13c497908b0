// Package bench measures Holdfast against baselines: programs that do the same
// work on the same machine at the same minute, without what Holdfast adds.
//
// Absolute figures drift with the machine, its disk and its neighbours; a
// ratio of two runs that lie side by side says what the product itself costs.
// So each case runs product and baseline in turn (A B A B ...), on the same
// rows, with the same waiters, and reports the median of the rounds. What a
// baseline pays for, and what it does not, stands at its code.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// Options say what is measured. The zero value measures, below the current
// directory, every case but those against PostgreSQL.
type Options struct {
	// Dir is the directory in which everything is written, in a directory of
	// its own that is removed at the end; if empty, the current one. Its disk
	// is what is measured.
	Dir string
	// Only selects cases by name; nil: all.
	Only *regexp.Regexp
	// Rows is how many rows each run of a case writes; 0: as many as fit into Time.
	Rows int
	// Rounds is how often product and baseline take turns; 0: 3.
	Rounds int
	// Time is about how long one case takes, all rounds and the runs that warm
	// up included; 0: 4 s. It does not count where Rows is set.
	Time time.Duration
	// Segment is the size of segments in bytes; 0: 64 MiB, the product's largest.
	// Each append case first writes a few of them, until old ones are used again.
	Segment int64
	// Stored is how many bytes of rows look-ups are made in; 0: eight segments.
	Stored int64
	// Postgres adds the cases that compare with PostgreSQL, where its programs
	// are found.
	Postgres bool
	// Self is the command that calls Serve with the two arguments behind it: the
	// cases against PostgreSQL start it. They need it.
	Self []string

	// Started, where set, is told each case's name as it begins, and Done its
	// result. Both are called by the goroutine that called Run.
	Started func(name string)
	Done    func(Result) error
}

func (o Options) withDefaults() Options {
	if o.Dir == "" {
		o.Dir = "."
	}
	if o.Rounds <= 0 {
		o.Rounds = 3
	}
	if o.Time <= 0 {
		o.Time = 4 * time.Second
	}
	if o.Segment <= 0 {
		o.Segment = 64 << 20
	}
	if o.Started == nil {
		o.Started = func(string) {}
	}
	if o.Done == nil {
		o.Done = func(Result) error { return nil }
	}
	return o
}

// Result is what one case came to: medians over the rounds. Latencies are
// those of the product, over all rounds, of one operation: what a waiter waits
// for (a row, a batch, a COPY).
type Result struct {
	Name     string  `json:"name"`
	Rate     float64 `json:"rate"`
	Unit     string  `json:"unit"` // of both rates
	Baseline float64 `json:"baseline"`
	Ratio    float64 `json:"ratio"` // median of each round's own ratio, so that drift cancels out
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`

	BaselineP50 float64 `json:"baseline_p50_us"`
	BaselineP99 float64 `json:"baseline_p99_us"`
	CPU         float64 `json:"cpu_us,omitempty"`          // processor time per unit, with that of a database; 0: not told
	BaselineCPU float64 `json:"baseline_cpu_us,omitempty"` // the same of the baseline, with that of its program
	Goal        float64 `json:"goal,omitempty"`            // the ratio that the design asks for; 0: none
	Against     string  `json:"against"`                   // what the baseline is
	Rows        int     `json:"rows"`                      // of each run
}

// A comparison is one case: the same work for two sides.
type comparison struct {
	name    string
	unit    string
	against string
	goal    float64
	needs   func() error // says what is missing on this machine; nil: nothing can be
	step    int          // rows come in multiples of it where the time says how many
	open    func(ctx context.Context, at place) (*pair, error)
}

// place is where a case writes.
type place struct {
	dir     string   // its own, empty
	segment int64    // size of segments, bytes
	rows    int      // of each run; 0: as many as the time allows
	stored  int64    // bytes of rows that look-ups are made in; 0: eight segments
	self    []string // the command that calls Serve
}

// pair is the two sides of a case, and how both end.
type pair struct {
	product  side
	baseline side
	prepare  func(n int) error    // brings about what a run of the product over n rows needs, outside its time; nil: nothing
	between  func(n int) error    // looks at what the product made of n rows, and prepares the baseline's run; nil: nothing
	cpu      func() time.Duration // processor time of all that works for both sides; nil: not told
	against  string               // what the baseline turned out to be; "": as the case says
	closers  []func() error
}

// A side does n rows, notes how long each operation took, and returns how many
// units that were.
type side func(n int, took *histogram) (units float64, err error)

// onClose adds something to be ended, in reverse order.
func (p *pair) onClose(f func() error) { p.closers = append(p.closers, f) }

// ready gets the product ready for a run over n rows.
func (p *pair) ready(n int) error {
	if p.prepare == nil {
		return nil
	}
	return p.prepare(n)
}

// turns lets product and baseline run over n rows, one after the other.
func (p *pair) turns(ctx context.Context, n int, took, baseTook *histogram) (product, baseline lap, err error) {
	if err := p.ready(n); err != nil {
		return lap{}, lap{}, err
	}
	product, err = p.turn(ctx, p.product, n, took)
	if err == nil && p.between != nil {
		err = p.between(n)
	}
	if err != nil {
		return lap{}, lap{}, err
	}
	if baseline, err = p.turn(ctx, p.baseline, n, baseTook); err != nil {
		return lap{}, lap{}, fmt.Errorf("baseline: %w", err)
	}
	return product, baseline, nil
}

// lap is what one run of one side came to.
type lap struct {
	rate  float64 // units per second
	cpu   float64 // microseconds per unit; 0: not told
	spent time.Duration
}

// turn is one run of one side.
func (p *pair) turn(ctx context.Context, s side, n int, took *histogram) (l lap, err error) {
	if err := ctx.Err(); err != nil {
		return l, err
	}
	var used time.Duration
	if p.cpu != nil {
		used = p.cpu()
	}
	start := time.Now()
	units, err := s(n, took)
	l.spent = max(time.Since(start), time.Microsecond)
	l.rate = units / l.spent.Seconds()
	if p.cpu != nil {
		l.cpu = float64((p.cpu() - used).Nanoseconds()) / 1000 / units
	}
	return l, err
}

func (p *pair) close() error {
	var err error
	for _, f := range slices.Backward(p.closers) {
		err = errors.Join(err, f())
	}
	p.closers = nil
	return err
}

// ErrNoCase says that no case has a name that Options.Only selects.
var ErrNoCase = errors.New("no case is selected")

// Run measures the selected cases one after the other. What it writes is
// removed before it returns, also when ctx ends it early.
func Run(ctx context.Context, o Options) (report Report, err error) {
	o = o.withDefaults()
	selected, notes, err := selection(o)
	if err != nil {
		return Report{}, err
	}
	dir, err := os.MkdirTemp(o.Dir, "holdfast-bench-")
	if err != nil {
		return Report{}, fmt.Errorf("make directory for the bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	report = Report{Date: time.Now(), Machine: machineFacts(dir), Notes: notes}
	if report.Machine.InMemory() {
		report.Notes = append(report.Notes, "the file system is in memory: flushes cost nothing here, so durable cases say nothing about a disk")
	}
	for i, c := range selected {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		o.Started(c.name)
		r, err := measure(ctx, c, filepath.Join(dir, fmt.Sprint(i)), o)
		if ctx.Err() != nil {
			return report, ctx.Err() // whatever else it made go wrong
		}
		if err != nil {
			return report, fmt.Errorf("measure %q: %w", c.name, err)
		}
		report.Results = append(report.Results, r)
		if err := o.Done(r); err != nil {
			return report, err
		}
	}
	return report, nil
}

// Names returns the names of all cases, those with PostgreSQL included.
func Names() []string {
	var names []string
	for _, c := range append(comparisons(), postgresComparisons()...) {
		names = append(names, c.name)
	}
	return names
}

// selection returns the cases to be measured, and what to say of those that
// cannot be. Where no name is selected at all, it returns ErrNoCase.
func selection(o Options) (selected []comparison, notes []string, err error) {
	all := comparisons()
	if o.Postgres {
		all = append(all, postgresComparisons()...)
	}
	err = ErrNoCase
	for _, c := range all {
		if o.Only != nil && !o.Only.MatchString(c.name) {
			continue
		}
		err = nil
		if c.needs != nil {
			if missing := c.needs(); missing != nil {
				notes = append(notes, fmt.Sprintf("%s is left out: %v", c.name, missing))
				continue
			}
		}
		selected = append(selected, c)
	}
	return selected, notes, err
}

// measure runs one case in dir, which it makes and removes.
func measure(ctx context.Context, c comparison, dir string, o Options) (r Result, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := c.open(ctx, place{dir: dir, segment: o.Segment, rows: o.Rows, stored: o.Stored, self: o.Self})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	n := o.Rows
	if n <= 0 {
		if n, err = calibrate(ctx, c, p, o); err != nil {
			return r, err
		}
	}
	var rates, bases, ratios, cpus, baseCPUs []float64
	var took, baseTook histogram
	for range o.Rounds {
		a, b, err := p.turns(ctx, n, &took, &baseTook)
		if err != nil {
			return r, err
		}
		rates, bases, ratios = append(rates, a.rate), append(bases, b.rate), append(ratios, a.rate/b.rate)
		cpus, baseCPUs = append(cpus, a.cpu), append(baseCPUs, b.cpu)
	}
	return Result{
		Name: c.name, Unit: c.unit, Against: cmp.Or(p.against, c.against), Goal: c.goal, Rows: n,
		Rate: median(rates), Baseline: median(bases), Ratio: median(ratios), CPU: median(cpus), BaselineCPU: median(baseCPUs),
		P50: took.microseconds(.50), P99: took.microseconds(.99),
		BaselineP50: baseTook.microseconds(.50), BaselineP99: baseTook.microseconds(.99),
	}, nil
}

// maxRows bounds a run, so that a fast case does not fill a disk.
const maxRows = 4_000_000

// calibrate finds how many rows make all rounds take o.Time. Both sides run
// until they took long enough to tell, which warms them up as well.
func calibrate(ctx context.Context, c comparison, p *pair, o Options) (int, error) {
	for n := c.step; ; n *= 3 {
		var unused histogram
		a, b, err := p.turns(ctx, n, &unused, &unused)
		if err != nil {
			return 0, err
		}
		if spent := a.spent + b.spent; spent >= o.Time/10 || n >= maxRows {
			// One round's worth of time goes into finding this out.
			rounds := o.Time.Seconds() / float64(o.Rounds+1)
			steps := int(float64(n)*rounds/spent.Seconds()) / c.step
			return min(max(1, steps)*c.step, maxRows), nil
		}
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	if n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[n/2]
}
