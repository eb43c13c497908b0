package daemon

import (
	"os"
	"runtime/debug"
)

// heapGoal is what the garbage collector tries to stay below, in bytes. With
// stacks, the binary and SQLite's pages this keeps a server under 64 MiB
// resident; it is a goal and not a wall, so a large message is still taken.
const heapGoal = 40 << 20

// boundMemory sets the goal, unless who starts the process has set one.
func boundMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heapGoal)
	}
}
