package flatlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"holdfast/internal/holders"
	"holdfast/internal/inode"
)

const (
	// sweepEvery is how often it is looked who holds files: that looks at every
	// process of the machine.
	sweepEvery = 5 * time.Second
	// quiet is how long a file must not have changed before it is taken for
	// finished where it cannot be seen who has it open.
	quiet = 5 * time.Minute
	// opening is how long a file must have had another name than a writer opens:
	// a process that opens it at the moment of its renaming is not seen to hold
	// it before that is done.
	opening = 2 * time.Second
)

// finish does what is configured with files that are rotated, stored, and that
// nobody can write to any more.
func (f *Follower) finish(ctx context.Context) error {
	if time.Since(f.swept) < sweepEvery {
		return nil
	}
	var all []*file
	want := map[holders.Inode]bool{}
	for _, one := range f.files {
		if f.finishable(one) {
			all = append(all, one)
			want[holders.Inode{Device: one.device, Number: one.Inode}] = true
		}
	}
	if len(all) == 0 {
		return nil
	}
	f.swept = time.Now()
	held, known := holders.Writers(want)
	torn := false
	for _, one := range all {
		if held[holders.Inode{Device: one.device, Number: one.Inode}] || !known && !f.left(one) {
			continue
		}
		if one.closed = true; one.pending() > 0 {
			torn = true // its end is stored first
			continue
		}
		if err := f.away(one); err != nil {
			f.remark("%s cannot be put away: %s", one.path(), err)
		}
	}
	if torn {
		_, err := f.batch(ctx)
		return err
	}
	return nil
}

// finishable tells whether a file may be finished: it has not a name that a
// writer opens, and what is left of it is no complete line.
func (f *Follower) finishable(one *file) bool {
	if one.live || one.dirty || !f.readable(one) || time.Since(one.renamed) < f.rest {
		return false
	}
	return one.dir == "" || one.pending() > 0 && !one.closed || f.o.Finished != Keep && one.At > 0
}

// left tells whether the writer of a file has left it, where it cannot be seen
// who has it open: it has written to another file of the same name since, and
// this one has not changed for a while. A file without a name is given up then
// even without that.
func (f *Follower) left(one *file) bool {
	s, err := f.lookFor(one)
	if err != nil || time.Since(time.Unix(0, s.Changed)) < quiet {
		return false
	}
	if one.dir == "" {
		return true
	}
	for _, other := range f.files {
		if other.live && other.Table == one.Table && other.Writer == one.Writer && other.size > 0 {
			return true
		}
	}
	return false
}

// lookFor looks at a file, wherever it is.
func (f *Follower) lookFor(one *file) (inode.File, error) {
	if one.f != nil {
		return inode.LookAt(int(one.f.Fd()))
	}
	d, err := os.Open(one.dir)
	if err != nil {
		return inode.File{}, err
	}
	defer d.Close()
	return inode.Look(d, one.Name)
}

// away puts a finished file away.
func (f *Follower) away(one *file) error {
	s, err := f.lookFor(one)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if s.ID != one.ID || s.Size != one.At {
		return nil // it is another one, or there is more: the next scan meets that
	}
	switch {
	case one.dir == "":
	case f.o.Finished == Remove:
		err = os.Remove(one.path())
	case f.o.Finished == Archive:
		err = archive(one.path(), f.o.Archive)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if one.dir != "" {
		f.o.Log.Info("a finished file was put away", "file", one.path(), "bytes", one.At)
	}
	if one.dir != "" || one.removed { // it does not come back
		f.gone = append(f.gone, mark{ID: one.ID, Gone: true})
	}
	one.close()
	delete(f.files, one.ID)
	return nil
}

// archive moves a file to a directory, under a name that is free there.
func archive(path, dir string) error {
	to := filepath.Join(dir, filepath.Base(path))
	for n := 1; ; n++ {
		// A link never replaces what is there, as a rename would.
		err := os.Link(path, to)
		if err == nil {
			return os.Remove(path)
		}
		if !errors.Is(err, fs.ErrExist) || n > 1000 {
			return err
		}
		to = filepath.Join(dir, fmt.Sprintf("%s.%d", filepath.Base(path), n))
	}
}
