package e2e

import (
	"testing"
	"time"
)

// declareWriters makes the tables that are not left to be declared by their
// first row.
func declareWriters(t *testing.T, s *server) {
	t.Helper()
	c := s.client()
	for _, table := range []string{"extended", "tx_one", "tx_two"} {
		execute(t, c, "CREATE TABLE "+table+" (client int, n bigint, body text)")
	}
}

// TestKilledFiftyTimes kills the server at random moments, start-up included,
// while eight clients write, and then holds the sink against what each client
// was told.
func TestKilledFiftyTimes(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a minute")
	}
	rng := seeded(t)
	data := dataDir(t)
	goal := &target{ended: make(chan struct{})}
	s := start(t, data, options{})
	declareWriters(t, s)
	goal.address.Store(&s.pg)
	writers := newWriters(rng, goal)
	wait := writeAll(t.Context(), writers)

	var slowest time.Duration
	starting := 0
	for range 50 {
		if rng.IntN(4) == 0 { // in the middle of starting
			s.kill()
			s = spawn(t, data, options{})
			time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond)
			starting++
		} else {
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
		}
		s.kill()
		begun := time.Now()
		s = start(t, data, options{})
		slowest = max(slowest, time.Since(begun))
		goal.address.Store(&s.pg)
	}
	time.Sleep(200 * time.Millisecond)
	close(goal.ended)
	wait()
	t.Logf("50 kills, %d of them followed by one while starting; slowest start %v", starting, slowest.Round(time.Millisecond))

	s.delivered(2 * time.Minute)
	st, err := s.status()
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range st.Streams {
		if len(stream.Damage) > 0 {
			t.Errorf("stream %q: a kill was taken for damage: %v", stream.Name, stream.Damage)
		}
	}
	s.stop()
	verify(t, openSink(t, data), writers)
}
