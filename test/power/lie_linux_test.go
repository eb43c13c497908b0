package power

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/test/mounts"
	"holdfast/test/tally"
)

// lie is an ext4 on a volume that has less room than it claims, as a thinly
// provisioned one: it takes writes into the page cache that it then cannot put
// down.
type lie struct {
	t       *testing.T
	rnd     *rand.Rand
	o       *oracle
	v       *volume
	thin    string // the tmpfs below the image
	after   int    // appends behind the flush that failed
	refused []attempt
	shown   bool // the cache shows a row whose flush failed
}

// TestPageCacheLies makes flushes fail for real, whereafter the page cache
// shows rows that are not on the disk: a start must not be taken in by it.
func TestPageCacheLies(t *testing.T) {
	const name = "page cache lies"
	rnd, seed := seeded(t)
	t.Log(replay(t, seed))
	mounts.Need(t)
	told, shown := 0, 0
	for n := range tally.Want(t, name) {
		buffered := n%2 == 0
		t.Run(fmt.Sprint(n), func(t *testing.T) { // at its end the volume gives its memory back
			l := newLie(t, rnd)
			if n%4 > 1 { // else the next segment does not tell where the good rows end
				l.after = 1 + rnd.IntN(10)
			}
			if err := l.tell(buffered, func(d disk.FS, _ string) disk.FS { return d }); err != nil {
				t.Fatalf("lie %d, buffered %v: %v", n, buffered, err)
			}
			told++
			if l.shown {
				shown++
			} else if buffered {
				t.Errorf("lie %d: the page cache does not show the row whose flush failed, so nothing was tried", n)
			}
		})
		if t.Failed() {
			t.Fatalf("replay: %s", replay(t, seed))
		}
	}
	if told == 0 {
		mounts.Skip(t, "no volume for a lie was to be had")
	}
	t.Logf("the page cache showed %d rows that were not on the disk", shown)
	tally.Done(t, name, told, replay(t, seed))
}

// TestPageCacheLieBites lets the journal read what the page cache shows: the
// oracle must find rows that were shown and went away.
func TestPageCacheLieBites(t *testing.T) {
	rnd, seed := seeded(t)
	t.Log(replay(t, seed))
	err := newLie(t, rnd).tell(true, func(d disk.FS, dir string) disk.FS { return trusting{d, dir} })
	if err == nil || !strings.Contains(err.Error(), "lost: ") {
		t.Fatalf("a journal that believes the page cache gets away with it: %v", err)
	}
	t.Log(err)
}

