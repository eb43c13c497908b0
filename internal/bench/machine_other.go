//go:build !linux

package bench

// cpuAndKernel knows nothing here.
func cpuAndKernel() (cpu, kernel string) { return "", "" }
