package power

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/internal/disk"
	"holdfast/test/mounts"
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
	mounts.Need(t, how.fsck[0])
	v := &volume{t: t, kind: kind, image: mounts.Make(t, dir, how.size, how.mkfs...), at: filepath.Join(dir, kind)}
	f, err := os.OpenFile(v.image, os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	v.loop = mounts.Attach(t, f)
	ok(t, os.Mkdir(v.at, 0o700))
	t.Cleanup(func() {
		if v.up {
			v.unmount()
		}
		v.loop.Close() // the last one: the device detaches
	})
	return v
}

// mount mounts the volume; the file system replays its log where the power was cut.
func (v *volume) mount(options string) {
	v.t.Helper()
	ok(v.t, mounts.Mount(v.loop, v.at, v.kind, options))
	v.up = true
}

func (v *volume) unmount() {
	v.t.Helper()
	ok(v.t, mounts.Unmount(v.at))
	v.up = false
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
	mounts.Run(v.t, append(made[v.kind].fsck, v.loop.Name())...)
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

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
