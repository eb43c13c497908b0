package daemon

import (
	"os"
	"runtime/debug"
	"sync"
)

const (
	// heapGoal is what the garbage collector tries to stay below, in bytes. With
	// stacks, the binary (27 MiB of it) and SQLite's pages this keeps a server under
	// 64 MiB resident; it is a goal and not a wall, so a large message is still taken.
	heapGoal = 32 << 20
	// fewConnections fit into heapGoal. Each beyond it is given twice of what it
	// costs; else the collector would run all the time for a crowd that does
	// nothing, and take the processor from those who work.
	fewConnections = 64
	perConnection  = 64 << 10
)

// goalFor returns the goal for a number of connections.
func goalFor(connections int) int64 {
	return heapGoal + perConnection*int64(max(0, connections-fewConnections))
}

// goal keeps the collector's goal in step with the connections. The zero value
// works.
type goal struct {
	mu   sync.Mutex
	left bool  // whoever started the process has set one
	now  int64 // 0: none yet
}

// fit sets the goal for what count returns. It goes up at once, and down when a
// quarter less would do, because setting it stops everything for a moment.
func (g *goal) fit(count func() int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == 0 {
		g.left = os.Getenv("GOMEMLIMIT") != ""
	}
	want := goalFor((count() + fewConnections - 1) / fewConnections * fewConnections)
	if g.left || want <= g.now && want > g.now-g.now/4 {
		return
	}
	g.now = want
	debug.SetMemoryLimit(want)
}
