package bench

import (
	"os"
	"path/filepath"
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

// fileSystem returns the type of the file system that dir is on.
func fileSystem(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return ""
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return mountedAt(string(mounts), dir)
}

// unescape undoes how mountinfo writes mount points.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// mountedAt returns the type of the mount that dir is below: the deepest one,
// and of those at the same place the last, which covers the others.
func mountedAt(mounts, dir string) (kind string) {
	deepest := -1
	for line := range strings.Lines(mounts) {
		head, tail, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(head), strings.Fields(tail)
		if !ok || len(fields) < 5 || len(rest) < 1 {
			continue
		}
		at := unescape.Replace(fields[4])
		below := dir == at || strings.HasPrefix(dir, strings.TrimSuffix(at, "/")+"/")
		if below && len(at) >= deepest {
			deepest, kind = len(at), rest[0]
		}
	}
	return kind
}
