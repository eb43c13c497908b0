package inode

import (
	"os"

	"golang.org/x/sys/unix"
)

// Look tells of a name in a directory, and follows no link.
func Look(dir *os.File, name string) (File, error) {
	f, err := statx(int(dir.Fd()), name, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return File{}, &os.PathError{Op: "statx", Path: name, Err: err}
	}
	return f, nil
}

// LookAt tells of the file behind a descriptor.
func LookAt(fd int) (File, error) {
	f, err := statx(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return File{}, os.NewSyscallError("statx", err)
	}
	return f, nil
}

func statx(dir int, name string, flags int) (File, error) {
	var st unix.Statx_t
	err := unix.Statx(dir, name, flags|unix.AT_STATX_SYNC_AS_STAT, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	if err != nil {
		return File{}, err
	}
	f := File{
		ID: ID{Inode: st.Ino}, Kind: uint32(st.Mode) & unix.S_IFMT, Size: int64(st.Size), Changed: nanoseconds(st.Mtime), Touched: nanoseconds(st.Ctime),
		Links: int(st.Nlink), Device: unix.Mkdev(st.Dev_major, st.Dev_minor),
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		f.Born = nanoseconds(st.Btime)
	}
	return f, nil
}

func nanoseconds(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }
