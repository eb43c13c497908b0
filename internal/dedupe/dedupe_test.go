package dedupe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/fault"
	"holdfast/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); c.at = c.at.Add(d); c.mu.Unlock() }

// later is an outcome that a test decides.
type later struct {
	done chan struct{}
	err  error
}

func (l *later) Done() <-chan struct{}   { return l.done }
func (l *later) Result() (uint64, error) { return 7, l.err }

func guarded(keys int) (*Guard, *Table, *clock) {
	c := &clock{at: time.Unix(1_700_000_000, 0)}
	g := New([]Rule{{Table: "t", Columns: []string{"id"}, Window: time.Hour, Keys: keys}}, Requests{Window: time.Hour, Keys: keys}, c.now)
	g.Recovered("")
	return g, g.Table("t"), c
}

// claimOf claims the key of a row, and returns whether it is a repeat.
func claimOf(t *testing.T, g *Guard, id string) (*Claim, bool) {
	t.Helper()
	table := g.Table("t")
	k, _ := table.Key([]row.Value{row.Text(id)}, []int{0}, nil)
	c := new(Claim)
	if err := c.Add(table, k, 0); err != nil {
		t.Fatal(err)
	}
	drop, _, err := g.Take(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return c, len(drop) > 0
}

func TestWindowEnds(t *testing.T) {
	g, _, clock := guarded(1000)
	c, _ := claimOf(t, g, "a")
	g.Sent(c, Settled{Seq: 1}, true)
	for _, step := range []struct {
		pass time.Duration
		want bool
	}{{time.Second, true}, {59 * time.Minute, true}, {58 * time.Second, true}, {time.Second, false}} {
		clock.pass(step.pass)
		again, repeat := claimOf(t, g, "a")
		if repeat != step.want {
			t.Errorf("at %v a row is a repeat: %v, want %v", clock.now(), repeat, step.want)
		}
		g.Release(again)
	}
	if s := g.States()[0]; s.Known != 0 || s.Early != 0 || s.Repeats != 3 {
		t.Errorf("after the window %+v", s)
	}
}

// TestWaitsForTheFirst holds that a repeat is decided by what becomes of the
// first, and not before.
func TestWaitsForTheFirst(t *testing.T) {
	for _, c := range []struct {
		name   string
		end    func(g *Guard, first *Claim)
		repeat bool
	}{
		{"stored", func(g *Guard, first *Claim) { g.Sent(first, Settled{Seq: 1}, true) }, true},
		{"refused", func(g *Guard, first *Claim) { g.Sent(first, Settled{Err: errors.New("full")}, true) }, false},
		{"unknown", func(g *Guard, first *Claim) {
			g.Sent(first, Settled{Err: fault.New(fault.OutcomeUnknown, "who knows")}, true)
		}, false},
		{"rolled back", func(g *Guard, first *Claim) { g.Release(first) }, false},
		{"stored later", func(g *Guard, first *Claim) {
			l := &later{done: make(chan struct{})}
			g.Sent(first, l, false)
			close(l.done)
		}, true},
		{"failed later", func(g *Guard, first *Claim) {
			l := &later{done: make(chan struct{}), err: errors.New("broken")}
			g.Sent(first, l, true)
			close(l.done)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, _, _ := guarded(1000)
			first, _ := claimOf(t, g, "a")
			decided := make(chan bool)
			go func() {
				_, repeat := claimOf(t, g, "a")
				decided <- repeat
			}()
			select {
			case <-decided:
				t.Fatal("decided before the first was")
			case <-time.After(50 * time.Millisecond):
			}
			c.end(g, first)
			if repeat := <-decided; repeat != c.repeat {
				t.Errorf("the second is a repeat: %v, want %v", repeat, c.repeat)
			}
		})
	}
}

// TestBeforeTheFlush holds that a repeat of a row that was acked before its
// flush is told which seq to wait for.
func TestBeforeTheFlush(t *testing.T) {
	g, table, _ := guarded(1000)
	first, _ := claimOf(t, g, "a")
	g.Sent(first, Settled{Seq: 42}, false)
	k, _ := table.Key([]row.Value{row.Text("a")}, []int{0}, nil)
	c := new(Claim)
	c.Add(table, k, 5)
	drop, after, err := g.Take(t.Context(), c)
	if err != nil || fmt.Sprint(drop) != "[5]" || after != 42 {
		t.Errorf("got %v behind %d, %v, want row 5 behind 42", drop, after, err)
	}
}

func TestRequests(t *testing.T) {
	g, _, clock := guarded(3)
	begin := func(name string) (*Claim, *Answer, error) {
		c, before, _, err := g.Begin(t.Context(), RequestKey("u", "t", name))
		return c, before, err
	}
	for i, name := range []string{"a", "b", "c"} {
		c, before, err := begin(name)
		if err != nil || before != nil {
			t.Fatalf("request %s: %v, %v", name, before, err)
		}
		c.Answered(Answer{Rows: i + 1})
		g.Sent(c, Settled{Seq: 1}, true)
	}
	if _, before, err := begin("b"); err != nil || before == nil || before.Rows != 2 {
		t.Errorf("b again: %v, %v", before, err)
	}
	if _, _, err := begin("d"); fault.Code(err) != fault.ConfigurationLimit {
		t.Errorf("one too many: %v, want 53400", err)
	}
	clock.pass(time.Hour)
	c, before, err := begin("b")
	if err != nil || before != nil || g.RequestsKnown() != 0 {
		t.Fatalf("after the window: %v, %v", before, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := g.Begin(gone, RequestKey("u", "t", "b")); fault.Code(err) != fault.QueryCanceled {
		t.Errorf("a second one whose sender is gone: %v", err)
	}
	g.Release(c)
	if c, before, err = begin("b"); err != nil || before != nil {
		t.Errorf("after the first was given up: %v, %v", before, err)
	}
	g.Release(c)
	if RequestKey("u", "t", "n") == RequestKey("ut", "", "n") || RequestKey("u", "t", "n") == RequestKey("", "t", "n") {
		t.Error("keys of different users are the same")
	}
}

// TestNotRecovered holds that nobody is judged before what was stored is known.
func TestNotRecovered(t *testing.T) {
	g := New([]Rule{{Table: "t", Columns: []string{"id"}, Window: time.Hour, Keys: 9}}, Requests{}, time.Now)
	table := g.Table("t")
	k, _ := table.Key([]row.Value{row.Text("a")}, []int{0}, nil)
	decided := make(chan bool)
	go func() {
		_, repeat := claimOf(t, g, "a")
		decided <- repeat
	}()
	g.Remember(table, k, time.Now().UnixMicro())
	g.Recovered("")
	if !<-decided {
		t.Error("a row that was read back makes no repeat")
	}
}
