package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"holdfast/internal/fault"
	"holdfast/internal/volume"
)

// Intake is a pair of directories, usually partitions, of which one takes new
// files while the other is drained. Writers reach the one in use through a
// symbolic link; where that leads is all that is remembered of it.
type Intake struct {
	Link       string
	Partitions [2]Partition
	Maildir    bool
}

// Partition is a directory of a pair.
type Partition struct {
	Dir     string
	Mounted bool // it must be where a volume is mounted
}

// Current returns which of the two the link leads to.
func (in *Intake) Current() (int, error) {
	to, err := os.Readlink(in.Link)
	if err != nil {
		return 0, fmt.Errorf("read the intake's link: %w", err)
	}
	for i, p := range in.Partitions {
		if filepath.Clean(to) == filepath.Clean(p.Dir) {
			return i, nil
		}
	}
	return 0, fault.New(fault.InvalidParameterValue, "the link %q leads to %q, which is none of its spool's two directories", in.Link, to).
		WithHint("make it lead to the one that is to take new files: ln -sfnT %s %s", in.Partitions[0].Dir, in.Link)
}

// Open makes the link where there is none yet: it leads to the first.
func (in *Intake) Open() error {
	_, err := in.Current()
	if errors.Is(err, fs.ErrNotExist) {
		err = in.lead(0)
	}
	if errors.Is(err, unix.EINVAL) {
		return fault.New(fault.InvalidParameterValue, "the intake %q is no symbolic link", in.Link).WithHint("move it away: the server makes the link")
	}
	return err
}

// lead makes the link lead to one of them, whatever it led to before. It is on
// disk when lead returns.
func (in *Intake) lead(to int) error {
	name := filepath.Clean(in.Link)
	tmp := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".switch")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Clean(in.Partitions[to].Dir), tmp); err != nil {
		return fmt.Errorf("make the intake's link: %w", err)
	}
	if err := os.Rename(tmp, name); err != nil {
		return errors.Join(fmt.Errorf("replace the intake's link: %w", err), os.Remove(tmp))
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Switch makes the other one take new files, after it has given it the
// directories that writers find in the one in use. Nothing has changed where it
// returns an error. Both are drained from then on.
func (in *Intake) Switch() (from, to string, err error) {
	now, err := in.Current()
	if err != nil {
		return "", "", err
	}
	was, next := in.Partitions[now], in.Partitions[1-now]
	if err := next.There(); err != nil {
		return "", "", err
	}
	if err := in.prepare(was.Dir, next.Dir); err != nil {
		return "", "", err
	}
	return was.Dir, next.Dir, in.lead(1 - now)
}

// There holds that a volume is mounted there, if one must be.
func (p Partition) There() error {
	if !p.Mounted {
		return nil
	}
	const hint = "mount its volume; == behind a directory says that there must be one"
	dir, err := filepath.Abs(p.Dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return fault.New(fault.IOError, "spool %q is not there", p.Dir).Because(err).WithHint(hint)
	}
	if m, ok := volume.Of(dir); !ok || m.At != dir {
		return fault.New(fault.IOError, "nothing is mounted at spool %q", p.Dir).WithHint(hint)
	}
	return nil
}

// prepare gives a directory the owner and mode of another, and the directories
// in that which writers expect there.
func (in *Intake) prepare(was, next string) (err error) {
	from, err := openTop(was)
	if err != nil {
		return fmt.Errorf("open the intake: %w", err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := openTop(next)
	if err != nil {
		return fmt.Errorf("open the spare: %w", err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := alike(from, to); err != nil {
		return err
	}
	depth := 1
	if in.Maildir {
		depth = 2 // tmp, new and cur of each table
	}
	if err := in.copyDirs(from, to, depth); err != nil {
		return err
	}
	if why, err := unsafeDir(to); why != "" || err != nil {
		return errors.Join(err, fault.New(fault.InvalidParameterValue, "the spare %q cannot be a spool: %s", next, why).WithHint("nothing was switched"))
	}
	return nil
}

// alike gives a directory owner, group and mode of another.
func alike(from, to *os.File) error {
	a, err := lookAtOpen(from)
	if err != nil {
		return err
	}
	b, err := lookAtOpen(to)
	if err != nil {
		return err
	}
	if a.Uid != b.Uid || a.Gid != b.Gid {
		err = to.Chown(int(a.Uid), int(a.Gid))
	}
	if mode := uint32(a.Mode) & 0o7777; err == nil && uint32(b.Mode)&0o7777 != mode {
		err = unix.Fchmod(int(to.Fd()), mode)
	}
	if err != nil {
		return fault.New(fault.InsufficientPrivilege, "%q has another owner, group or mode than %q, and they cannot be given to it", to.Name(), from.Name()).Because(err).
			WithHint("nothing was switched; as root: chown --reference=%s %s && chmod --reference=%s %s", from.Name(), to.Name(), from.Name(), to.Name())
	}
	return nil
}

// copyDirs makes directories of one in the other, without what is in them, and
// flushes their names.
func (in *Intake) copyDirs(from, to *os.File, depth int) error {
	entries, err := from.ReadDir(-1)
	if err != nil {
		return err
	}
	count := 0
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || e.Name() == badDir || e.Name() == lostDir {
			continue
		}
		if count++; count > maxDirs {
			return fault.New(fault.LimitExceeded, "%q has more than %d directories, too many to make all in the spare", from.Name(), maxDirs).WithHint("nothing was switched; put directories by date below those of the tables")
		}
		if err := in.copyDir(from, to, e.Name(), depth); err != nil {
			return err
		}
	}
	return to.Sync()
}

func (in *Intake) copyDir(from, to *os.File, name string, depth int) (err error) {
	a, err := openDir(from, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if err := unix.Mkdirat(int(to.Fd()), name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "mkdir", Path: filepath.Join(to.Name(), name), Err: err}
	}
	b, err := openDir(to, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := alike(a, b); err != nil || depth == 1 {
		return err
	}
	return in.copyDirs(a, b, depth-1)
}
