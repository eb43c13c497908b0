package spool

import (
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// place is an open directory of the spool. Everything below it is reached
// through its descriptor, one name at a time, so that nothing that is put in the
// way leads elsewhere.
type place struct {
	f     *os.File
	path  string // from the spool's own directory; "" for that
	table string // that its files are of; "" where the configuration names it
	depth int
}

// identity is what a file was when it was read.
type identity struct {
	Inode uint64 `json:"inode"`
	Size  int64  `json:"size"`
	Time  int64  `json:"time"` // of its last change, in ns since 1970
}

// openTop opens the spool's own directory. Links to it are the operator's.
func openTop(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.IsDir() {
		return nil, errors.Join(err, f.Close(), &os.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR})
	}
	return f, nil
}

// openAt opens a name in a directory without following a link or waiting for a
// FIFO's other end.
func openAt(dir *os.File, name string, flag int) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: filepath.Join(dir.Name(), name), Err: err}
		}
		return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)), nil
	}
}

// openDir opens a directory below another.
func openDir(dir *os.File, name string) (*os.File, error) {
	return openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// openPath opens a directory by its path below the spool's own.
func openPath(root *os.File, name string) (*os.File, error) {
	f, err := openDir(root, ".")
	for _, part := range split(name) {
		if err != nil {
			return nil, err
		}
		var below *os.File
		below, err = openDir(f, part)
		if e := f.Close(); err == nil {
			err = e
		}
		f = below
	}
	return f, err
}

// split returns the names in a path.
func split(name string) (parts []string) {
	for name != "" && name != "." {
		dir, base := path.Split(name)
		parts = append(parts, base)
		name = path.Clean(dir)
	}
	slices.Reverse(parts)
	return parts
}

// lookAt tells of a name in a directory, and follows no link.
func lookAt(dir *os.File, name string) (st unix.Stat_t, err error) {
	err = unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// lookAtOpen tells of an open file.
func lookAtOpen(f *os.File) (st unix.Stat_t, err error) {
	err = unix.Fstat(int(f.Fd()), &st)
	return st, err
}

func identityOf(st *unix.Stat_t) identity {
	return identity{Inode: st.Ino, Size: st.Size, Time: unix.TimespecToNsec(st.Mtim)}
}

func kind(st *unix.Stat_t) uint32 { return uint32(st.Mode) & unix.S_IFMT }

func isLink(st *unix.Stat_t) bool { return kind(st) == unix.S_IFLNK }

// remove removes a file that is still what it was; one that is not there any
// more is removed.
func remove(dir *os.File, name string, was identity) (same bool, err error) {
	st, err := lookAt(dir, name)
	if err == nil {
		if identityOf(&st) != was {
			return false, nil
		}
		err = unix.Unlinkat(int(dir.Fd()), name, 0)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return true, &os.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return true, nil
}

// unsafeDir tells why a directory cannot be a part of a spool.
func unsafeDir(dir *os.File) (why string, err error) {
	st, err := lookAtOpen(dir)
	if err != nil {
		return "", err
	}
	switch {
	case uint32(st.Mode)&unix.S_IWOTH != 0:
		return "everybody may write to it: chmod o-w, and let writers in by its group", nil
	case uint32(st.Mode)&unix.S_ISVTX != 0 && os.Geteuid() != 0 && int(st.Uid) != os.Geteuid():
		return "it is sticky and another user's, so that files of others cannot be removed: chmod -t", nil
	}
	if err := unix.Faccessat(int(dir.Fd()), ".", unix.W_OK|unix.X_OK, 0); err != nil {
		return "files cannot be removed from it by this user: " + err.Error(), nil
	}
	return "", nil
}

var errChanged = errors.New("it is being written to: write it elsewhere on the volume, and rename it in when it is complete")

// content reads a plain file whole, which has the size of st, into buf.
func content(dir *os.File, name string, st *unix.Stat_t, buf []byte) (out []byte, err error) {
	f, err := openAt(dir, name, unix.O_RDONLY)
	if err != nil {
		return buf, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := still(f, st); err != nil {
		return buf, err
	}
	buf = slices.Grow(buf[:0], int(st.Size))[:st.Size]
	if _, err := io.ReadFull(f, buf); err != nil {
		return buf, err
	}
	return buf, still(f, st)
}

// still holds that an open file is plain, and what it was.
func still(f *os.File, st *unix.Stat_t) error {
	now, err := lookAtOpen(f)
	if err == nil && (kind(&now) != unix.S_IFREG || identityOf(&now) != identityOf(st)) {
		err = errChanged
	}
	return err
}

// target returns the text of a link.
func target(dir *os.File, name string, st *unix.Stat_t, buf []byte) ([]byte, error) {
	buf = slices.Grow(buf[:0], int(st.Size)+1)[:st.Size+1]
	n, err := unix.Readlinkat(int(dir.Fd()), name, buf)
	if err == nil && int64(n) != st.Size {
		err = errChanged
	}
	return buf[:max(n, 0)], err
}
