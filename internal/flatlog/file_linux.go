package flatlog

import (
	"os"

	"golang.org/x/sys/unix"
)

// look tells of a file below the directory dir without following links.
func look(dir *os.File, name string) (seen, error) {
	var st unix.Statx_t
	err := unix.Statx(int(dir.Fd()), name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_SYNC_AS_STAT, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	if err != nil {
		return seen{}, &os.PathError{Op: "statx", Path: name, Err: err}
	}
	return seenOf(&st), nil
}

// lookAt tells of a file that is open.
func lookAt(f *os.File) (seen, error) {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_SYNC_AS_STAT, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	if err != nil {
		return seen{}, &os.PathError{Op: "statx", Path: f.Name(), Err: err}
	}
	return seenOf(&st), nil
}

func seenOf(st *unix.Statx_t) seen {
	s := seen{
		identity: identity{Inode: st.Ino}, regular: st.Mode&unix.S_IFMT == unix.S_IFREG, size: int64(st.Size), links: int(st.Nlink),
		changed: st.Mtime.Sec*1e9 + int64(st.Mtime.Nsec), device: unix.Mkdev(st.Dev_major, st.Dev_minor),
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		s.Born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return s
}
