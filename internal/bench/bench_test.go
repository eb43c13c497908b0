package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// serverVar makes this program the server of a case; its arguments follow it.
const serverVar = "HOLDFAST_BENCH_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverVar) != "" {
		segment, err := strconv.ParseInt(os.Args[2], 10, 64)
		if err == nil {
			err = Serve(context.Background(), os.Args[1], segment, os.Stdin, os.Stdout)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// database/sql ends its opener a moment after Close returned.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// empty fails where something was left below dir.
func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		t.Errorf("%q was left behind", e.Name())
	}
}

// open returns a directory that other users can enter, as database servers must.
func open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for up := dir; strings.HasPrefix(up, os.TempDir()+"/"); up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// possible reports whether a case can be measured here; where CI=true, all
// have to be.
func possible(t *testing.T, c comparison) bool {
	t.Helper()
	if c.needs == nil {
		return true
	}
	err := c.needs()
	if err != nil && os.Getenv("CI") == "true" {
		t.Errorf("%s: %v (CI=true, so nothing is skipped; scripts/install-deps installs it)", c.name, err)
	} else if err != nil {
		t.Logf("NOT TESTED: %s: %v (scripts/install-deps installs it)", c.name, err)
	}
	return err == nil
}

// these returns the cases with such names that can be measured here.
func these(t *testing.T, only *regexp.Regexp) (all []comparison) {
	t.Helper()
	for _, c := range comparisons() {
		if only.MatchString(c.name) && possible(t, c) {
			all = append(all, c)
		}
	}
	return all
}

