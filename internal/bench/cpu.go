package bench

import (
	"syscall"
	"time"
)

// ownCPU returns the processor time that this process has used so far, and what
// it has started and waited for.
func ownCPU() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}

// cpuWith returns what tells the processor time of this process and of a server
// with all of its processes; nil where that cannot be told.
func cpuWith(pid int) func() time.Duration {
	if familyCPU(pid) == 0 {
		return nil
	}
	return func() time.Duration { return ownCPU() + familyCPU(pid) }
}
