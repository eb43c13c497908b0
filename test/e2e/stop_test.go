package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// keepDelivered removes segments as soon as every sink has them.
const keepDelivered = `
data: DATA
tables: {auto: true}
streams:
  main: {keep: delivered}
sinks:
  default: {type: sqlite, path: DATA/holdfast.db, streams: [main]}
drain: 1s
`

// TestCleanStopLeavesNothing stops a server that keeps only what is not
// delivered: no segment is left, and the seqs go on where they were.
func TestCleanStopLeavesNothing(t *testing.T) {
	data := dataDir(t)
	o := options{config: configure(t, data, keepDelivered)}
	s := start(t, data, o)
	c := s.client()
	for i := range 100 {
		execute(t, c, fmt.Sprintf("INSERT INTO calls (n) VALUES (%d)", i))
	}
	s.stop() // without waiting: the drain delivers the rest
	if left := segments(t, data, "main"); len(left) > 0 {
		t.Errorf("the stop left %q", left)
	}
	if n := count(t, openSink(t, data), "calls"); n != 100 {
		t.Errorf("%d rows were delivered of 100", n)
	}

	s = start(t, data, o)
	execute(t, s.client(), "INSERT INTO calls (n) VALUES (100)")
	s.delivered(20 * time.Second)
	st, err := s.status()
	if err != nil {
		t.Fatal(err)
	}
	if end := st.end("main"); end != 101 {
		t.Errorf("the row after the stop has seq %d, want 101: a seq is never used twice", end)
	}
	s.stop()
	if n := count(t, openSink(t, data), "calls"); n != 101 {
		t.Errorf("%d rows are in the sink, want 101", n)
	}
}

// TestStopFlushes stops a server at once behind rows that were acknowledged
// before their flush: the drain delivers them, too.
func TestStopFlushes(t *testing.T) {
	data := dataDir(t)
	s := start(t, data, options{config: configure(t, data, keepDelivered)})
	c := s.client()
	execute(t, c, "INSERT INTO calls (n) VALUES (0)")
	s.delivered(20 * time.Second)
	execute(t, c, "SET synchronous_commit = off")
	for i := range 9 {
		execute(t, c, fmt.Sprintf("INSERT INTO calls (n) VALUES (%d)", i+1))
	}
	if err := c.Close(t.Context()); err != nil { // else the stop waits for it, and time makes the flush
		t.Error(err)
	}
	s.stop()
	if n := count(t, openSink(t, data), "calls"); n != 10 {
		t.Errorf("%d rows were delivered of 10", n)
	}
}

// TestStopWithSinkAway stops while the sink is locked: everything stays, the
// log says how much, and the next start delivers it once.
func TestStopWithSinkAway(t *testing.T) {
	data := dataDir(t)
	o := options{config: configure(t, data, keepDelivered)}
	s := start(t, data, o)
	c := s.client()
	execute(t, c, "INSERT INTO calls (n) VALUES (0)")
	s.delivered(20 * time.Second)
	release := holdExclusive(t, data)
	for i := 1; i <= 77; i++ {
		execute(t, c, fmt.Sprintf("INSERT INTO calls (n) VALUES (%d)", i))
	}
	begun := time.Now()
	s.stop()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("the stop took %v, drain is 1 s", took)
	}
	s.logged(time.Second, "77")
	if len(segments(t, data, "main")) == 0 {
		t.Error("rows that no sink has are gone with their segments")
	}
	release()

	s = start(t, data, o)
	s.delivered(20 * time.Second)
	s.stop()
	db := openSink(t, data)
	for i, r := range query(t, db, "SELECT n FROM calls ORDER BY rowid") {
		if r[0] != fmt.Sprint(i) {
			t.Fatalf("row %d of the sink is %q", i, r[0])
		}
	}
	if n := count(t, db, "calls"); n != 78 {
		t.Errorf("%d rows are in the sink, want 78", n)
	}
}

// TestSecondStop asks for a stop twice: the second one cuts the drain short, and
// what is left is told and kept all the same.
func TestSecondStop(t *testing.T) {
	data := dataDir(t)
	s := start(t, data, options{config: configure(t, data, strings.Replace(keepDelivered, "drain: 1s", "drain: 10m", 1))})
	c := s.client()
	execute(t, c, "INSERT INTO calls (n) VALUES (0)")
	s.delivered(20 * time.Second)
	release := holdExclusive(t, data)
	execute(t, c, "INSERT INTO calls (n) VALUES (1)")
	c.Close(t.Context())
	s.signal(syscall.SIGTERM)
	s.logged(20*time.Second, "stopping")
	s.stop()
	s.logged(time.Second, "stopped with rows left")
	release()
}

// TestDrain stops a server right after a burst; what the sink can take within
// the drain is in it when the process is gone.
func TestDrain(t *testing.T) {
	s := start(t, dataDir(t), options{})
	c := s.client()
	const rows = 20_000
	sql := "INSERT INTO calls (n) VALUES (0)"
	for i := 1; i < 1000; i++ {
		sql += fmt.Sprintf(",(%d)", i)
	}
	for range rows / 1000 {
		execute(t, c, sql)
	}
	s.stop()
	if n := count(t, openSink(t, s.data), "calls"); n != rows {
		t.Errorf("%d rows are in the sink after the stop, want %d", n, rows)
	}
}

// TestStopUnderLoad freezes the server under load (a second one must not take
// the data meanwhile), lets it go on, and stops it under load. Two seconds
// frozen, a minute with HOLDFAST_LONG.
func TestStopUnderLoad(t *testing.T) {
	frozen := 2 * time.Second
	if long() {
		frozen = time.Minute
	}
	rng := seeded(t)
	s := start(t, dataDir(t), options{})
	declareWriters(t, s)
	goal := &target{ended: make(chan struct{})}
	goal.address.Store(&s.pg)
	writers := newWriters(rng, goal)
	wait := writeAll(t.Context(), writers)
	progress := func() uint64 {
		st, err := s.status()
		if err != nil {
			t.Fatal(err)
		}
		return st.end("main")
	}
	eventually(t, 10*time.Second, "load", func() (bool, string) { return progress() > 500, "too few rows" })

	s.signal(syscall.SIGSTOP)
	begun := time.Now()
	second := spawn(t, s.data, options{})
	select {
	case <-second.exited:
	case <-time.After(20 * time.Second):
		t.Error("a second server takes the data of a frozen one")
	}
	time.Sleep(time.Until(begun.Add(frozen)))
	s.signal(syscall.SIGCONT)
	before := progress()
	eventually(t, 10*time.Second, "the server to go on", func() (bool, string) { return progress() > before+500, "too few rows" })

	begun = time.Now()
	s.stop()
	if took := time.Since(begun); took > 12*time.Second {
		t.Errorf("the stop under load took %v, drain is 10 s", took)
	}
	s = start(t, s.data, options{}) // the writers find nobody any more
	close(goal.ended)
	wait()
	s.delivered(time.Minute)
	s.stop()
	verify(t, openSink(t, s.data), writers)
}

// TestModes holds that nobody else on the machine can read what is stored.
func TestModes(t *testing.T) {
	s := start(t, dataDir(t), options{})
	execute(t, s.client(), "INSERT INTO calls (n) VALUES (1)")
	s.delivered(20 * time.Second)
	checkModes(t, s.data)
}