// TestEveryCase runs each case small: every figure is there, the ratio is that
// of the rates, and nothing is left behind.
func TestEveryCase(t *testing.T) {
	dir := open(t)
	var started, done []string
	report, err := Run(t.Context(), Options{
		Dir: dir, Rows: 200, Rounds: 1, Segment: 1 << 20,
		Started: func(name string) { started = append(started, name) },
		Done:    func(r Result) error { done = append(done, r.Name); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	empty(t, dir)
	var names []string
	for _, c := range these(t, regexp.MustCompile("")) {
		names = append(names, c.name)
	}
	if !slices.Equal(started, names) || !slices.Equal(done, names) || len(report.Results) != len(names) {
		t.Errorf("started %q and done %q, want each of %q once", started, done, names)
	}
	for _, r := range report.Results {
		for what, v := range map[string]float64{"rate": r.Rate, "baseline": r.Baseline, "p50": r.P50, "p99": r.P99, "baseline p50": r.BaselineP50} {
			if !(v > 0) || math.IsInf(v, 0) {
				t.Errorf("%s: %s is %v", r.Name, what, v)
			}
		}
		if told := r.CPU > 0 && r.BaselineCPU > 0; told != (strings.HasPrefix(r.Name, "load/") && runtime.GOOS == "linux") {
			t.Errorf("%s: processor time %v and %v", r.Name, r.CPU, r.BaselineCPU)
		}
		if math.Abs(r.Ratio-r.Rate/r.Baseline) > 1e-9*r.Ratio {
			t.Errorf("%s: ratio %v of %v and %v", r.Name, r.Ratio, r.Rate, r.Baseline)
		}
		if r.P99 < r.P50 || r.Rows != 200 || r.Against == "" || len(r.Name) > nameWidth {
			t.Errorf("%s: %+v", r.Name, r)
		}
	}
	if m := report.Machine; m.CPUs < 1 || m.FileSystem == "" || !strings.HasPrefix(m.Go, "go") {
		t.Errorf("machine %+v", m)
	}
}

// TestOdd holds that rows which fill no batch, and fewer rows than waiters,
// are all written all the same: the servers' own counts are compared on the way.
func TestOdd(t *testing.T) {
	for _, rows := range []int{1, 7, 1001} {
		only := regexp.MustCompile(`^(append/(64|batch1000/2)|wire/copy|wire/simple/16|http/.*|load/sqlite)$`)
		if rows == 7 {
			only = regexp.MustCompile(`^load/`)
		}
		report, err := Run(t.Context(), Options{Dir: open(t), Only: only, Rows: rows, Rounds: 1, Segment: 1 << 20})
		if err != nil {
			t.Fatalf("%d rows: %v", rows, err)
		}
		if want := len(these(t, only)); len(report.Results) != want {
			t.Errorf("%d rows: %d results", rows, len(report.Results))
		}
	}
}

// TestTime holds that the time given is about the time taken.
func TestTime(t *testing.T) {
	start := time.Now()
	report, err := Run(t.Context(), Options{Dir: t.TempDir(), Only: regexp.MustCompile("^append/16$"), Time: 200 * time.Millisecond, Segment: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if n := report.Results[0].Rows; n%256 != 0 || n == 0 {
		t.Errorf("%d rows, want a multiple of the step", n)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestCleansUpAfterErrors(t *testing.T) {
	ended := errors.New("seen enough")
	for name, o := range map[string]Options{
		"no case":      {Only: regexp.MustCompile("nonsense")},
		"end by Done":  {Done: func(Result) error { return ended }},
		"end by ctx":   {},
		"no directory": {Dir: filepath.Join(t.TempDir(), "missing")},
	} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o.Rows, o.Segment = 100, 1<<20
		if o.Dir == "" {
			o.Dir = dir
		}
		want := map[string]error{"no case": ErrNoCase, "end by Done": ended, "end by ctx": context.Canceled, "no directory": os.ErrNotExist}[name]
		if name == "end by ctx" {
			o.Started = func(string) { cancel() }
		}
		if _, err := Run(ctx, o); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
		empty(t, dir)
	}
}

// TestPostgres compares with a PostgreSQL where there is one.
func TestPostgres(t *testing.T) {
	if !possible(t, postgresComparisons()[0]) {
		t.SkipNow()
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(serverVar, "1")
	dir := open(t)
	// Processor time is told in hundredths of a second for each process.
	o := Options{Dir: dir, Only: regexp.MustCompile("^postgres/copy$|^postgres(-off)?/prepared/16$"), Rows: 20_000, Rounds: 1, Postgres: true, Segment: 1 << 20, Self: []string{self}}
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Results) != 3 {
		t.Fatalf("results %+v", report.Results)
	}
	for _, r := range report.Results {
		if r.Baseline <= 0 || runtime.GOOS == "linux" && r.Name != "postgres/copy" && (r.CPU <= 0 || r.BaselineCPU <= 0) {
			t.Errorf("%+v", r)
		}
	}
	empty(t, dir)
	o.Self = nil
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "Self") {
		t.Errorf("without a command that serves: got %v", err)
	}
	empty(t, dir)
}

// TestRefused holds that a server's refusal ends a run with the server's own
// words, instead of counting as an insert.
func TestRefused(t *testing.T) {
	p := &pair{}
	defer p.close()
	addr, err := serveWire(p, wireNothing{})
	if err != nil {
		t.Fatal(err)
	}
	bad := func() (workload, error) {
		b, err := simple()
		return workload{insert: bytes.Replace(b.insert, []byte("INSERT"), []byte("UPSERT"), 1), answer: b.answer}, err
	}
	s, err := insertSide(p, addr, 2, bad)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s(10, new(histogram)); err == nil || !strings.Contains(err.Error(), "UPSERT") {
		t.Errorf("got %v, want what the server says of UPSERT", err)
	}
}

// TestDialRefused holds that a server which refuses the session is no server:
// PostgreSQL does so while it starts.
func TestDialRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	refuse := []byte("E\x00\x00\x00\x0eC57P03\x00\x00\x00\x00")
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Write(refuse)
			c.Close()
		}
	}()
	if c, err := dial(ln.Addr().String()); err == nil || !strings.Contains(err.Error(), "57P03") {
		t.Errorf("dial: %v, %v", c, err)
	}
}

// TestHistogram compares quantiles with those of the numbers themselves.
func TestHistogram(t *testing.T) {
	var h, other histogram
	if got := h.microseconds(.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for i := range 100_000 {
		to := &h
		if i%2 == 1 {
			to = &other
		}
		to.add(time.Duration(i+1) * time.Microsecond)
	}
	h.merge(&other)
	for _, q := range []float64{.01, .5, .99, .9999} {
		if got, want := h.microseconds(q), q*100_000; math.Abs(got-want) > want/60 {
			t.Errorf("quantile %v is %v, want about %v", q, got, want)
		}
	}
	for _, d := range []time.Duration{-1, 0, 1, 127, 128, 129, 255, 256, time.Hour, math.MaxInt64} {
		i := bucket(uint64(max(0, d)))
		if i > maxBucket || math.Abs(middle(i)-float64(max(0, d))) > float64(max(0, d))/100+.5 {
			t.Errorf("%d ns goes to bucket %d around %v", d, i, middle(i))
		}
	}
}

func TestWaiters(t *testing.T) {
	for _, test := range []struct{ count, n int }{{1, 5}, {3, 10}, {16, 3}, {4, 8}} {
		shares := make([]int, test.count)
		var took histogram
		if err := waiters(test.count, test.n, &took, func(i, share int, took *histogram) error {
			shares[i] = share
			return alone(share, took, func() error { return nil })
		}); err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, s := range shares {
			sum += s
		}
		if sum != test.n || took.n != uint64(test.n) || slices.Max(shares)-slices.Min(shares) > 1 {
			t.Errorf("%+v: shares %v, %d operations", test, shares, took.n)
		}
	}
	want := errors.New("one went wrong")
	if err := waiters(4, 8, new(histogram), func(i, _ int, _ *histogram) error {
		if i == 2 {
			return want
		}
		return nil
	}); err != want {
		t.Errorf("got %v", err)
	}
}
