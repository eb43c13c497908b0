//go:build !linux

package e2e

import "os/exec"

// dieWithTest does nothing where the kernel offers nothing.
func dieWithTest(*exec.Cmd) {}

// ownGroup does nothing there.
func ownGroup(*exec.Cmd) {}
