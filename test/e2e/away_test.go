package e2e

import (
	"testing"
	"time"
)

// holdExclusive takes an EXCLUSIVE lock on the sink's database and returns
// what releases it.
func holdExclusive(t *testing.T, data string) (release func()) {
	t.Helper()
	db := openSink(t, data)
	if _, err := db.ExecContext(t.Context(), "BEGIN EXCLUSIVE"); err != nil {
		t.Fatalf("lock the sink's database: %v", err)
	}
	return func() {
		t.Helper()
		if _, err := db.Exec("ROLLBACK"); err != nil {
			t.Fatalf("release the sink's database: %v", err)
		}
		db.Close()
	}
}

// TestSinkLocked holds the sink's database locked while clients write: they
// must notice nothing, memory must stay flat, and afterwards every row must
// be there once. A minute with HOLDFAST_LONG, else fifteen seconds.
func TestSinkLocked(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes half a minute")
	}
	away := 15 * time.Second
	if long() {
		away = time.Minute
	}
	rng := seeded(t)
	data := dataDir(t)
	s := start(t, data, options{})
	declareWriters(t, s)
	// Paced, so that memory is judged at the same rate before and during.
	goal := &target{ended: make(chan struct{}), pause: 2 * time.Millisecond}
	goal.address.Store(&s.pg)
	writers := newWriters(rng, goal)
	wait := writeAll(t.Context(), writers)
	time.Sleep(3 * time.Second)

	release := holdExclusive(t, data)
	before := s.memory("VmRSS")
	peak := before
	for begun := time.Now(); time.Since(begun) < away; time.Sleep(250 * time.Millisecond) {
		peak = max(peak, s.memory("VmRSS"))
	}
	st, err := s.status()
	if err != nil {
		t.Fatal(err)
	}
	backlog := st.lag()
	release()
	close(goal.ended)
	wait()

	t.Logf("locked for %v: backlog %d rows, resident %d KiB before and at most %d KiB during", away, backlog, before>>10, peak>>10)
	if backlog == 0 {
		t.Error("there is no backlog, so the lock was not felt and nothing was tested")
	}
	if peak > before+(16<<20) || peak > 64<<20 {
		t.Errorf("memory grew from %d to %d KiB with the backlog", before>>10, peak>>10)
	}
	for _, w := range writers {
		if w.slowest > 2*time.Second {
			t.Errorf("writer %d waited %v for an answer: it noticed the sink", w.id, w.slowest)
		}
		for _, st := range w.statements {
			if !st.acked && !st.undone {
				t.Errorf("writer %d: rows %d to %d were refused: it noticed the sink", w.id, st.first, st.last)
			}
		}
	}
	s.delivered(2 * time.Minute)
	s.stop()
	verify(t, openSink(t, data), writers)
}
