package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	outageRate    = 20_000 // rows/s
	outageClients = 4
	outageRows    = 100 // of one statement
)

// flood writes rows at a rate from several clients until ctx ends, and returns
// how many were acknowledged. Any error fails the test: writers must not
// notice what happens behind.
func flood(ctx context.Context, s *server, written *atomic.Int64) {
	var group sync.WaitGroup
	for id := range outageClients {
		group.Go(func() {
			c, err := connect(context.Background(), s.pg)
			if err != nil {
				s.t.Errorf("client %d: %v", id, err)
				return
			}
			defer c.Close(context.Background())
			every := time.Second * outageClients * outageRows / outageRate
			for n, begun := 0, time.Now(); ctx.Err() == nil; n++ {
				rows := make([]string, outageRows)
				for i := range rows {
					rows[i] = fmt.Sprintf("(%d,%d,'%s')", id, n*outageRows+i, strings.Repeat("b", 150))
				}
				if _, err := c.Exec(context.Background(), "INSERT INTO flood (client, n, body) VALUES "+strings.Join(rows, ",")).ReadAll(); err != nil {
					s.t.Errorf("client %d: %v", id, err)
					return
				}
				written.Add(outageRows)
				time.Sleep(time.Until(begun.Add(time.Duration(n+1) * every)))
			}
		})
	}
	group.Wait()
}

// TestLongOutage has a database away for a minute, ten in the night, while
// 20,000 rows come in each second. Writers notice nothing, memory does not
// grow, another sink stays current, and everything arrives afterwards.
func TestLongOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes more than a minute")
	}
	away := time.Minute
	if long() {
		away *= 10
	}
	d := startDatabases(t)
	data := dataDir(t)
	s := start(t, data, options{config: configure(t, data, d.config())})
	execute(t, s.client(), "CREATE TABLE flood (client int, n bigint, body text)")
	var written atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); flood(ctx, s, &written) }()
	time.Sleep(2 * time.Second)

	d.pgProxy.setAway(true)
	worst := uint64(0)
	for until := time.Now().Add(away); time.Now().Before(until); time.Sleep(500 * time.Millisecond) {
		st, err := s.status()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range st.Sinks {
			if k.Name == "lite" {
				worst = max(worst, k.LagRows)
			}
		}
	}
	st, err := s.status()
	if err != nil {
		t.Fatal(err)
	}
	behind := uint64(0)
	for _, k := range st.Sinks {
		if k.Name == "pg" {
			behind = k.LagRows
		}
	}
	d.pgProxy.setAway(false)
	cancel()
	<-ended
	if want := uint64(away.Seconds()) * outageRate / 2; behind < want {
		t.Errorf("only %d rows waited for the database at the end, want %d or more: nothing was tested", behind, want)
	}
	if worst > 5*outageRate {
		t.Errorf("the healthy sink was %d rows behind at times", worst)
	}
	begun := time.Now()
	s.delivered(5 * time.Minute)
	t.Logf("%d rows written; %d waited for the database, delivered %v after it was back; the healthy sink was %d rows behind at most; %d KiB resident at most",
		written.Load(), behind, time.Since(begun).Round(100*time.Millisecond), worst, s.memory("VmHWM")>>10)
	if peak := s.memory("VmHWM"); peak > 64<<20 {
		t.Errorf("%d KiB were resident, want less than 64 MiB", peak>>10)
	}
	s.stop()
	for _, k := range d.destinations(t, data) {
		if got := k.rows(t, "flood", "count(*), count(DISTINCT client*1000000000.0+n)"); k.name != "flat" && (got[0][0] != fmt.Sprint(written.Load()) || got[0][1] != got[0][0]) {
			t.Errorf("%s has %s rows, %s different ones, want %d", k.name, got[0][0], got[0][1], written.Load())
		} else if k.name == "flat" && len(got) != int(written.Load()) {
			t.Errorf("flat has %d rows, want %d", len(got), written.Load())
		}
	}
}
