package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/test/tally"
)

// A point is one system call of the server on the files of its journal, the
// nth of its kind in one thread, and what strace does to it.
type point struct {
	call  string
	fault string
	when  string // "3", or "3+" for that one and all that follow
}

// String returns the point as strace is told it.
func (p point) String() string { return fmt.Sprintf("%s:%s:when=%s", p.call, p.fault, p.when) }

// faultsOf are the faults that each system call of the journal is given. A
// write that returns less than it should and stored nothing of it (retval=0)
// is one that the disk admits; a write that claims more than it did is a lie
// that no program can see, so it is not among them. EINTR must not be noticed.
var faultsOf = map[string][]string{
	"pwritev2":   {"error=EIO", "error=ENOSPC", "error=EROFS", "error=EINTR", "retval=0", "signal=KILL", "delay_exit=20000"},
	"pwrite64":   {"error=EIO", "error=ENOSPC", "error=EDQUOT", "error=EROFS", "retval=0", "signal=KILL"},
	"fdatasync":  {"error=EIO", "error=ENOSPC", "error=EDQUOT", "signal=KILL"},
	"fsync":      {"error=EIO", "error=ENOSPC", "error=EROFS", "signal=KILL"},
	"openat":     {"error=EIO", "error=EMFILE", "error=ENOSPC", "error=EROFS", "signal=KILL"},
	"renameat":   {"error=EIO", "error=ENOSPC", "error=EROFS", "signal=KILL"},
	"unlinkat":   {"error=EIO", "error=EROFS", "signal=KILL"},
	"ftruncate":  {"error=EIO", "error=ENOSPC", "signal=KILL"},
	"pread64":    {"error=EIO", "signal=KILL"},
	"close":      {"error=EIO", "error=ENOSPC", "signal=KILL"},
	"flock":      {"error=ENOLCK", "signal=KILL"},
	"mkdirat":    {"error=ENOSPC", "error=EROFS", "signal=KILL"},
	"statfs":     {"error=EIO", "signal=KILL"},
	"fstat":      {"error=EIO"},
	"getdents64": {"error=EIO", "signal=KILL"},
}

// journalPaths are what strace looks at: the journal's files, and not those of
// the sink, whose own rules SQLite keeps.
func journalPaths(data string) (args []string) {
	stream := filepath.Join(data, "streams", "main")
	paths := []string{
		data, filepath.Join(data, "LOCK"), filepath.Join(data, "catalog.json"), filepath.Join(data, "catalog.json.tmp"),
		filepath.Join(data, "streams"), stream, filepath.Join(stream, "MANIFEST"), filepath.Join(stream, "MANIFEST.tmp"),
	}
	for n := range 12 {
		paths = append(paths, filepath.Join(stream, fmt.Sprintf("%016d.seg", n+1)))
		for epoch := range 3 {
			for _, suffix := range []string{"fresh", "spare", "stage"} {
				paths = append(paths, filepath.Join(stream, fmt.Sprintf("%d-%d.%s", epoch+1, n+1, suffix)))
			}
		}
	}
	for _, p := range paths {
		args = append(args, "-P", p)
	}
	return args
}

// straced returns how a server on data is started under strace: as the child
// itself (-D), so that it is signalled and waited for like any other.
func straced(t *testing.T, data, trace string, more ...string) options {
	config := configure(t, data, rolling)
	under := append([]string{"strace", "-D", "-f", "-q", "--seccomp-bpf", "-o", trace}, journalPaths(data)...)
	return options{config: config, under: append(under, more...)}
}

// rolling is a configuration whose segments are of 1 MiB, so that a little
// load rolls them.
const rolling = `
data: DATA
tables: {auto: true}
streams:
  main: {hot: "DATA/streams/main=32 MB", min_free: 1 MB, wait: 100ms}
sinks:
  default: {type: sqlite, path: DATA/holdfast.db, streams: [main]}
drain: 4s
`

// needStrace skips the test where strace cannot be used.
func needStrace(t *testing.T) {
	t.Helper()
	need(t, "strace")
	if out, err := exec.Command("strace", "-f", "-q", "--seccomp-bpf", "-e", "trace=close", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("strace does not work: %v: %s", err, out)
		}
		t.Skipf("SKIPPED: strace does not work here: %v: %s", err, out)
	}
}

