package e2e

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// freeze and thaw are FIFREEZE and FITHAW: whoever writes to the file system waits
// in the kernel, as on a server of NFS that is away.
const (
	freeze = 0xc0045877
	thaw   = 0xc0045878
)

// ices returns what freezes and thaws the file system at a directory. It is thawed
// when the test ends, and before that when it takes longer than most.
func ices(t *testing.T, at string, most time.Duration) (ice func(what uint) error) {
	t.Helper()
	volume, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	ice = func(what uint) error { return unix.IoctlSetInt(int(volume.Fd()), what, 0) }
	dog := time.AfterFunc(most, func() { _ = ice(thaw) }) // what is frozen outlives a test that is killed
	t.Cleanup(func() {
		dog.Stop()
		_ = ice(thaw) // else nothing here ends
		if err := volume.Close(); err != nil {
			t.Error(err)
		}
	})
	return ice
}
