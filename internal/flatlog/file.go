package flatlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"holdfast/internal/inode"
)

// file is one that is followed.
type file struct {
	mark
	dir      string    // where it is; "" where it has no name any more
	live     bool      // whether its name is one that a writer opens
	renamed  time.Time // when it was first seen without such a name
	size     int64
	device   uint64
	scan     uint64    // the last scan that met it
	since    time.Time // when the oldest byte that is not stored was met; zero: all is stored
	hold     string    // why it is not read
	closed   bool      // whether nobody can write to it any more
	removed  bool      // whether no name of it is left anywhere
	checked  bool      // whether what is stored of it was compared in this run
	dirty    bool      // whether its mark differs from what is committed
	f        *os.File
	used     uint64
	lastSize int64 // when something was last said of it
}

// called takes note of whether its name is one that a writer opens.
func (f *file) called(live bool) {
	if f.live = live; live {
		f.renamed = time.Time{}
	} else if f.renamed.IsZero() {
		f.renamed = time.Now()
	}
}

func (f *file) path() string { return filepath.Join(f.dir, f.Name) }

// pending is how many of its bytes are not stored.
func (f *file) pending() int64 { return max(0, f.size-f.At) }

func (f *file) close() {
	if f.f != nil {
		_ = f.f.Close() // it was only read
		f.f = nil
	}
}

// errMoved says that another file has the name by now.
var errMoved = errors.New("another file has the name by now")

// open opens the file under the name it was seen with.
func (f *file) open() error {
	if f.f != nil {
		return nil
	}
	if f.dir == "" {
		return errMoved
	}
	h, err := os.OpenFile(f.path(), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	s, err := inode.LookAt(int(h.Fd()))
	if err == nil && s.ID != f.ID {
		err = errMoved
	}
	if err != nil {
		return joined(err, h.Close())
	}
	f.f = h
	return nil
}

// print stands for some bytes.
type print struct {
	N   int    `json:"n,omitempty"`
	Sum string `json:"sum,omitempty"`
}

// headBytes and tailBytes are how many bytes are compared of what is stored:
// enough to hold the call id and the time of a row, which no two rows share.
const (
	headBytes = 256
	tailBytes = 64
)

func printOf(b []byte) print {
	sum := sha256.Sum256(b)
	return print{N: len(b), Sum: hex.EncodeToString(sum[:8])}
}

// bytesAt reads n bytes; fewer, where the file ends before.
func (f *file) bytesAt(at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	k, err := f.f.ReadAt(b, at)
	if err == io.EOF {
		err = nil
	}
	return b[:k], err
}

// same compares what is stored of the file with what is in it.
func (f *file) same(p print, at int64) (ok bool, b []byte, err error) {
	if p.N == 0 {
		return true, nil, nil
	}
	if b, err = f.bytesAt(at, p.N); err != nil {
		return false, nil, err
	}
	return printOf(b) == p, b, nil
}

// settle compares the file with its mark before it is read on, and returns the
// last bytes before that. A file that was emptied begins anew; one of which it
// is not known what happened to it is held.
func (f *file) settle(say func(string, ...any)) (tail []byte, err error) {
	s, err := inode.LookAt(int(f.f.Fd()))
	if err != nil {
		return nil, err
	}
	if f.size = s.Size; s.Size < f.At {
		return f.shrank(s.Size, say)
	}
	ok, tail, err := f.same(f.Tail, f.At-int64(f.Tail.N))
	if err != nil || ok && f.checked {
		return tail, err
	}
	head, _, err := f.same(f.Head, 0)
	switch {
	case err != nil:
	case head && ok:
		f.checked = true
	case head:
		f.hold = fmt.Sprintf("what stands before byte %d is not what was stored", f.At)
		say("file %s: %s; it is not read. Take it out of the directory, and look which lines of it are stored", f.path(), f.hold)
	default:
		say("file %s holds something else than what was stored of it up to byte %d: it was emptied and written again; it is read from its beginning", f.path(), f.At)
		f.restart(0)
		tail = nil
	}
	return tail, err
}

// shrank goes on with a file that is shorter than what is stored of it.
func (f *file) shrank(size int64, say func(string, ...any)) (tail []byte, err error) {
	was := max(f.lastSize, f.At)
	if size >= int64(f.Head.N) && size > 0 {
		head, _, err := f.same(f.Head, 0)
		if err != nil {
			return nil, err
		}
		if head { // where in what is left the stored lines end cannot be told
			f.hold = fmt.Sprintf("it shrank to %d bytes, and begins with what was stored of it up to byte %d", size, f.At)
			say("file %s: %s; it is not read. Take it out of the directory, and look which lines of it are stored", f.path(), f.hold)
			return nil, nil
		}
	}
	say("file %s shrank from %d to %d bytes, of which %d were stored: somebody empties files instead of renaming them (copytruncate?), and what was appended just before may be lost; it is read from its beginning", f.path(), was, size, f.At)
	f.restart(0)
	return nil, nil
}

// restart puts the mark elsewhere.
func (f *file) restart(at int64) {
	f.At, f.Head, f.Tail, f.dirty, f.checked = at, print{}, print{}, true, true
}

// reprint takes the prints of what is stored from the file.
func (f *file) reprint() error {
	if f.Head.N < headBytes {
		b, err := f.bytesAt(0, int(min(headBytes, f.At)))
		if err != nil {
			return err
		}
		f.Head = printOf(b)
	}
	n := min(tailBytes, f.At)
	b, err := f.bytesAt(f.At-n, int(n))
	if err == nil && int64(len(b)) < n {
		err = io.ErrUnexpectedEOF // it shrank just now
	}
	f.Tail = printOf(b)
	return err
}

// skip puts the mark behind the last complete line.
func (f *file) skip() error {
	for end := f.size; end > 0; {
		from := max(0, end-64<<10)
		b, err := f.bytesAt(from, int(end-from))
		if err != nil {
			return err
		}
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			f.restart(from + int64(i) + 1)
			return f.reprint()
		}
		end = from
	}
	return nil
}
