package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const directFlag = syscall.O_DIRECT

// refusesDirect tells whether an open failed because the file system knows no
// O_DIRECT (EINVAL), as tmpfs did before Linux 6.6.
func refusesDirect(err error) bool { return errors.Is(err, syscall.EINVAL) }

func space(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, fmt.Errorf("ask for the room of %q: %w", dir, err)
	}
	return Space{Volume: fmt.Sprintf("%x-%x", uint32(st.Fsid.Val[0]), uint32(st.Fsid.Val[1])), Total: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize, Files: int64(st.Files), FreeFiles: int64(st.Ffree)}, nil
}

// readAt is os.File.ReadAt, save that it does not go on from the odd offset
// where a file ends: with O_DIRECT that is an error instead of io.EOF.
func readAt(f *os.File, p []byte, off int64) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	done := 0
	var rerr error
	err = raw.Control(func(fd uintptr) {
		for done < len(p) && rerr == nil {
			n, e := unix.Pread(int(fd), p[done:], off+int64(done))
			switch {
			case errors.Is(e, unix.EINTR):
			case e != nil:
				rerr = &os.PathError{Op: "read", Path: f.Name(), Err: e}
			case n == 0 || n%Align != 0 && done+n < len(p):
				done += n
				rerr = io.EOF
			default:
				done += n
			}
		}
	})
	if err != nil {
		return 0, err
	}
	return done, rerr
}

// writeSync is pwritev2 with RWF_DSYNC: the flush belongs to this write alone,
// so that one descriptor serves flushed and unflushed writes.
func writeSync(f *os.File, p []byte, off int64) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var werr error
	err = raw.Control(func(fd uintptr) {
		for len(p) > 0 {
			n, e := unix.Pwritev2(int(fd), [][]byte{p}, off, unix.RWF_DSYNC)
			if errors.Is(e, unix.EINTR) {
				continue
			}
			if e == nil && n == 0 {
				e = io.ErrShortWrite
			}
			if e != nil {
				werr = &os.PathError{Op: "write and flush", Path: f.Name(), Err: e}
				return
			}
			p, off = p[n:], off+int64(n)
		}
	})
	if err != nil {
		return err
	}
	return werr
}

func datasync(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) {
		if e := unix.Fdatasync(int(fd)); e != nil {
			serr = &os.PathError{Op: "flush", Path: f.Name(), Err: e}
		}
	})
	if err != nil {
		return err
	}
	return serr
}

// dropCache makes the kernel forget a file's clean pages, so that a read behind
// it tells what is on the platter. Pages come in folios of up to megabytes, and
// one that lies only in part within the range that is given stays: so the range
// is the file.
func dropCache(f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED) })
}
