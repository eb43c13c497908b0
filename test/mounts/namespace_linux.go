package mounts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// scratchVar tells the tests where their tmpfs is; unset: they are not yet
	// in a mount namespace of their own.
	scratchVar = "HOLDFAST_MOUNTS_SCRATCH"
	// scratchRoom bounds the memory that all images of a test binary take.
	scratchRoom = "size=1g"
)

// scratch is a tmpfs for the images; unfit is why there is none.
var scratch, unfit string

// Main is what TestMain of a package that mounts calls: it runs the tests in a
// mount namespace of their own, and ends the process. devices are paths that
// must be there besides; where something is missing, the tests run without,
// and Need skips those that cannot.
func Main(m *testing.M, devices ...string) {
	if scratch = os.Getenv(scratchVar); scratch != "" {
		if err := unix.Mount("none", scratch, "tmpfs", 0, scratchRoom); err != nil {
			fmt.Fprintln(os.Stderr, "mount the scratch tmpfs:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	code, err := inNamespace(devices)
	if err != nil {
		unfit = err.Error()
		code = m.Run()
	}
	os.Exit(code)
}

// inNamespace runs this program again, in a mount namespace of its own. The
// error says why that cannot be.
func inNamespace(devices []string) (code int, err error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("mounting needs root")
	}
	for _, d := range devices {
		if _, err := os.Stat(d); err != nil {
			return 0, err
		}
	}
	dir, err := os.MkdirTemp("", "holdfast-mounts-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(dir)
	runtime.LockOSThread() // the kernel takes the end of this thread for the parent's
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), scratchVar+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("no mount namespace to be had: %w", err)
	}
	_ = cmd.Wait()                                    // the exit code says it all
	if code = cmd.ProcessState.ExitCode(); code < 0 { // a signal ended it
		code = 1
	}
	return code, nil
}

// WorkDir returns a directory in the scratch tmpfs, which goes with the test.
func WorkDir(t testing.TB) string {
	t.Helper()
	Need(t)
	dir, err := os.MkdirTemp(scratch, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Need skips the test loudly where mounts or one of programs cannot be had,
// and fails it in CI.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	if unfit != "" {
		Skip(t, unfit)
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			Skip(t, p+" is missing: scripts/install-deps installs it")
		}
	}
}

// Skip skips the test loudly, and fails it in CI.
func Skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("cannot run: %s", why)
	}
	t.Skipf("SKIPPED: %s", why)
}

// Seed returns the seed that HOLDFAST_SEED names, or a new one.
func Seed(t testing.TB) uint64 {
	t.Helper()
	s := os.Getenv("HOLDFAST_SEED")
	if s == "" {
		return uint64(time.Now().UnixNano())
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("read HOLDFAST_SEED %q: %v", s, err)
	}
	return n
}
