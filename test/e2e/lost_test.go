package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLostHoldsAndSinks removes HOLDS and SINKS of a stopped server: verify and
// status name them, before a start and beside it, until an operator has settled
// both as they say.
func TestLostHoldsAndSinks(t *testing.T) {
	data := dataDir(t)
	s := start(t, data, options{})
	execute(t, s.client(), "INSERT INTO calls (caller) VALUES ('one')")
	s.delivered(time.Minute)
	holdfast(t, 0, "hold", "add", "case-7", "--stream", "main", "--data", data)
	holdfast(t, 0, "sink", "pause", "default", "--data", data)
	s.stop()
	for _, name := range []string{"HOLDS", "SINKS"} {
		if err := os.Remove(filepath.Join(data, name)); err != nil {
			t.Fatal(err)
		}
	}
	named := func() {
		t.Helper()
		for _, r := range []result{holdfast(t, 3, "verify", "--data", data), holdfast(t, 0, "status", "--data", data)} {
			for _, want := range []string{"HOLDS is missing", "hold remove missing-holds-file", "SINKS ", "remove SINKS.damaged"} {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("%q is not said: %s%s", want, r.stdout, r.stderr)
				}
			}
		}
	}
	named()
	s = start(t, data, options{})
	named()
	if r := holdfast(t, 0, "sink", "list", "--data", data); !strings.Contains(r.stdout, "paused") {
		t.Errorf("the sink is not paused: %s", r.stdout)
	}
	holdfast(t, 0, "hold", "remove", "missing-holds-file", "--data", data)
	holdfast(t, 0, "sink", "resume", "default", "--data", data)
	if err := os.Remove(filepath.Join(data, "SINKS.damaged")); err != nil {
		t.Fatal(err)
	}
	holdfast(t, 0, "verify", "--data", data)
	execute(t, s.client(), "INSERT INTO calls (caller) VALUES ('two')")
	s.delivered(time.Minute)
	s.stop()
}
