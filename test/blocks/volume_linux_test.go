package blocks

import (
	"os"
	"testing"

	"holdfast/internal/disk"
	"holdfast/test/mounts"
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
	return mounts.Make(t, dir, k.size, k.mkfs...)
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
	return &volume{kind: k, at: at, loop: mounts.Attach(t, f)}
}

func (v *volume) mount() error { return mounts.Mount(v.loop, v.at, v.kind.name, v.kind.options) }

func (v *volume) unmount() error { return mounts.Unmount(v.at) }

// open opens the volume as the journal's disk.
func (v *volume) open(buffered bool) (disk.FS, error) {
	if buffered {
		return disk.OpenBuffered(v.at)
	}
	return disk.OpenExisting(v.at)
}
