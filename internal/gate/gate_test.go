package gate

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/fault"
)

func address(text string) netip.Addr { return netip.MustParseAddr(text) }

// crowd enters n connections of an address and returns those that got in, and
// counts in cut those that were ended.
func crowd(g *Gate, from string, n int, cut *int) (all []*Guest) {
	for range n {
		if k := g.Enter(address(from), func() { *cut++ }); k != nil {
			all = append(all, k)
		}
	}
	return all
}

// TestWaiting holds who gets a place, and who gives way.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Limits{Waiting: 10, WaitingPerAddress: 6, Patience: time.Second})
		cut := map[string]*int{"bad": new(int), "good": new(int)}
		state := func(what, wanted string) {
			t.Helper()
			open, waiting := g.Count()
			if got := fmt.Sprintf("%d open, %d waiting, %d bad and %d good cut", open, waiting, *cut["bad"], *cut["good"]); got != wanted {
				t.Errorf("%s: %s, want %s", what, got, wanted)
			}
		}
		bad := crowd(g, "192.0.2.1", 100, cut["bad"])
		if len(bad) != 6 {
			t.Errorf("%d of one address wait", len(bad))
		}
		state("of one address", "0 open, 6 waiting, 0 bad and 0 good cut")
		good := crowd(g, "192.0.2.2", 4, cut["good"])
		if len(good) != 4 || len(crowd(g, "192.0.2.3", 1, cut["good"])) != 0 {
			t.Error("with all places taken by those that just came, one more gets in")
		}
		state("full", "0 open, 10 waiting, 0 bad and 0 good cut")
		time.Sleep(time.Second)
		if len(crowd(g, "192.0.2.3", 1, cut["good"])) != 1 || len(crowd(g, "192.0.2.1", 3, cut["bad"])) != 3 {
			t.Error("nobody gives way")
		}
		state("late ones give way", "0 open, 10 waiting, 4 bad and 0 good cut")
		if err := bad[0].Admit("x"); fault.Code(err) != fault.TooManyConnections || !strings.Contains(fault.Of(err).Hint, "too long") {
			t.Errorf("one that was cut off is let in: %v", err)
		}
		for _, k := range good {
			if err := k.Admit(""); err != nil {
				t.Error(err)
			}
		}
		state("let in", "4 open, 6 waiting, 4 bad and 0 good cut")
		for _, k := range append(bad, good...) {
			k.Leave()
			k.Leave()
		}
		state("gone", "0 open, 4 waiting, 4 bad and 0 good cut")
	})
}

// TestOpen holds the bounds on who was let in, and that those can change.
func TestOpen(t *testing.T) {
	g := New(Limits{Open: 4, PerAddress: 3, PerUser: 2})
	enter := func(from, user string) (*Guest, error) {
		k := g.Enter(address(from), func() { t.Error("cut") })
		return k, k.Admit(user)
	}
	for i, c := range []struct{ from, user, says string }{
		{"2001:db8::1", "a", ""}, {"2001:db8::2", "a", ""}, {"192.0.2.1", "a", "of this user: 2 are open"},
		{"2001:db8::ffff", "b", ""}, {"2001:db8::ffff", "b", "from this address: 3 are open"},
		{"2001:db8:0:1::", "b", ""}, {"192.0.2.2", "c", "too many connections: 4 are open"},
	} {
		k, err := enter(c.from, c.user)
		if (err == nil) != (c.says == "") || err != nil && (fault.Code(err) != fault.TooManyConnections || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%d: %v, want %q", i, err, c.says)
		}
		if err != nil {
			k.Leave()
		} else if again := k.Admit("other"); again != nil {
			t.Errorf("%d: let in twice: %v", i, again)
		}
	}
	g.SetLimits(Limits{Open: 5})
	if _, err := enter("2001:db8::1", "a"); err != nil {
		t.Errorf("after the limits were raised: %v", err)
	}
}

// TestMany holds that the counts come back to nothing, whoever comes and goes.
func TestMany(t *testing.T) {
	g := New(Limits{Open: 5, Waiting: 7, WaitingPerAddress: 3, Patience: time.Nanosecond})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 500 {
				k := g.Enter(netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 3)}), func() {})
				if k == nil {
					continue
				}
				if n%2 == 0 {
					_ = k.Admit("u") // which may be refused
				}
				if open, waiting := g.Count(); open > 5 || waiting > 7 {
					t.Errorf("%d open, %d waiting", open, waiting)
				}
				k.Leave()
			}
		})
	}
	wg.Wait()
	if open, waiting := g.Count(); open+waiting+len(g.openFrom)+len(g.openAs)+len(g.waitingFrom) != 0 {
		t.Errorf("nobody is there, and %+v", g)
	}
}
