package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// program is what is under test, an absolute path.
var program string

// root is the root of the repository, from this package's directory.
const root = "../.."

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// run builds the binary, runs the tests and removes it again.
func run(m *testing.M) int {
	if program = os.Getenv("HOLDFAST_BIN"); program != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "holdfast-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "holdfast")
	build := exec.Command("make", "-s", "build", "BIN="+program) // as it is shipped
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binary: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// long reports whether the tests have all the time that they want.
func long() bool { return os.Getenv("HOLDFAST_LONG") != "" }

// seeded returns a source of randomness whose seed is printed, and can be
// given back through HOLDFAST_SEED.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HOLDFAST_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("read HOLDFAST_SEED %q: %v", s, err)
		}
		seed = n
	}
	t.Logf("HOLDFAST_SEED=%d replays this run", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// need skips the test where a program is missing, and fails it in CI.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	missing(t, program)
}

// missing skips the test because something is missing, and fails it in CI.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: scripts/install-deps installs it", what)
	}
	t.Skipf("SKIPPED: %s is missing: scripts/install-deps installs it", what)
}

// result is what a command left behind.
type result struct {
	code   int
	stdout string
	stderr string
}

// command runs a program in dir to its end, for at most two minutes.
func command(t *testing.T, dir string, stdin io.Reader, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, stdin, &stdout, &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PGCONNECT_TIMEOUT=10", "PGUSER=test", "PGDATABASE=rows")
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s %s: %v", name, strings.Join(args, " "), err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// holdfast runs a verb to its end and fails the test on another exit code.
func holdfast(t *testing.T, code int, args ...string) result {
	t.Helper()
	return feed(t, code, nil, args...)
}

// feed is holdfast with something to read.
func feed(t *testing.T, code int, stdin io.Reader, args ...string) result {
	t.Helper()
	r := command(t, t.TempDir(), stdin, program, args...)
	if r.code != code {
		t.Fatalf("holdfast %s: exit code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

// eventually waits until ok returns true, and fails with what it last said.
func eventually(t *testing.T, limit time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	said, deadline := "", time.Now().Add(limit)
	for time.Now().Before(deadline) {
		var done bool
		if done, said = ok(); done {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("waited %v for %s: %s", limit, what, said)
}
