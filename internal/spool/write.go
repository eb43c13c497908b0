package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/fault"
)

// Put writes one file of rows of a table into a spool, and returns its name. It
// is on disk, and complete, when Put returns. The spool need not be served. At
// most limit bytes are taken.
func Put(dir, table string, format Format, from io.Reader, limit int64) (name string, err error) {
	if !plain(table) || table == "" || strings.ContainsRune(table, '/') || strings.HasPrefix(table, ".") || table == badDir || len(table) > 200 {
		return "", fault.New(fault.InvalidName, "table %.100q cannot be the name of a directory", table).WithHint("write the file yourself, into a spool of which the table is configured")
	}
	root, err := openTop(dir)
	if err != nil {
		return "", fault.New(fault.IOError, "spool %q cannot be opened", dir).Because(err).WithHint("make the directory, or mount its volume")
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := unix.Mkdirat(int(root.Fd()), table, 0o770); err == nil {
		if err := root.Sync(); err != nil {
			return "", err
		}
	} else if !errors.Is(err, unix.EEXIST) {
		return "", &os.PathError{Op: "mkdir", Path: dir + "/" + table, Err: err}
	}
	below, err := openDir(root, table)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, below.Close()) }()
	to, prefix := below, ""
	if box, e := openDir(below, "new"); e == nil {
		to, prefix = box, "new/"
		defer func() { err = errors.Join(err, box.Close()) }()
	}
	host, _ := os.Hostname()
	host = strings.Map(func(r rune) rune {
		if r == '/' || r == ':' || r <= ' ' || r > '~' {
			return '-'
		}
		return r
	}, host[:min(len(host), 64)])
	// Names sort by time; the process and the host make them different.
	now := time.Now()
	file := fmt.Sprintf("%d.%09d.%d.%s.%s", now.Unix(), now.Nanosecond(), os.Getpid(), host, format)
	if err := write(to, file, from, limit); err != nil {
		return "", err
	}
	return table + "/" + prefix + file, nil
}

// write writes a file under a name that is not taken in, flushes it, and gives
// it its own name, unless that is taken.
func write(dir *os.File, name string, from io.Reader, limit int64) (err error) {
	tmp := "." + name + ".tmp"
	f, err := openAt(dir, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = unix.Unlinkat(int(dir.Fd()), tmp, 0)
		}
	}()
	err = f.Chmod(0o640) // whoever serves the spool may be of its group
	var n int64
	if err == nil {
		n, err = io.Copy(f, io.LimitReader(from, limit+1))
	}
	switch {
	case err != nil:
	case n > limit:
		err = fault.New(fault.LimitExceeded, "more than %d bytes came in, which is the most for one file", limit).WithHint("split them over several files: nothing was written")
	case n == 0:
		err = fault.New(fault.InvalidParameterValue, "nothing came in, so there is no file to write")
	default:
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if _, taken := lookAt(dir, name); !errors.Is(taken, unix.ENOENT) {
		return &os.PathError{Op: "create", Path: name, Err: os.ErrExist}
	}
	if err := unix.Renameat(int(dir.Fd()), tmp, int(dir.Fd()), name); err != nil {
		return &os.PathError{Op: "rename", Path: name, Err: err}
	}
	return dir.Sync()
}
