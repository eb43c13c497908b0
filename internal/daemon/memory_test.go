package daemon

import (
	"math"
	"os"
	"runtime/debug"
	"testing"
)

// TestGoal holds that the collector's goal follows the connections up at once
// and down in steps, and leaves one alone that was set from outside.
func TestGoal(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	if err := os.Unsetenv("GOMEMLIMIT"); err != nil {
		t.Fatal(err)
	}
	var g goal
	for _, c := range []struct {
		connections int
		goal        int64
	}{
		{0, goalFor(0)}, {64, goalFor(0)}, {65, goalFor(128)}, {129, goalFor(192)}, {100, goalFor(192)},
		{5000, goalFor(5056)}, {4990, goalFor(5056)}, {3900, goalFor(5056)}, {2000, goalFor(2048)}, {0, goalFor(0)},
	} {
		g.fit(func() int { return c.connections })
		if is := debug.SetMemoryLimit(-1); is != c.goal {
			t.Errorf("with %d connections the goal is %d KiB, want %d", c.connections, is>>10, c.goal>>10)
		}
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	debug.SetMemoryLimit(math.MaxInt64)
	var set goal
	set.fit(func() int { return 1000 })
	if is := debug.SetMemoryLimit(-1); is != math.MaxInt64 {
		t.Errorf("a goal that was given is replaced by %d", is)
	}
}
