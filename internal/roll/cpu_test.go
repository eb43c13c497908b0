package roll

import (
	"syscall"
	"testing"
	"time"
)

// processorTime returns what this process has used so far: others use this
// machine too, and what they take of it is not in there.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
