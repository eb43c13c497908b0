//go:build !linux

package doctor

import "errors"

func kernelClock() (Clock, error) { return Clock{}, errors.ErrUnsupported }

func opensDirect(string) bool { return false }

func allocates(string) bool { return false }

func holder(string, string) (pid int, held bool) { return 0, false }
