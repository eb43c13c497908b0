package blocks

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/disk"
)

// kind is a file system and how it is made: quickly, with its log as small as
// it may be, so that a short history wraps it.
type kind struct {
	name string
	size int64
	mkfs []string
	// options are those of the mount.
	options string
	// grain is what is written whole or not at all. ext4 lives with torn
	// sectors as long as it keeps no checksums of them (with them it refuses a
	// superblock that was torn). XFS keeps them, and a block that its log has
	// sent home must not be torn.
	grain int64
}

var (
	ext4 = kind{"ext4", 64 << 20, []string{"mkfs.ext4", "-q", "-m", "0", "-J", "size=4", "-O", "^metadata_csum", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"}, "", 512}
	xfs  = kind{"xfs", 300 << 20, []string{"mkfs.xfs", "-q", "-K"}, "nouuid", 4096} // two workers mount the same one
)

// makeImage makes a file system in a new image below dir.
func (k kind) makeImage(t *testing.T, dir string) (image string) {
	t.Helper()
	need(t, k.mkfs[0])
	image = filepath.Join(dir, k.name+".img")
	f := createFile(t, image)
	ok(t, f.Truncate(k.size))
	ok(t, f.Close())
	command := append(append([]string{}, k.mkfs...), image)
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", command, err, out)
	}
	return image
}

func createFile(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	ok(t, err)
	return f
}

// volume is a place for a file system in a loop device.
type volume struct {
	kind kind
	at   string // where it is mounted
	loop *os.File
}

// newVolume attaches f, to be mounted below dir.
func newVolume(t *testing.T, k kind, dir string, f *os.File) *volume {
	t.Helper()
	at, err := os.MkdirTemp(dir, "mounted-")
	ok(t, err)
	return &volume{kind: k, at: at, loop: attach(t, f)}
}

// attach puts f behind a loop device that detaches when nobody has it open.
func attach(t *testing.T, f *os.File) *os.File {
	t.Helper()
	need(t)
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	ok(t, err)
	defer control.Close()
	for deadline := time.Now().Add(20 * time.Second); ; {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		ok(t, err)
		loop, err := os.OpenFile(filepath.Join("/dev", fmt.Sprint("loop", n)), os.O_RDWR, 0)
		ok(t, err)
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &unix.LoopConfig{
			Fd: uint32(f.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR},
		})
		if err == nil {
			return loop
		}
		loop.Close()
		// Busy: another process was quicker.
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			t.Fatalf("attach %q to loop device %d: %v", f.Name(), n, err)
		}
	}
}

// mount mounts what is on the device. The device stays open between mounts,
// and with it its cache, which knows nothing of what came into the image.
func (v *volume) mount() error {
	if err := unix.IoctlSetInt(int(v.loop.Fd()), unix.BLKFLSBUF, 0); err != nil {
		return fmt.Errorf("drop the cache of %s: %w", v.loop.Name(), err)
	}
	if err := unix.Mount(v.loop.Name(), v.at, v.kind.name, 0, v.kind.options); err != nil {
		return fmt.Errorf("mount %s: %w", v.kind.name, err)
	}
	return nil
}

// unmount waits for those who still have the volume open: a fork may hold a
// descriptor until its exec.
func (v *volume) unmount() error {
	err := unix.Unmount(v.at, 0)
	for deadline := time.Now().Add(5 * time.Second); errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
		err = unix.Unmount(v.at, 0)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", v.kind.name, err)
	}
	return nil
}

// open opens the volume as the journal's disk.
func (v *volume) open(buffered bool) (disk.FS, error) {
	if buffered {
		return disk.OpenBuffered(v.at)
	}
	return disk.OpenExisting(v.at)
}
