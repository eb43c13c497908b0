package main

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestEachHoldsWhatItAcked lets every contender append for a moment, alone,
// among many and in batches, and reads back what it holds.
func TestEachHoldsWhatItAcked(t *testing.T) {
	for _, c := range contenders() {
		t.Run(c.id(), func(t *testing.T) {
			for _, w := range []work{works[0], works[2], works[5]} {
				s, err := c.open(t.TempDir(), w)
				if err != nil {
					t.Fatal(err)
				}
				_, n, err := drive(s, w, 5*time.Millisecond)
				if err != nil {
					t.Fatal(err)
				}
				if n < w.writers*w.batch {
					t.Errorf("%s: %d records were acked, fewer than one operation of each writer", w.name, n)
				}
				if err := check(s, n); err != nil {
					t.Errorf("%s: %v", w.name, err)
				}
			}
		})
	}
}

// TestCheckFindsALoss holds that a peer that lost a record is an error.
func TestCheckFindsALoss(t *testing.T) {
	lossy := asTheyCome("lossy", "", func(string, work) (peer, error) { return &lossyPeer{}, nil })
	b := &bench{dir: t.TempDir(), all: []contender{lossy}, works: works, rounds: 1, time: time.Millisecond, random: rand.New(rand.NewPCG(1, 1)), say: t.Logf}
	for _, o := range b.run() {
		if o.err == nil || !strings.Contains(o.err.Error(), "holds ") {
			t.Errorf("%s: a record was lost, and the error is %v", o.work.name, o.err)
		}
	}
}

// lossyPeer forgets its first record.
type lossyPeer struct {
	mu sync.Mutex
	n  int
}

func (l *lossyPeer) put(record []byte) error { return l.putAll([][]byte{record}) }

func (l *lossyPeer) putAll(records [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n += len(records)
	return nil
}

func (l *lossyPeer) held() (int, error) { return l.n - 1, nil }

// TestFront holds that each record is flushed once, before its writer goes on,
// that never two flushes run at a time, and that an error reaches all of a group.
func TestFront(t *testing.T) {
	var mu sync.Mutex
	var flushing atomic.Bool
	flushed := map[string]int{}
	bad := errors.New("bad")
	f := newFront(func(records [][]byte) error {
		if flushing.Swap(true) {
			t.Error("two flushes run at a time")
		}
		defer flushing.Store(false)
		mu.Lock()
		defer mu.Unlock()
		for _, r := range records {
			if string(r) == "bad" {
				return bad
			}
		}
		for _, r := range records {
			flushed[string(r)]++
		}
		return nil
	})
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for k := range 100 {
				r := []byte{byte(i), byte(k)}
				if err := f.add([][]byte{r}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				if flushed[string(r)] != 1 {
					t.Errorf("record %v was flushed %d times when its writer went on", r, flushed[string(r)])
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if err := f.add([][]byte{[]byte("bad")}); !errors.Is(err, bad) {
		t.Errorf("the error of a flush is %v, want %v", err, bad)
	}
}

// TestHistogram holds that quantiles are right to 3 percent.
func TestHistogram(t *testing.T) {
	var h histogram
	for i := 1; i <= 100_000; i++ {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for _, q := range []float64{.01, .5, .99} {
		got, want := h.quantile(q).Seconds(), q/10
		if got < want*.97 || got > want*1.03 {
			t.Errorf("quantile %g is %g s, want %g s", q, got, want)
		}
	}
}

// TestVerdict holds that Holdfast is ahead only where both of its lines are.
func TestVerdict(t *testing.T) {
	of := func(name string, product bool, rate float64) *outcome {
		return &outcome{contender: contender{name: name, durable: true, product: product}, work: works[0], turns: []turn{{rate, new(histogram)}}}
	}
	r := report{Lines: linesOf([]*outcome{
		of(nameBare, false, 200), of(nameJournal, true, 100), of(nameLibrary, true, 50), of("slow", false, 40), of("middling", false, 60),
	})}
	for i, want := range []string{"slow", "middling"} {
		l := r.Lines[3+i]
		if l.Name != want || l.Ahead == nil || *l.Ahead != (want == "slow") {
			t.Errorf("line %+v: ahead is wrong", l)
		}
	}
	var text strings.Builder
	r.markdown(&text)
	if !strings.Contains(text.String(), "ahead of 1 of 2") {
		t.Errorf("the report does not say that Holdfast is ahead of 1 of 2:\n%s", text.String())
	}
}

// TestCountFlushes holds that calls are counted once each, between the marks.
func TestCountFlushes(t *testing.T) {
	trace := `1 fsync(3</d/f>) = 0
1 unlinkat(AT_FDCWD, "` + countFrom + `", 0) = -1 ENOENT
2 fdatasync(3</d/f> <unfinished ...>
1 pwritev2(4</d/g>, [{}], 1, 0, RWF_DSYNC) = 1
2 <... fdatasync resumed>) = 0
1 pwritev2(4</d/g>, [{}], 1, 0, 0) = 1
1 pwrite64(5</d/ring>, "", 1, 0) = 1
1 pwrite64(6</d/other>, "", 1, 0) = 1
1 fsync(3</d/f>) = 0
1 unlinkat(AT_FDCWD, "` + countTo + `", 0) = -1 ENOENT
1 fsync(3</d/f>) = 0
`
	got, err := countFlushes(strings.NewReader(trace))
	if err != nil || got != (flushes{fsync: 1, fdatasync: 1, dsync: 2}) {
		t.Errorf("counted %+v, %v", got, err)
	}
	if _, err := countFlushes(strings.NewReader(trace[:80])); err == nil {
		t.Error("a trace without its end is taken for a whole one")
	}
}
