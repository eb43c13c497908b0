package bench

import (
	"runtime"
	"runtime/debug"

	"holdfast/internal/volume"
)

// Machine is what figures depend on.
type Machine struct {
	CPUs       int    `json:"cpus"`
	CPU        string `json:"cpu,omitempty"`
	Kernel     string `json:"kernel,omitempty"`
	FileSystem string `json:"file_system"` // of the directory that was written to; "unknown" where it cannot be told
	Go         string `json:"go"`
	Platform   string `json:"platform"`
}

// InMemory tells whether the file system has no disk below it.
func (m Machine) InMemory() bool { return m.FileSystem == "tmpfs" || m.FileSystem == "ramfs" }

func machineFacts(dir string) Machine {
	m := Machine{CPUs: runtime.GOMAXPROCS(0), FileSystem: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	m.CPU, m.Kernel = cpuAndKernel()
	if on, ok := volume.Of(dir); ok {
		m.FileSystem = on.Kind
	}
	return m
}

// Commit returns the revision that this program was built from, with a plus
// where the checkout had changes of its own; "unknown" where the build does
// not say.
func Commit() string {
	commit, changed := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = s.Value[:min(12, len(s.Value))]
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = "+"
			}
		}
	}
	return commit + changed
}
