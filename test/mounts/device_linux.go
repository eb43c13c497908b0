package mounts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Make makes a file system of size bytes in a new image below dir, with the
// command mkfs, which gets the image as its last argument.
func Make(t testing.TB, dir string, size int64, mkfs ...string) (image string) {
	t.Helper()
	Need(t, mkfs[0])
	f, err := os.CreateTemp(dir, "*.img")
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	Run(t, append(append([]string{}, mkfs...), f.Name())...)
	return f.Name()
}

// Run runs a command, and fails the test where it fails.
func Run(t testing.TB, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", command, err, out)
	}
}

// Attach puts f behind a loop device that detaches when nobody has it open.
// The caller closes it.
func Attach(t testing.TB, f *os.File) *os.File {
	t.Helper()
	Need(t)
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		Skip(t, err.Error())
	}
	defer control.Close()
	for deadline := time.Now().Add(20 * time.Second); ; {
		loop, err := attachFree(control, f)
		if err == nil {
			return loop
		}
		// Busy: another process was quicker.
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			t.Fatalf("attach %q to a loop device: %v", f.Name(), err)
		}
	}
}

func attachFree(control, f *os.File) (*os.File, error) {
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, err
	}
	loop, err := os.OpenFile(filepath.Join("/dev", fmt.Sprint("loop", n)), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	err = unix.IoctlLoopConfigure(int(loop.Fd()), &unix.LoopConfig{
		Fd: uint32(f.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR},
	})
	if err != nil {
		return nil, errors.Join(err, loop.Close())
	}
	return loop, nil
}

// Mount mounts what is on a device. The device stays open between mounts, and
// with it its cache: what a file system had in there and never wrote must not
// come back with the next mount, and it knows nothing of what came into the
// image since; so it is dropped first.
func Mount(loop *os.File, at, kind, options string) error {
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.BLKFLSBUF, 0); err != nil {
		return fmt.Errorf("drop the cache of %s: %w", loop.Name(), err)
	}
	if err := unix.Mount(loop.Name(), at, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s with %q: %w", kind, options, err)
	}
	return nil
}

// Ext4 makes a file system of size bytes, and mounts it at a new directory until
// the test ends.
func Ext4(t testing.TB, size int64, at string) {
	t.Helper()
	f, err := os.OpenFile(Make(t, WorkDir(t), size, "mkfs.ext4", "-q", "-m", "0"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	loop := Attach(t, f)
	f.Close()
	if err := errors.Join(os.Mkdir(at, 0o700), Mount(loop, at, "ext4", "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(Unmount(at), loop.Close()); err != nil {
			t.Error(err)
		}
	})
}

// Unmount waits for those who still have the volume open: a fork may hold a
// descriptor until its exec.
func Unmount(at string) error {
	err := unix.Unmount(at, 0)
	for deadline := time.Now().Add(5 * time.Second); errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
		err = unix.Unmount(at, 0)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", at, err)
	}
	return nil
}
