//go:build !linux

package disk

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Elsewhere than on Linux the journal is written through the page cache and
// flushed after each write: correct, and slower.
const directFlag = 0

func refusesDirect(error) bool { return false }

func space(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, fmt.Errorf("ask for the room of %q: %w", dir, err)
	}
	return Space{Volume: fmt.Sprint(st.Fsid), Total: int64(st.Blocks) * int64(st.Bsize), Free: int64(st.Bavail) * int64(st.Bsize), Files: int64(st.Files), FreeFiles: int64(st.Ffree)}, nil
}

func readAt(f *os.File, p []byte, off int64) (int, error) { return f.ReadAt(p, off) }

func writeSync(f *os.File, p []byte, off int64) error {
	if _, err := f.WriteAt(p, off); err != nil {
		return err
	}
	return datasync(f)
}

func datasync(f *os.File) error { return f.Sync() }

func dropCache(*os.File) {}
