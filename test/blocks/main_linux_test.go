package blocks

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
	scratchVar = "HOLDFAST_BLOCKS_SCRATCH"
	// scratchRoom bounds the memory that images and logs take.
	scratchRoom = "size=1g"
	// recorderVar makes this program the recorder of the image that it names.
	recorderVar = "HOLDFAST_BLOCKS_RECORD"
)

// scratch is a tmpfs for the images; unfit is why there is none.
var scratch, unfit string

// TestMain runs the tests in a mount namespace of their own: whatever they
// mount goes away with the last process in it, also after kill -9.
func TestMain(m *testing.M) {
	if image := os.Getenv(recorderVar); image != "" {
		if err := record(image); err != nil {
			fmt.Fprintf(os.Stderr, "record %q: %v\n", image, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
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
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "holdfast-blocks-")
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

// need skips the test loudly, or fails it in CI, where mounts or one of
// programs cannot be had.
func need(t *testing.T, programs ...string) {
	t.Helper()
	why := unfit
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			why = p + " is missing: scripts/install-deps installs it"
		}
	}
	if why != "" && os.Getenv("CI") == "true" {
		t.Fatalf("cannot run: %s", why)
	}
	if why != "" {
		t.Skipf("SKIPPED: %s", why)
	}
}

// seeded returns the seed that HOLDFAST_SEED names, or a new one.
func seeded(t *testing.T) uint64 {
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

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
