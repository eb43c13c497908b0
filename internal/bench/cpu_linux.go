package bench

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc: a hundredth of a second on every machine
// that Go runs on.
const tick = 10 * time.Millisecond

// familyCPU returns the processor time that a process and its children have
// used so far, those included that have ended.
func familyCPU(pid int) time.Duration {
	sum, _ := spent(strconv.Itoa(pid))
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		if one, parent := spent(filepath.Base(dir)); parent == pid {
			sum += one
		}
	}
	return sum
}

// spent returns the processor time of a process and of the children that it
// has waited for, and its parent; nothing where it is gone.
func spent(pid string) (sum time.Duration, parent int) {
	text, _ := os.ReadFile("/proc/" + pid + "/stat")
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // behind the name, which may hold anything
	if len(fields) < 15 {
		return 0, 0
	}
	parent, _ = strconv.Atoi(fields[1])
	for _, f := range fields[11:15] { // in its own code, in the kernel, and both of its children
		n, _ := strconv.Atoi(f)
		sum += time.Duration(n) * tick
	}
	return sum, parent
}
