package spool

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/internal/inode"
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
	inode.ID
	Size    int64 `json:"size"`
	Time    int64 `json:"time"`              // of the last change of its content, in ns since 1970
	Touched int64 `json:"touched,omitempty"` // of the last change of anything; where it is not known when it was made
}

func identityOf(f *inode.File) identity {
	is := identity{ID: f.ID, Size: f.Size, Time: f.Changed}
	if f.Born == 0 {
		is.Touched = f.Touched
	}
	return is
}

// fate is what became of a file since it was read.
type fate int

const (
	same    fate = iota
	written      // something was written to it
	another      // it is gone, and another file has its name
)

// fate tells what became of a file by what has its name now. A name and an inode
// are used again, and the time of a change can be set; only when a file was made
// cannot be. Lists of earlier versions do not have that.
func (was identity) fate(now *inode.File) fate {
	switch {
	case now.Inode != was.Inode, was.Born != 0 && now.Born != 0 && now.Born != was.Born:
		return another
	case now.Size != was.Size, now.Changed != was.Time, was.Touched != 0 && now.Touched != was.Touched:
		return written
	}
	return same
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
	fd, err := again(func() (int, error) {
		return unix.Openat(int(dir.Fd()), name, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)), nil
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

// remove removes a file that is still what it was, and tells what became of it
// else. One that is not there any more is removed.
func remove(dir *os.File, name string, was identity) (fate, error) {
	now, err := inode.Look(dir, name)
	if err == nil {
		if is := was.fate(&now); is != same {
			return is, nil
		}
		err = unix.Unlinkat(int(dir.Fd()), name, 0)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return same, &os.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return same, nil
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

// content reads a file whole into buf, which fit finds fit to be read. What is
// no plain file is not opened, since that alone does something to some. The calls
// are made without os.File, because there are a handful for each of many files.
func content(dir *os.File, e entry, buf []byte, fit func(f *inode.File) error) (out []byte, is inode.File, err error) {
	if !e.regular {
		if is, err = inode.Look(dir, e.name); err == nil {
			err = fit(&is)
		}
		if err != nil || is.Link() {
			if err == nil {
				buf, err = target(dir, e.name, is.Size, buf)
			}
			return buf, is, err
		}
	}
	fd, err := openFile(dir, e.name)
	if err != nil {
		return buf, is, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if is, err = inode.LookAt(fd); err == nil {
		err = fit(&is)
	}
	if err != nil {
		return buf, is, err
	}
	if !is.Regular() {
		return buf, is, errChanged
	}
	buf = slices.Grow(buf[:0], int(is.Size)+1)[:is.Size+1]
	n, err := readFull(fd, buf)
	if err != nil {
		return buf, is, err
	}
	now, err := inode.LookAt(fd)
	if err == nil && (int64(n) != is.Size || now != is) {
		err = errChanged
	}
	return buf[:n], is, err
}

// openFile opens a plain file for reading. What is something else by now is
// neither followed nor waited for.
func openFile(dir *os.File, name string) (fd int, err error) {
	fd, err = again(func() (int, error) {
		return unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		err = errChanged
	}
	return fd, err
}

// readFull reads until buf is full or the file ends. A file that is a byte shorter
// than buf is read in one call, and its end is met in it.
func readFull(fd int, buf []byte) (n int, err error) {
	for n < len(buf) {
		k, err := again(func() (int, error) { return unix.Read(fd, buf[n:]) })
		if err != nil {
			return n, err
		}
		if n += k; k == 0 || n == len(buf)-1 {
			break
		}
	}
	return n, nil
}

// again makes a call until no signal interrupts it.
func again(call func() (int, error)) (n int, err error) {
	for n, err = call(); errors.Is(err, unix.EINTR); n, err = call() {
	}
	return n, err
}

// target returns the text of a link.
func target(dir *os.File, name string, size int64, buf []byte) ([]byte, error) {
	buf = slices.Grow(buf[:0], int(size)+1)[:size+1]
	n, err := unix.Readlinkat(int(dir.Fd()), name, buf)
	if err == nil && int64(n) != size {
		err = errChanged
	}
	return buf[:max(n, 0)], err
}
