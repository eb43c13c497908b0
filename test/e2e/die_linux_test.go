package e2e

import (
	"os/exec"
	"syscall"
)

// dieWithTest makes the kernel kill cmd when the test dies without cleaning up.
func dieWithTest(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// ownGroup makes cmd the first of a group of processes, so that a signal reaches
// what it starts.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr.Setpgid = true }