// TestStrace injects faults into the system calls of the server as it is
// shipped: in its start, while two clients write, while segments roll, and in
// its stop. Whatever happens, each client must be told the truth: a row that
// was acknowledged is there, one that was refused is not.
//
// HOLDFAST_STRACE=pwritev2:error=EIO:when=3 tries that point alone.
func TestStrace(t *testing.T) {
	needStrace(t)
	rng := seeded(t)
	if one := os.Getenv("HOLDFAST_STRACE"); one != "" {
		if !tryPoint(t, one) {
			t.Fatalf("%s was never reached", one)
		}
		return
	}
	want := tally.Want(t, "strace points")
	reach := census(t)
	var done, tried atomic.Int64
	for round := 0; int(done.Load()) < want && round < 100 && !t.Failed(); round++ {
		points := pointsOf(reach)
		rng.Shuffle(len(points), func(i, k int) { points[i], points[k] = points[k], points[i] })
		for len(points) > 0 && int(done.Load()) < want && !t.Failed() {
			n := min(len(points), want-int(done.Load()))
			t.Run("points", func(t *testing.T) { // returns when all of them have
				for _, p := range points[:n] {
					t.Run(p.String(), func(t *testing.T) {
						t.Parallel()
						tried.Add(1)
						if tryPoint(t, p.String()) {
							done.Add(1)
						}
					})
				}
			})
			points = points[n:]
		}
	}
	t.Logf("%d of %d points that were tried were reached", done.Load(), tried.Load())
	tally.Done(t, "strace points", int(done.Load()), "HOLDFAST_STRACE=<point> go test ./test/e2e -run 'TestStrace$'")
}

// pointsOf returns every fault at every call that a run without faults makes.
func pointsOf(reach map[string]int) (points []point) {
	for call, most := range reach {
		for _, fault := range faultsOf[call] {
			for n := range most {
				nth := strconv.Itoa(n + 1)
				points = append(points, point{call, fault, nth})
				if strings.HasPrefix(fault, "error=E") && fault != "error=EINTR" {
					points = append(points, point{call, fault, nth + "+"})
				}
			}
		}
	}
	return points
}

var traced = regexp.MustCompile(`(?m)^(\d+) +(\w+)\(`)

// census runs the load without a fault and returns how many calls of each kind
// the thread that makes most of them makes, since strace counts per thread.
func census(t *testing.T) map[string]int {
	t.Helper()
	data := dataDir(t)
	trace := filepath.Join(filepath.Dir(data), "trace")
	calls := make([]string, 0, len(faultsOf))
	for call := range faultsOf {
		calls = append(calls, call)
	}
	s := start(t, data, straced(t, data, trace, "-e", "trace="+strings.Join(calls, ",")))
	writers := load(s)
	s.stop()
	for _, w := range writers {
		if w.refused+w.doubtful > 0 {
			t.Fatalf("%s: without a fault %d statements were refused: %v", w.table, w.refused+w.doubtful, w.last)
		}
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	threads, most := map[string]int{}, map[string]int{}
	for _, m := range traced.FindAllSubmatch(text, -1) {
		thread, call := string(m[1]), string(m[2])
		threads[thread+call]++
		most[call] = max(most[call], threads[thread+call])
	}
	for call := range faultsOf {
		if most[call] == 0 {
			t.Logf("the server never calls %s on its journal", call)
		}
	}
	t.Logf("calls of one thread at most: %v", most)
	if most["pwritev2"] < 3 || most["renameat"] < 3 {
		t.Fatalf("the load writes or rolls too little to be worth a fault: %v", most)
	}
	return most
}

// tryPoint runs the load with one fault, starts the server again without it,
// and holds what is stored against what the clients were told. It reports
// whether the fault came.
func tryPoint(t *testing.T, p string) bool {
	dir, err := os.MkdirTemp("", "holdfast-strace-") // the test's own is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data := filepath.Join(dir, "data")
	trace := filepath.Join(filepath.Dir(data), "trace")
	begun := time.Now()
	call, _, _ := strings.Cut(p, ":")
	o := straced(t, data, trace, "-e", "trace="+call, "-e", "inject="+p)
	s := spawn(t, data, o)
	select {
	case <-s.ready:
	case <-s.exited: // a start may fail, but then it must say why
	case <-time.After(20 * time.Second):
		t.Fatalf("neither ready nor over 20 s after the start:\n%s", s.tail(40))
	}
	var writers []*teller
	if !s.over() {
		writers = load(s)
		s.end(20 * time.Second)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	fired := bytes.Contains(text, []byte("(INJECTED)")) || bytes.Contains(text, []byte("+++ killed by SIGKILL +++")) ||
		bytes.Contains(text, []byte("(DELAYED)"))
	code := s.cmd.ProcessState.ExitCode()
	if !fired && code != 0 {
		t.Errorf("without a fault the server ended with %d:\n%s", code, s.tail(20))
	}
	if code > 1 {
		t.Errorf("the server ended with %d:\n%s", code, s.tail(40))
	}
	under := time.Since(begun)

	again := start(t, data, options{config: o.config})
	again.stop()
	judgeTold(t, data, writers)
	if t.Failed() {
		t.Logf("HOLDFAST_STRACE=%s go test ./test/e2e -run 'TestStrace$' replays it; the server's log under it:\n%s", p, s.tail(60))
		t.Logf("the server's log after it:\n%s", again.tail(20))
	}
	t.Logf("%v under strace, %v after it", under.Round(time.Millisecond), (time.Since(begun) - under).Round(time.Millisecond))
	return fired
}
