package many

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/disk"
)

// alone has no sink for the stream, so nothing needs its rows, and no scrubber,
// which reads all by and by.
const alone = `
data: DATA
scrub: off
listen: {http: 127.0.0.1:0, pg: 127.0.0.1:0}
streams:
  main: {link: id}
  other: {tables: [other]}
sinks:
  files: {type: flat, url: "flatstore:DATA/flat", streams: [other]}
`

// built is the binary.
func built(t *testing.T) string {
	t.Helper()
	if program := os.Getenv("HOLDFAST_BIN"); program != "" {
		return program
	}
	program := filepath.Join(t.TempDir(), "holdfast")
	build := exec.Command("make", "-s", "build", "BIN="+program)
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the binary: %v\n%s", err, out)
	}
	return program
}

// spread writes the files of a directory in memory to a real one.
func spread(t *testing.T, d disk.FS, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	sub, err := d.Sub(from)
	if err != nil {
		t.Fatal(err)
	}
	all, err := sub.List("")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.Dir {
			continue
		}
		text, err := disk.ReadFile(sub, e.Name, 64<<20)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// serve starts the binary on a data directory, and returns its process.
func serve(t *testing.T, program, config string) int {
	t.Helper()
	cmd := exec.Command(program, "serve", "--config", config, "--log", "json")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, log, ended := make(chan struct{}), new(strings.Builder), make(chan struct{})
	go func() {
		defer close(ended)
		isReady := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(log, lines.Text())
			if !isReady && strings.Contains(lines.Text(), `"msg":"ready"`) {
				isReady = true
				close(ready)
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("the server ended: %v\n%s", err, log)
		}
	})
	select {
	case <-ready:
		t.Logf("ready after %v", time.Since(start))
	case <-ended:
		t.Fatal("the server ended before it was ready")
	case <-time.After(2 * time.Minute):
		t.Fatal("the server is not ready")
	}
	return cmd.Process.Pid
}

// usage is what the kernel says that a process has done.
type usage struct {
	calls, bytes int64 // of read and its kin, from files and sockets alike
	time         time.Duration
}

func usageOf(t *testing.T, pid int) (u usage) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "syscr":
			u.calls = n
		case "rchar":
			u.bytes = n
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, at := range []int{11, 12} { // user and system, in hundredths of a second
		n, _ := strconv.ParseInt(fields[at], 10, 64)
		u.time += time.Duration(n) * 10 * time.Millisecond
	}
	return u
}

// rest waits until a server has read what a start reads: it asks young segments
// for the keys of requests in them.
func rest(t *testing.T, pid int) {
	t.Helper()
	last, since := usageOf(t, pid).calls, time.Now()
	for end := time.Now().Add(2 * time.Minute); time.Since(since) < 2*time.Second; time.Sleep(100 * time.Millisecond) {
		if now := usageOf(t, pid).calls; now > last+5 { // a look around now and then
			last, since = now, time.Now()
		}
		if time.Now().After(end) {
			t.Fatal("the server reads on and on")
		}
	}
	t.Logf("at rest: %+v", usageOf(t, pid))
}

// TestRollManyWithTheBinary rolls 10,000 segments on a real disk through the
// verb, and holds that the server reads next to nothing for it: less than one
// call for ten segments, and less than 100 bytes for each. What the disk takes
// for as many files is measured besides.
func TestRollManyWithTheBinary(t *testing.T) {
	w, program := theWorld(t), built(t)
	base := t.TempDir()
	data := filepath.Join(base, "data")
	dir := filepath.Join(data, streamDir)
	spread(t, w.stopped, streamDir, dir)
	if err := os.Mkdir(filepath.Join(data, "flat"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(base, "holdfast.yaml")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(alone, "DATA", data)), 0o600); err != nil {
		t.Fatal(err)
	}
	pid := serve(t, program, config)
	count := func() int {
		found, err := filepath.Glob(filepath.Join(dir, "*.seg"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	if n := count(); n < segments+1 {
		t.Fatalf("there are %d segments", n)
	}
	verb := func(more ...string) string {
		t.Helper()
		args := append([]string{"roll", "size", "--config", config, "--type", "main", "--max-size", "5MB"}, more...)
		before, start := usageOf(t, pid), time.Now()
		out, err := exec.Command(program, args...).Output()
		took, after := time.Since(start), usageOf(t, pid)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		calls, bytes := after.calls-before.calls, after.bytes-before.bytes
		t.Logf("%v: %v, the verb included; the server took %v of processor time, read %d times, %d bytes", more, took, after.time-before.time, calls, bytes)
		if calls > segments/10 || bytes > 100*segments {
			t.Errorf("%v: the server read %d times, %d bytes", more, calls, bytes)
		}
		if used := after.time - before.time; used > 3*time.Second {
			t.Errorf("%v: the server took %v of processor time", more, used)
		}
		return string(out)
	}
	rest(t, pid)
	plan := verb()
	if n := strings.Count(plan, "step: remove main"); n < segments-300 || !strings.Contains(plan, "nothing was done") {
		t.Errorf("the plan has %d steps:\n%.500s", n, plan)
	}
	if done := verb("--apply"); !strings.Contains(done, "done: roll 1") {
		t.Errorf("rolled:\n%.500s", done[max(0, len(done)-500):])
	}
	if n := count(); n > 300 {
		t.Errorf("%d segments are left", n)
	}
	baseline(t, w.stopped, filepath.Join(base, "as many"))
}

// baseline removes as many files of the same size, and flushes the directory
// once: what no roll can be faster than.
func baseline(t *testing.T, d disk.FS, dir string) {
	spread(t, d, streamDir, dir)
	start := time.Now()
	for n := range segments {
		if err := os.Remove(filepath.Join(dir, fmt.Sprintf("%016d.seg", n+1))); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	t.Logf("as many files removed in %v", time.Since(start))
}
