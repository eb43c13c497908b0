//go:build !linux

package inode

import (
	"os"

	"golang.org/x/sys/unix"
)

// Look tells of a name in a directory, and follows no link.
func Look(dir *os.File, name string) (File, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return File{}, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return fileOf(&st), nil
}

// LookAt tells of the file behind a descriptor.
func LookAt(fd int) (File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return File{}, os.NewSyscallError("stat", err)
	}
	return fileOf(&st), nil
}

func fileOf(st *unix.Stat_t) File {
	return File{
		ID: ID{Inode: uint64(st.Ino)}, Kind: uint32(st.Mode) & unix.S_IFMT, Size: st.Size,
		Changed: unix.TimespecToNsec(st.Mtim), Touched: unix.TimespecToNsec(st.Ctim), Links: int(st.Nlink), Device: uint64(st.Dev),
	}
}
