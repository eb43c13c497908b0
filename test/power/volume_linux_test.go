package power

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

const (
	shutdownIoctl  = 0x8004587d // _IOR('X', 125, __u32), of all file systems
	shutdownFlush  = 1          // the log gets to the disk first, data does not
	shutdownAtOnce = 2
)

// made says how each kind of file system is made: quickly, with its log as
// small as it may be, so that a short history wraps it.
var made = map[string]struct {
	size int64
	mkfs []string
	fsck []string
}{
	"ext4": {128 << 20, []string{"mkfs.ext4", "-q", "-b", "4096", "-m", "0", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"}, []string{"e2fsck", "-fn"}},
	"xfs":  {300 << 20, []string{"mkfs.xfs", "-q", "-K"}, []string{"xfs_repair", "-n"}},
}

// volume is a file system in a loop device over an image.
type volume struct {
	t     *testing.T
	kind  string
	image string
	at    string // where it is mounted
	loop  *os.File
	up    bool
}

// newVolume makes a file system, in an image below dir, and leaves it unmounted.
func newVolume(t *testing.T, kind, dir string) *volume {
	t.Helper()
	how := made[kind]
	need(t, how.mkfs[0], how.fsck[0])
	v := &volume{t: t, kind: kind, image: filepath.Join(dir, kind+".img"), at: filepath.Join(dir, kind)}
	f, err := os.OpenFile(v.image, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	ok(t, err)
	defer f.Close()
	ok(t, f.Truncate(how.size))
	run(t, append(how.mkfs, v.image)...)
	v.loop = attach(t, f)
	ok(t, os.Mkdir(v.at, 0o700))
	t.Cleanup(func() {
		if v.up {
			v.unmount()
		}
		v.loop.Close() // the last one: the device detaches
	})
	return v
}

// attach puts f behind a loop device that detaches when nobody has it open.
func attach(t *testing.T, f *os.File) *os.File {
	t.Helper()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		skip(t, err.Error())
	}
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

// mount mounts the volume; the file system replays its log where the power was cut.
func (v *volume) mount(options string) {
	v.t.Helper()
	if err := unix.Mount(v.loop.Name(), v.at, v.kind, 0, options); err != nil {
		v.t.Fatalf("mount %s with %q: %v", v.kind, options, err)
	}
	v.up = true
}

// unmount waits for those who still have the volume open: a fork may hold a
// descriptor until its exec.
func (v *volume) unmount() {
	v.t.Helper()
	err := unix.Unmount(v.at, 0)
	for deadline := time.Now().Add(5 * time.Second); errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
		err = unix.Unmount(v.at, 0)
	}
	if err != nil {
		v.t.Fatalf("unmount %s: %v", v.kind, err)
	}
	v.up = false
	// The device stays open, and with it its cache: what the file system had
	// in there and never wrote must not come back with the next mount.
	if err := unix.IoctlSetInt(int(v.loop.Fd()), unix.BLKFLSBUF, 0); err != nil {
		v.t.Fatalf("drop the cache of %s: %v", v.loop.Name(), err)
	}
}

// cut pulls the plug: from here on nothing reaches the image, and what was
// not flushed never will.
func (v *volume) cut(how int) {
	v.t.Helper()
	d, err := os.Open(v.at)
	ok(v.t, err)
	defer d.Close()
	if err := unix.IoctlSetPointerInt(int(d.Fd()), shutdownIoctl, how); err != nil {
		v.t.Fatalf("cut the power of %s: %v", v.kind, err)
	}
}

// fsck holds the unmounted file system against its own rules.
func (v *volume) fsck() {
	v.t.Helper()
	run(v.t, append(made[v.kind].fsck, v.loop.Name())...)
}

// open opens the volume as the journal's disk.
func (v *volume) open(buffered bool) disk.FS {
	v.t.Helper()
	return openDisk(v.t, v.at, buffered)
}

func openDisk(t *testing.T, dir string, buffered bool) disk.FS {
	t.Helper()
	opener := disk.OpenExisting
	if buffered {
		opener = disk.OpenBuffered
	}
	d, err := opener(dir)
	ok(t, err)
	return d
}

func run(t *testing.T, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", command, err, out)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
