package e2e

import (
	"testing"
	"time"

	"holdfast/test/tally"
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

// TestKilled kills the server at random moments, start-up included, while
// eight clients write, and then holds the sink against what each client was
// told. HOLDFAST_AMOUNT says how often.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
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
	kills, starting := 0, 0
	for want := tally.Want(t, "kill -9"); kills < want; kills++ {
		if kills+1 < want && rng.IntN(4) == 0 { // in the middle of starting
			s.kill()
			s = spawn(t, data, options{})
			time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond)
			starting++
			kills++
		} else {
			time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
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
	t.Logf("%d kills, %d of them while starting; slowest start %v", kills, starting, slowest.Round(time.Millisecond))
	if slowest > 2*time.Second {
		t.Errorf("a start after a kill took %v", slowest)
	}

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
	tally.Done(t, "kill -9", kills, "HOLDFAST_SEED as printed, go test ./test/e2e -run 'TestKilled$'")
}
