package clients

import (
	"os/exec"
	"syscall"
)

// dieWithTest makes the kernel kill cmd when the test dies without cleaning up.
func dieWithTest(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL }
