package catalog

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/disk"
)

// fakeSink answers questions about its tables, and counts them.
type fakeSink struct {
	mu     sync.Mutex
	tables []Table
	err    error
	slow   time.Duration
	asked  int
	at     time.Time // of the last question
	open   int
	most   int // questions at the same time
}

func (f *fakeSink) describe(ctx context.Context) ([]Table, error) {
	f.mu.Lock()
	f.asked++
	f.at = time.Now()
	f.open++
	f.most = max(f.most, f.open)
	slow := f.slow
	f.mu.Unlock()
	timer := time.NewTimer(slow)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return f.tables, f.err
}

func (f *fakeSink) become(err error, slow time.Duration, tables ...Table) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.slow, f.tables = err, slow, tables
}

func (f *fakeSink) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// follow runs f in time that stands still, with a sink that is an authority.
func follow(t *testing.T, f func(t *testing.T, c *Catalog, a *Authority, k *fakeSink)) {
	synctest.Test(t, func(t *testing.T) {
		c, err := Open(disk.NewMem(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		k := &fakeSink{tables: []Table{theirs("t", "a integer")}}
		a := c.Follow(AuthorityOptions{Sink: "s", Describe: k.describe})
		defer a.Close()
		f(t, c, a, k)
		if k.most > 1 {
			t.Errorf("%d questions at the same time", k.most)
		}
	})
}

func typeOfA(c *Catalog) string {
	got, err := c.Columns("t")
	if err != nil {
		return ""
	}
	return got[0].Type
}

// TestAskedRegularly holds that the sink is asked at the start, every five
// minutes, and soon after a notification.
func TestAskedRegularly(t *testing.T) {
	follow(t, func(t *testing.T, c *Catalog, a *Authority, k *fakeSink) {
		synctest.Wait()
		if typeOfA(c) != "integer" {
			t.Fatal("it was not asked at the start")
		}
		k.become(nil, 0, theirs("t", "a bigint"))
		time.Sleep(askEvery + time.Second)
		if typeOfA(c) != "bigint" || k.count() != 2 {
			t.Fatalf("after five minutes the type is %q, asked %d times", typeOfA(c), k.count())
		}
		k.become(nil, 0, theirs("t", "a text"))
		for range 5 {
			a.Notify()
		}
		time.Sleep(3 * pause)
		if typeOfA(c) != "text" || k.count() > 5 {
			t.Fatalf("after a notification the type is %q, asked %d times", typeOfA(c), k.count())
		}
	})
}

// TestAsk holds that those who ask get an answer of now, share it, and ask at
// most once a second.
func TestAsk(t *testing.T) {
	follow(t, func(t *testing.T, c *Catalog, a *Authority, k *fakeSink) {
		synctest.Wait()
		time.Sleep(pause)
		k.become(nil, time.Second, theirs("t", "a bigint"))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if a.Ask(); typeOfA(c) != "bigint" {
					t.Errorf("an asker goes on with %q", typeOfA(c))
				}
			})
		}
		wg.Wait()
		before := time.Now()
		for range 1000 {
			a.Ask() // too early
		}
		if k.count() != 2 || time.Since(before) != 0 {
			t.Errorf("asked %d times in %v", k.count(), time.Since(before))
		}
		k.become(nil, 0)
		time.Sleep(pause)
		if a.Ask(); typeOfA(c) != "" {
			t.Error("a table that vanished is known")
		}
	})
}

// TestUnreachable holds that a sink which does not answer costs a writer two
// seconds at most, is left in peace more and more, and is asked by itself when
// it is back; until then what is known holds.
func TestUnreachable(t *testing.T) {
	follow(t, func(t *testing.T, c *Catalog, a *Authority, k *fakeSink) {
		synctest.Wait()
		k.become(errors.New("connection refused"), time.Hour)
		time.Sleep(pause)
		began := time.Now()
		for range 1000 {
			a.Ask()
		}
		if took := time.Since(began); took != askTime || k.count() != 2 {
			t.Errorf("a thousand askers waited for %v, and asked %d times", took, k.count())
		}
		for range 60 {
			time.Sleep(time.Second)
			a.Ask()
		}
		if n := k.count(); n > 12 {
			t.Errorf("asked %d times in two minutes at the most", n)
		}
		if typeOfA(c) != "integer" {
			t.Errorf("the type is %q", typeOfA(c))
		}
		k.become(nil, 0, theirs("t", "a bigint"))
		time.Sleep(askEvery)
		synctest.Wait()
		if typeOfA(c) != "bigint" {
			t.Errorf("it is back, and the type is %q", typeOfA(c))
		}
	})
}

// TestClose holds that Close does not wait for a sink that does not answer,
// and that nothing is asked afterwards.
func TestClose(t *testing.T) {
	follow(t, func(t *testing.T, _ *Catalog, a *Authority, k *fakeSink) {
		synctest.Wait()
		time.Sleep(pause)
		k.become(nil, time.Hour)
		began := time.Now()
		go a.Ask()
		synctest.Wait()
		a.Close()
		a.Close()
		a.Ask()
		a.Notify()
		if took := time.Since(began); took != 0 || k.count() != 2 {
			t.Errorf("Close took %v, asked %d times", took, k.count())
		}
	})
}
