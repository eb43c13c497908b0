package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/test/mounts"
)

// TestDoctorFindsPlanted plants ten faults around a spool, one at a time, and has the
// doctor find each, which is not found without it.
func TestDoctorFindsPlanted(t *testing.T) {
	if !mounts.Alone(t, "HOLDFAST_BIN="+program) {
		return
	}
	p := newPair(t, 2000)
	at, loop := p.at(0), p.loops[0].Name()
	const plain = unix.MS_NOATIME | unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC
	remount := func(flags uintptr, options string) func() error {
		return func() error {
			if err := mounts.Unmount(at); err != nil {
				return err
			}
			return unix.Mount(loop, at, "ext4", flags, options)
		}
	}
	for _, f := range []struct {
		severity, check, saw string
		plant                func() error
	}{
		{"critical", "modes", "mode 0777", func() error { return os.Chmod(at, 0o777) }},
		{"critical", "mount-options", "ro at", remount(plain|unix.MS_RDONLY, "")},
		{"critical", "mount-options", "nobarrier", remount(plain, "nobarrier")},
		{"critical", "mount-options", "data=writeback", remount(plain, "data=writeback")},
		{"warning", "mount-options", "data=journal", remount(plain, "data=journal")},
		{"warning", "mount-options", "sync", remount(plain|unix.MS_SYNCHRONOUS, "")},
		{"warning", "mount-options", "strictatime", remount(unix.MS_STRICTATIME|unix.MS_NODEV|unix.MS_NOSUID, "")},
		{"note", "mount-options", "neither nodev nor nosuid", remount(unix.MS_NOATIME, "")},
		{"critical", "file-system", "tmpfs", func() error { return unix.Mount("none", at, "tmpfs", plain, "size=1m") }},
		{"", "inodes", "inodes free", func() error { return useUp(at) }},
	} {
		find := func() (all []string) {
			for _, one := range diagnose(t, at).Findings {
				if one.Check == f.check && (f.severity == "" || one.Severity == f.severity) {
					all = append(all, one.Saw)
				}
			}
			return all
		}
		has := func() bool {
			d := diagnose(t, at)
			return d.found(f.severity, f.check, f.saw) || f.severity == "" && (d.found("warning", f.check, f.saw) || d.found("critical", f.check, f.saw))
		}
		p.fresh(0)
		if has() {
			t.Errorf("%s %q is found without the fault", f.check, f.saw)
		}
		if err := f.plant(); err != nil {
			t.Errorf("plant %s %q: %v", f.check, f.saw, err)
			continue
		}
		if !has() {
			t.Errorf("%s %s %q is not found: %q", f.severity, f.check, f.saw, find())
		}
		if f.saw == "tmpfs" {
			if err := mounts.Unmount(at); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// useUp makes files until there is no inode left.
func useUp(at string) error {
	for n := 0; ; n++ {
		err := os.WriteFile(filepath.Join(at, fmt.Sprint(n)), nil, 0o600)
		if errors.Is(err, unix.ENOSPC) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
