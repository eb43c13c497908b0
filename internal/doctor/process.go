package doctor

import (
	"fmt"
	"math"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"holdfast/internal/config"
)

// Memory below which the server does not do well: it stays under 64 MiB itself,
// and what it writes passes through the page cache of its group.
const (
	lowMemory   = 128 * mib
	leastMemory = 64 * mib
)

// process looks at the limits of the server, or where none runs, of whoever asks.
func (x *exam) process() {
	if x.in.Config == nil {
		return
	}
	id, whose := "self", "this shell; a service has its own"
	if x.pid != 0 {
		id, whose = strconv.Itoa(x.pid), fmt.Sprintf("the server, process %d", x.pid)
	}
	x.limits(text(x.host.proc(id, "limits")), whose)
	x.memory(id, whose)
	x.swap(id)
}

// limit returns a soft limit; MaxInt64 where there is none, or none is told.
func limit(limits, name string) int64 {
	f := strings.Fields(field(limits, name))
	if len(f) == 0 {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil { // "unlimited"
		return math.MaxInt64
	}
	return n
}

func (x *exam) limits(limits, whose string) {
	if limits == "" {
		return
	}
	x.checked("limits")
	found := func(s Severity, saw, means, do string, commands ...string) {
		x.add(Finding{s, "limits", whose, saw, means, do, commands})
	}
	files := limit(limits, "Max open files")
	const raise = "LimitNOFILE=65536 in the service, or ulimit -n 65536 before holdfast serve"
	switch {
	case files < int64(x.in.LeastFiles):
		found(Critical, fmt.Sprintf("%d open files", files), fmt.Sprintf("the server needs at least %d, and does not start", x.in.LeastFiles), raise, "systemctl edit holdfast", "ulimit -n 65536")
	case files < int64(x.in.AllFiles):
		found(Warning, fmt.Sprintf("%d open files", files), fmt.Sprintf("max_connections needs %d: some clients are refused", x.in.AllFiles), raise, "systemctl edit holdfast", "ulimit -n 65536")
	}
	if size := limit(limits, "Max file size"); size < math.MaxInt64 {
		s, means := Note, "a sink's file that grows beyond is cut short"
		if size < 2*largestSeg {
			s, means = Critical, "segments do not fit: writers are refused"
		}
		if x.hasFiles() || s > Note {
			found(max(s, Warning), config.Size(size).Short()+" per file", means, "LimitFSIZE=infinity in the service, or ulimit -f unlimited", "ulimit -f unlimited")
		}
	}
	if core := limit(limits, "Max core file size"); core > 0 && x.pid != 0 {
		found(Note, "core dumps are on", "a core holds rows and passwords of sinks", "LimitCORE=0 in the service, where that matters")
	}
}

// hasFiles tells whether a sink grows a file of this machine.
func (x *exam) hasFiles() bool {
	for _, s := range x.in.Config.Sinks {
		if sinkDir(s) != "" {
			return true
		}
	}
	return false
}

// memory finds the smallest bound of the process's group and those above it.
func (x *exam) memory(id, whose string) {
	groups := text(x.host.proc(id, "cgroup"))
	if groups == "" {
		return
	}
	x.checked("memory")
	least, where := int64(math.MaxInt64), ""
	look := func(root, group, file string) {
		for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
			n, err := strconv.ParseInt(strings.TrimSpace(text(filepath.Join(x.host.sys(), "fs", "cgroup", root, dir, file))), 10, 64)
			if err == nil && n < least {
				least, where = n, dir
			}
			if dir == "/" {
				return
			}
		}
	}
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) < 3:
		case parts[1] == "":
			look("", parts[2], "memory.max")
			look("unified", parts[2], "memory.max")
		case strings.Contains(","+parts[1]+",", ",memory,"):
			look("memory", parts[2], "memory.limit_in_bytes")
		}
	}
	f := Finding{Warning, "memory", whose, "at most " + config.Size(least).Short() + " (control group " + where + ")", "it stays under 64 MiB with one sink; several sinks and large messages take more, and then the kernel ends it",
		"allow 256 MiB: MemoryMax= of the service, or the memory of the container", []string{"systemctl set-property holdfast MemoryMax=256M"}}
	switch {
	case least < leastMemory:
		f.Severity = Critical
		x.add(f)
	case least < lowMemory:
		x.add(f)
	}
}

// swap sees whether the server was pushed out of memory.
func (x *exam) swap(id string) {
	if x.pid == 0 {
		return
	}
	x.checked("swap")
	kb, _, _ := strings.Cut(field(text(x.host.proc(id, "status")), "VmSwap:"), " ")
	if n, err := strconv.ParseInt(kb, 10, 64); err == nil && n > 4096 {
		x.add(Finding{Warning, "swap", "the server", config.Size(n<<10).Short() + " swapped out", "writers wait while it is read back, and passwords of sinks are in the swap", "give the machine more memory, or MemorySwapMax=0 to the service",
			[]string{"systemctl set-property holdfast MemorySwapMax=0"}})
	}
}
