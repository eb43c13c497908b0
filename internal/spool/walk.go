package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"holdfast/internal/inode"
)

const (
	// pieceNames is how many names of a directory are held at once, and
	// pieceBytes how long they may be together. A directory with more is read
	// once per piece, so that its files are taken in the order of their names,
	// whatever order the file system keeps them in.
	pieceNames = 64 << 10
	pieceBytes = 16 << 20
	// maxDirs bounds the sub-directories of one directory that a look goes
	// through, the first ones by name, maxDepth how deep they may lie.
	maxDirs  = 4096
	maxDepth = 8
	// maxWatched bounds the directories that the system is asked to tell of.
	maxWatched = 512
	// emptyFor is how long an empty sub-directory has to be left alone before it
	// is removed: its writer may just have made it.
	emptyFor = time.Hour

	badDir = "bad"
)

// entry is a name in a directory.
type entry struct {
	name    string
	regular bool // whether it was one of a plain file
}

// smallest keeps the first names, in their order, of many behind one.
type smallest struct {
	after string
	most  int
	names []entry
	bytes int
	bound string // where more is set, names behind it are left out
	more  bool
	count int // of all
}

func (k *smallest) add(e os.DirEntry) {
	name := e.Name()
	if k.after != "" && name <= k.after {
		return
	}
	if k.count++; k.more && name > k.bound {
		return
	}
	k.names = append(k.names, entry{name, e.Type().IsRegular()})
	if k.bytes += len(name); len(k.names) >= 2*k.most || k.bytes > pieceBytes && len(k.names) > 1 {
		k.cut(min(k.most, (len(k.names)+1)/2))
	}
}

// cut keeps the first n.
func (k *smallest) cut(n int) {
	k.sort()
	clear(k.names[n:])
	k.names = k.names[:n]
	k.bound, k.more, k.bytes = k.names[n-1].name, true, 0
	for _, e := range k.names {
		k.bytes += len(e.name)
	}
}

func (k *smallest) sort() {
	slices.SortFunc(k.names, func(a, b entry) int { return strings.Compare(a.name, b.name) })
}

func (k *smallest) sorted() []entry {
	if len(k.names) > k.most {
		k.cut(k.most)
	}
	k.sort()
	return k.names
}

// list reads a directory: the first files behind a name, and the first
// sub-directories.
func (s *Spool) list(p place, after string) (files, dirs *smallest, err error) {
	files, dirs = &smallest{after: after, most: s.piece}, &smallest{most: maxDirs}
	if _, err := p.f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	for {
		entries, err := p.f.ReadDir(1024)
		for _, e := range entries {
			name := e.Name()
			switch {
			case strings.HasPrefix(name, "."):
			case !e.IsDir():
				if !strings.HasSuffix(name, ".tmp") && (!s.o.Maildir || path.Base(p.path) == "new") {
					files.add(e)
				}
			case p.depth == 0 && (name == badDir || name == lostDir):
			case s.o.Maildir && (name == "tmp" || name == "cur"):
			default:
				dirs.add(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return files, dirs, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read directory: %w", err)
		}
	}
}

// walk takes in the files of a directory, then those of the directories below.
func (s *Spool) walk(ctx context.Context, p place) error {
	if why, err := unsafeDir(p.f); why != "" || err != nil {
		if err == nil {
			s.hold("directory %q is not read: %s", s.path(p, ""), why)
		}
		return err
	}
	if len(s.watched) < maxWatched {
		s.watched = append(s.watched, s.path(p, ""))
	}
	files, dirs, err := s.list(p, "")
	if err != nil {
		return err
	}
	s.seen.Files += files.count
	s.progress()
	for {
		skip, err := s.files(ctx, p, files.sorted())
		if err != nil {
			return err
		}
		if skip || !files.more {
			break
		}
		if files, _, err = s.list(p, files.bound); err != nil {
			return err
		}
	}
	return s.below(ctx, p, dirs)
}

// files takes files in; skip says that no more of this directory can be.
func (s *Spool) files(ctx context.Context, p place, names []entry) (skip bool, err error) {
	if len(names) > 0 && s.table(p) == "" {
		s.hold("files in %q are of no table: put them in a sub-directory that has the table's name, or name it under table", s.path(p, ""))
		return true, nil
	}
	for _, e := range names {
		if err := ctx.Err(); err != nil {
			return true, err
		}
		if skip, err := s.take(ctx, p, e); skip || err != nil {
			return skip, err
		}
	}
	return false, nil
}

// table returns which table the files of a directory are of.
func (s *Spool) table(p place) string {
	if s.o.Table != "" {
		return s.o.Table
	}
	return p.table
}

// below walks through the directories in a directory.
func (s *Spool) below(ctx context.Context, p place, dirs *smallest) error {
	names := dirs.sorted()
	if dirs.more {
		s.tell("%q has more than %d sub-directories: the first ones are read until they are gone", s.path(p, ""), maxDirs)
	}
	for i, e := range names {
		name := e.name
		if !plain(name) || p.depth+1 > maxDepth {
			s.hold("directory %q is not read: its name is no text, or it lies more than %d deep", s.path(p, name), maxDepth)
			continue
		}
		f, err := openDir(p.f, name)
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				s.hold("directory %q is not read: %s", s.path(p, name), err)
			}
			continue
		}
		child := place{f: f, path: path.Join(p.path, name), table: p.table, depth: p.depth + 1}
		if p.depth == 0 && !(s.o.Maildir && name == "new") {
			child.table = name
		}
		err = errors.Join(s.walk(ctx, child), f.Close())
		if err != nil {
			return err
		}
		if i < len(names)-1 && child.depth > 1 && !s.o.Maildir {
			s.prune(p, name)
		}
	}
	return nil
}

// prune removes a sub-directory that is empty and that nobody has touched for
// a while. The last one by name stays, since it may be today's.
func (s *Spool) prune(p place, name string) {
	if f, err := inode.Look(p.f, name); err == nil && time.Since(changed(&f)) > emptyFor {
		_ = unix.Unlinkat(int(p.f.Fd()), name, unix.AT_REMOVEDIR) // it fails where the directory is not empty
	}
}

// path returns how a name in a directory is shown, and watched.
func (s *Spool) path(p place, name string) string { return filepath.Join(s.o.Dir, p.path, name) }

// plain tells whether a name can be shown and stored.
func plain(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}