// newLie makes the volume.
func newLie(t *testing.T, rnd *rand.Rand) *lie {
	t.Helper()
	l := &lie{t: t, rnd: rnd, o: newOracle(), thin: tmpfs(t, "size=160m")}
	l.v = newVolume(t, "ext4", l.thin)
	// The file system's own blocks are all there: only rows can fail.
	image, err := os.OpenFile(l.v.image, os.O_RDWR, 0)
	ok(t, err)
	defer image.Close()
	ok(t, unix.Fallocate(int(image.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, made["ext4"].size))
	l.v.mount("")
	return l
}

// tell gets rows acked, takes the room away below the active segment, gets
// flushes to fail, and starts again: first with what the page cache shows,
// then with what is on the disk.
func (l *lie) tell(buffered bool, wrap func(d disk.FS, dir string) disk.FS) error {
	w := &watched{FS: l.v.open(buffered)}
	j, err := l.start(w)
	if err != nil {
		return err
	}
	for i := range 5 + l.rnd.IntN(20) {
		a := attempt{name: fmt.Sprintf("row %d", i), n: 1 + l.rnd.IntN(3), size: l.rnd.IntN(6000)}
		if err := l.o.append(j, a, true); err != nil {
			return err
		}
	}
	l.punch()
	give := fill(l.t, l.thin)
	err = l.failAppends(j)
	l.die(w, j)
	give()
	if err == nil {
		err = w.verdict()
	}
	if err != nil {
		return err
	}
	l.shown = l.cached()

	for _, warm := range []bool{true, false} {
		if !warm {
			l.v.unmount()
			l.v.mount("")
		}
		w := &watched{FS: wrap(l.v.open(buffered), l.v.at)}
		j, err := l.start(w)
		if err == nil {
			err = l.o.judge(j)
			l.die(w, j)
		}
		if err != nil {
			return fmt.Errorf("cache warm %v: %w", warm, err)
		}
	}
	l.v.unmount()
	l.v.fsck()
	return nil
}

func (l *lie) start(d disk.FS) (*journal.Journal, error) {
	return journal.Open(d, journal.Options{Name: "main", SegmentSize: 1 << 20})
}

// failAppends writes until a flush fails, and on for a while: the journal goes
// on in another segment. Each append must be acked, of unknown outcome, or
// refused.
func (l *lie) failAppends(j *journal.Journal) error {
	for i, more := 0, 1+l.after; more > 0; i++ {
		a := attempt{name: fmt.Sprintf("late row %d", i), n: 1, size: min(i, 1) * l.rnd.IntN(30_000)} // the first one small
		err := l.o.append(j, a, true)
		switch code := fault.Code(err); {
		case err == nil:
		case code == fault.OutcomeUnknown:
			l.refused = append(l.refused, a)
		case code != fault.DiskFull && code != fault.IOError:
			return fmt.Errorf("an append to a volume without room fails with %q: %w", code, err)
		}
		if len(l.refused) > 0 {
			more--
		} else if i == 500 {
			return errors.New("500 appends to a volume without room, and no flush failed")
		}
	}
	return nil
}

// die ends the process, as far as the disk can tell.
func (l *lie) die(w *watched, j *journal.Journal) {
	w.kill()
	_ = j.Close()
	_ = w.Close()
}

// punch takes the blocks behind the end of the newest segment away from the
// image, and now and then those of the reserved file too. One block stays, for
// a marker or a small row: no write may begin before the hole and end in it,
// because the loop device calls a write that it could do in part a success.
func (l *lie) punch() {
	l.t.Helper()
	image, err := os.OpenFile(l.v.image, os.O_RDWR, 0)
	ok(l.t, err)
	defer image.Close()
	segs, _ := filepath.Glob(filepath.Join(l.v.at, "*.seg"))
	names := []string{slices.Max(segs)}
	if l.rnd.IntN(2) == 0 {
		spares, _ := filepath.Glob(filepath.Join(l.v.at, "*.spare"))
		names = append(names, spares...)
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		ok(l.t, err)
		from := int64(disk.Up(len(bytes.TrimRight(content, "\x00"))) + disk.Align)
		for _, e := range extents(l.t, name) {
			skip := max(0, from-e.logical)
			if skip >= e.length {
				continue
			}
			ok(l.t, unix.Fallocate(int(image.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, e.physical+skip, e.length-skip))
		}
	}
}

// cached tells whether the page cache shows a row whose flush failed.
func (l *lie) cached() bool {
	segs, _ := filepath.Glob(filepath.Join(l.v.at, "*.seg"))
	for _, name := range segs {
		content, err := os.ReadFile(name)
		ok(l.t, err)
		for _, a := range l.refused {
			if bytes.Contains(content, []byte(a.value(0))) {
				return true
			}
		}
	}
	return false
}

// extent is where a piece of a file lies in the image.
type extent struct{ logical, physical, length int64 }

// extents asks the file system where a file lies (FS_IOC_FIEMAP).
func extents(t *testing.T, name string) (all []extent) {
	t.Helper()
	var m struct {
		start, length                 uint64
		flags, mapped, count, padding uint32
		extents                       [64]struct {
			logical, physical, length uint64
			_                         [2]uint64
			flags                     uint32
			_                         [3]uint32
		}
	}
	m.length, m.flags, m.count = 1<<40, 1, uint32(len(m.extents)) // flushed first
	f, err := os.Open(name)
	ok(t, err)
	defer f.Close()
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 0xc020660b, uintptr(unsafe.Pointer(&m))); e != 0 {
		t.Fatalf("ask where %q lies: %v", name, e)
	}
	for _, e := range m.extents[:m.mapped] {
		all = append(all, extent{int64(e.logical), int64(e.physical), int64(e.length)})
	}
	return all
}
