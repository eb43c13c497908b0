package spool

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Leftover is what is in a partition besides directories.
type Leftover struct {
	Waiting    int      `json:"waiting"`    // files that are complete and not taken in
	Unfinished int      `json:"unfinished"` // that a writer may still complete
	Bad        int      `json:"bad"`        // that were set aside, and what tells why
	Names      []string `json:"names,omitempty"`
}

// maxNames bounds the names that a Leftover has, maxBelow how deep directories
// are looked into: what lies deeper counts as a file.
const (
	maxNames = 5
	maxBelow = 64
)

// lostDir is where a check of the file system puts what has no name.
const lostDir = "lost+found"

// None tells whether nothing is left.
func (l Leftover) None() bool { return l.Waiting+l.Unfinished+l.Bad == 0 }

// Look counts what is in a partition. It looks twice, as long as there is
// nothing: a file that was moved meanwhile to where it had looked already
// is found then.
func Look(dir string, maildir bool) (Leftover, error) {
	l, err := lookOnce(dir, maildir)
	if err == nil && l.None() {
		return lookOnce(dir, maildir)
	}
	return l, err
}

func lookOnce(dir string, maildir bool) (l Leftover, err error) {
	root, err := openTop(dir)
	if err != nil {
		return l, err
	}
	err = l.walk(place{f: root}, maildir)
	return l, errors.Join(err, root.Close())
}

// walk counts what is in a directory.
func (l *Leftover) walk(p place, maildir bool) error {
	for {
		entries, err := p.f.ReadDir(1024)
		for _, e := range entries {
			name := path.Join(p.path, e.Name())
			if !e.IsDir() || p.depth >= maxBelow {
				l.count(name, maildir)
				continue
			}
			f, err := openDir(p.f, e.Name())
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if errors.Is(err, fs.ErrPermission) && name == lostDir {
				continue // it is root's, and nobody else puts anything in
			}
			if err != nil {
				return err
			}
			if err := errors.Join(l.walk(place{f: f, path: name, depth: p.depth + 1}, maildir), f.Close()); err != nil {
				return err
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return &os.PathError{Op: "read directory", Path: p.path, Err: err}
		}
	}
}

// count says what kind of leftover a file is.
func (l *Leftover) count(name string, maildir bool) {
	dir, base := path.Split(name)
	box := path.Base(dir)
	switch {
	case strings.HasPrefix(name, badDir+"/"):
		l.Bad++
	case strings.HasPrefix(name, "."), strings.Contains(name, "/."), strings.HasSuffix(base, ".tmp"), maildir && box != "new", strings.HasPrefix(name, lostDir+"/"):
		l.Unfinished++
	default:
		l.Waiting++
	}
	if len(l.Names) < maxNames {
		l.Names = append(l.Names, name)
	}
}
