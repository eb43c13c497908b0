package power

import (
	"errors"
	"fmt"
	"math/rand/v2"
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
	scratchVar = "HOLDFAST_POWER_SCRATCH"
	// scratchRoom bounds the memory that all images together take.
	scratchRoom = "size=1g"
)

// scratch is a tmpfs for the images; unfit is why there is none.
var scratch, unfit string

// TestMain runs the tests in a mount namespace of their own: whatever they
// mount goes away with the last process in it, also after kill -9.
func TestMain(m *testing.M) {
	if scratch = os.Getenv(scratchVar); scratch != "" {
		if err := unix.Mount("none", scratch, "tmpfs", 0, scratchRoom); err != nil {
			fmt.Fprintln(os.Stderr, "mount the scratch tmpfs:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	code, err := inNamespace()
	if err != nil {
		unfit = err.Error()
		code = m.Run()
	}
	os.Exit(code)
}

// inNamespace runs this program again, in a mount namespace of its own. The
// error says why that cannot be.
func inNamespace() (code int, err error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("mounting needs root")
	}
	dir, err := os.MkdirTemp("", "holdfast-power-")
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

// workDir returns a directory in the scratch tmpfs.
func workDir(t *testing.T) string {
	t.Helper()
	need(t)
	dir, err := os.MkdirTemp(scratch, "")
	ok(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// skip skips the test loudly, and fails it in CI.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("cannot run: %s", why)
	}
	t.Skipf("SKIPPED: %s", why)
}

// need skips the test where mounts or one of programs cannot be had.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if unfit != "" {
		skip(t, unfit)
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			skip(t, p+" is missing: scripts/install-deps installs it")
		}
	}
}

// seeded returns a source of randomness, and the seed that gives it back
// through HOLDFAST_SEED. When the power goes, the clock decides too.
func seeded(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HOLDFAST_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("read HOLDFAST_SEED %q: %v", s, err)
		}
		seed = n
	}
	return rand.New(rand.NewPCG(seed, 0)), seed
}

// replay is the command that runs a test again.
func replay(t *testing.T, seed uint64) string {
	return fmt.Sprintf("HOLDFAST_SEED=%d go test ./test/power -run '^%s$'", seed, t.Name())
}
