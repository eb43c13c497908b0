package flatlog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"holdfast/internal/inode"
)

const (
	// maxFiles bounds how many files one source follows, and remembers.
	maxFiles = 50_000
	// forgetAfter is how long the mark of a file is kept that is not there: a
	// volume may be away meanwhile.
	forgetAfter = 30 * 24 * time.Hour
)

// scan looks at all files of the directories.
func (f *Follower) scan() error {
	f.scans++
	f.unread = 0
	f.mu.Lock()
	f.status.Notes = nil
	f.mu.Unlock()
	for _, dir := range f.dirs {
		if err := f.scanDir(dir); err != nil {
			return fmt.Errorf("look at directory %q: %w", dir, err)
		}
	}
	for _, one := range f.files {
		if one.scan != f.scans {
			f.missing(one)
		}
	}
	var away []mark
	for id, m := range f.positions.at {
		if f.files[id] == nil {
			away = append(away, m)
		}
	}
	f.absent(away)
	f.count()
	return nil
}

func (f *Follower) scanDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		for _, name := range names {
			s, err := inode.Look(d, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // renamed meanwhile; the next scan meets it
			}
			if err != nil {
				return err
			}
			if err := f.meet(dir, name, s); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// meet takes note of one name in a directory.
func (f *Follower) meet(dir, name string, s inode.File) error {
	table, writer, live, ok := f.names.of(name)
	if !s.Regular() {
		if ok {
			f.remark("%s/%s is no regular file; it is not followed", dir, name)
		}
		return nil
	}
	one := f.files[s.ID]
	if m, known := f.positions.at[s.ID]; known && one == nil {
		one = &file{mark: m}
		f.files[s.ID] = one
	}
	if one == nil {
		if !ok || dir != f.dirs[0] || len(f.files) >= maxFiles {
			if ok && dir == f.dirs[0] {
				f.remark("%s is not followed: %d files are already", name, maxFiles)
			}
			return nil
		}
		one = &file{mark: mark{ID: s.ID, Table: table, Writer: writer}}
		f.files[s.ID] = one
		f.place(one, dir, name, s)
		one.called(live)
		return f.begin(one, live)
	}
	live = ok && live && dir == f.dirs[0]
	if one.scan == f.scans && !live {
		return nil // another name of a file that was met
	}
	f.place(one, dir, name, s)
	one.called(live)
	return nil
}

func (f *Follower) place(one *file, dir, name string, s inode.File) {
	one.dir, one.Name, one.scan, one.device = dir, name, f.scans, s.Device
	one.grown(s.Size, s.Changed)
	if m := f.positions.at[s.ID]; m.Missing != 0 {
		m.Missing, one.Missing = 0, 0
		f.positions.at[s.ID] = m
	}
}

// grown takes note of the size.
func (f *file) grown(size, changed int64) {
	f.size = size
	f.lastSize = max(f.lastSize, size)
	switch {
	case size == f.At:
		f.since, f.lastSize = time.Time{}, size
	case f.since.IsZero():
		f.since = time.Now()
		if t := time.Unix(0, changed); f.scan <= 1 && t.Before(f.since) {
			f.since = t // it was there before the start
		}
	}
}

// begin decides where a file begins that was never met.
func (f *Follower) begin(one *file, live bool) error {
	skip := f.first && (f.o.Now || !live)
	if !skip && (live && one.size < headBytes || one.size == 0) {
		return nil // it begins at its beginning, and is too short to be compared
	}
	if err := one.open(); err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errMoved) {
			delete(f.files, one.ID) // the next scan meets it again
			return nil
		}
		f.unreadable(one, err)
		delete(f.files, one.ID) // the next scan tries again
		return nil
	}
	defer one.close()
	if skip {
		if !f.o.Now {
			f.o.Log.Info("a rotated file from before the first start is not read; only what is appended to it", "file", one.path(), "bytes", one.size)
		}
		return one.skip()
	}
	head, err := one.bytesAt(0, headBytes)
	if err != nil {
		return err
	}
	for _, m := range f.positions.at {
		if m.Head.N == 0 || m.Head.N > len(head) || live && m.Head.N < headBytes || printOf(head[:m.Head.N]) != m.Head {
			continue
		}
		one.Copy, one.dirty = m.ID, true
		f.o.Log.Warn("a file is not read, because it is a copy", "file", one.path(), "of", m.Name, "stored", m.At)
		break
	}
	return nil
}

// missing looks at a file that has no name in the directories any more. While
// it is open it is read on.
func (f *Follower) missing(one *file) {
	one.called(false)
	if one.f == nil {
		if n := one.pending(); n > 0 {
			f.o.Log.Error("a file is gone of which not all was stored; it is read on where it comes back", "file", one.Name, "stored", one.At, "left", n)
		}
		delete(f.files, one.ID) // its mark stays
		return
	}
	s, err := inode.LookAt(int(one.f.Fd()))
	if err != nil {
		f.remark("%s: %s", one.path(), err)
		return
	}
	one.grown(s.Size, s.Changed)
	one.dir, one.scan = "", f.scans
	one.removed = s.Links == 0
}

// absent tells of files that were followed, and of which there is neither a name
// nor a descriptor: a volume may be away. After a month they are forgotten, and
// the oldest before that where they are too many.
func (f *Follower) absent(all []mark) {
	slices.SortFunc(all, func(a, b mark) int { return cmp.Compare(a.Missing, b.Missing) })
	surplus := len(f.positions.at) - maxFiles
	for _, m := range all {
		switch now := time.Now(); {
		case m.Missing == 0:
			m.Missing = now.Unix()
			f.positions.at[m.ID] = m // durable with the next record of all files
		case now.Sub(time.Unix(m.Missing, 0)) > forgetAfter || surplus > 0:
			f.o.Log.Warn("a file was not met for long and is forgotten", "file", m.Name, "stored", m.At, "missed", time.Unix(m.Missing, 0))
			delete(f.positions.at, m.ID)
			surplus--
		}
	}
}

// unreadable takes note of a file that cannot be read now.
func (f *Follower) unreadable(one *file, err error) {
	f.unread++
	f.remark("%s cannot be read: %s", one.path(), err)
}

// remark adds a note to the status.
func (f *Follower) remark(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.status.Notes) < maxNotes {
		f.status.Notes = append(f.status.Notes, strings.ToValidUTF8(fmt.Sprintf(format, args...), "?"))
	}
}
