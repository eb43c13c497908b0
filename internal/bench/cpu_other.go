//go:build !linux

package bench

import "time"

// familyCPU returns 0: only Linux tells.
func familyCPU(int) time.Duration { return 0 }
