package bench

import (
	"os"
	"strings"
)

// cpuAndKernel returns the processor's name and the kernel's release, as far
// as /proc tells.
func cpuAndKernel() (cpu, kernel string) {
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = "Linux " + strings.TrimSpace(string(text))
	}
	return cpu, kernel
}
