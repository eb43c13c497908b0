package spool

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maxTries bounds how many files of the same name bad/ holds.
const maxTries = 1000

// whyEnd ends the name of what tells why a file is bad.
const whyEnd = ".why"

// setAside moves a file to bad/, below the directories that it lay in, with the
// reason beside. Nothing of this is flushed: after a power cut the file is
// where it was, and is set aside once more. gone says that it is not there now.
func (s *Spool) setAside(p place, name, why string) (gone bool) {
	if err := s.moveAside(p, name, why); err != nil {
		if !errors.Is(err, unix.ENOENT) {
			s.hold("file %q is bad (%s), and cannot be moved to %s/: %s", s.path(p, name), why, badDir, err)
			return false
		}
	} else {
		s.o.Log.Warn("a file is no row, and is set aside", "file", s.path(p, name), "because", why)
		s.mu.Lock()
		s.status.Bad++
		s.mu.Unlock()
	}
	return true
}

func (s *Spool) moveAside(p place, name, why string) error {
	dir, err := s.openBad(p)
	if err != nil {
		return err
	}
	to, err := free(dir, name)
	if err == nil {
		err = explain(dir, to+whyEnd, fmt.Sprintf("%s: %s\nmoved here from %q on %s\n", name, why, s.path(p, name), time.Now().UTC().Format(time.RFC3339)))
	}
	if err == nil {
		err = unix.Renameat(int(p.f.Fd()), name, int(dir.Fd()), to)
	}
	return errors.Join(err, dir.Close())
}

// openBad opens the directory in bad/ for files of another, making it.
func (s *Spool) openBad(p place) (*os.File, error) {
	dir, err := openDir(s.root, ".")
	for _, part := range append([]string{badDir}, split(p.path)...) {
		if err != nil {
			return nil, err
		}
		if e := unix.Mkdirat(int(dir.Fd()), part, 0o700); e != nil && !errors.Is(e, unix.EEXIST) {
			return nil, errors.Join(e, dir.Close())
		}
		var below *os.File
		if below, err = openDir(dir, part); err == nil {
			var why string
			if why, err = unsafeDir(below); why != "" {
				err = errors.Join(errors.New(why), below.Close())
			}
			if err != nil {
				below = nil
			}
		}
		if e := dir.Close(); err == nil {
			err = e
		}
		dir = below
	}
	return dir, err
}

// free returns a name that no file in a directory has, and that leaves room for
// what is put behind it.
func free(dir *os.File, name string) (string, error) {
	if len(name) > 240 {
		name = name[:240]
	}
	for n := range maxTries {
		to := name
		if n > 0 {
			to += "." + strconv.Itoa(n)
		}
		_, err := lookAt(dir, to)
		_, beside := lookAt(dir, to+whyEnd)
		if errors.Is(err, unix.ENOENT) && errors.Is(beside, unix.ENOENT) {
			return to, nil
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return "", err
		}
	}
	return "", fmt.Errorf("%d files of that name are there already", maxTries)
}

// explain writes the reason.
func explain(dir *os.File, name, text string) error {
	f, err := openAt(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
