package mounts

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Alone is for a test that mounts, in a package whose other tests do not: it
// runs the test again, alone in a process with a mount namespace of its own, and
// returns false to the one that called it, which has nothing left to do then.
// env is added to that process's environment.
func Alone(t *testing.T, env ...string) bool {
	t.Helper()
	if scratch = os.Getenv(scratchVar); scratch != "" {
		if err := unix.Mount("none", scratch, "tmpfs", 0, scratchRoom); err != nil {
			t.Fatalf("mount the scratch tmpfs: %v", err)
		}
		return true
	}
	if os.Geteuid() != 0 {
		Skip(t, "mounting needs root")
	}
	runtime.LockOSThread() // the kernel takes the end of this thread for the parent's
	defer runtime.UnlockOSThread()
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.count=1"}
	for _, a := range os.Args[1:] {
		if strings.HasPrefix(a, "-test.timeout") || strings.HasPrefix(a, "-test.short") {
			args = append(args, a)
		}
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), scratchVar+"="+t.TempDir()), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		Skip(t, fmt.Sprintf("no mount namespace to be had: %v", err))
	}
	err := cmd.Wait()
	t.Logf("in a mount namespace of its own:\n%s", &out)
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		t.Fatalf("it ended with %s", ended)
	case err != nil:
		t.Fatal(err)
	case bytes.Contains(out.Bytes(), []byte("--- SKIP")):
		t.Skip("SKIPPED: see above")
	case !bytes.Contains(out.Bytes(), []byte("--- PASS: "+t.Name())):
		t.Fatal("it did not run")
	}
	return false
}
