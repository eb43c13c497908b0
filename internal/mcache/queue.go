package mcache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"holdfast/sink/local"
)

const (
	fileMode = 0o644 // those of the original: other programs read these files
	dirMode  = 0o744

	// freshName is what a file is called until it is whole. The original looks
	// for names that begin otherwise.
	freshName = ".holdfast.new"
)

// ErrHeld says that another process has the cache.
var ErrHeld = errors.New("another process has the cache")

// Options say how a cache is written. The zero value writes little-endian
// files that everybody may read.
type Options struct {
	Order   Order
	Mode    fs.FileMode // of new files; 0: 0644
	DirMode fs.FileMode // of the directory, where Make makes it; 0: 0744
	Make    bool        // makes the directory where it is missing; the one above must be there
	Watch   local.Watch // sees every operation
}

// Queue is a cache that this process has for itself: it holds a lock on the
// directory. The first error of a write is final: close it, and open another.
// One goroutine uses it at a time.
type Queue struct {
	path    string
	o       Options
	dir     *local.Dir
	held    io.Closer
	numbers []uint32 // of the files, rising
	heads   []Header // of the files
	batch   *Batch   // what Get gives one by one
	given   int      // records of batch that Get gave
	own     int64    // the file that is known to be written as this program does; -1: none
	keep    bool     // files that were read stay at Close: a position may speak of them
	err     error    // sticky
}

// Open opens the cache in the directory path. What a crash left is as the files
// say: records behind an eof were never put, and those before a bof are read.
// It returns ErrHeld where another process has it.
func Open(path string, o Options) (*Queue, error) {
	if o.Mode == 0 {
		o.Mode = fileMode
	}
	if o.DirMode == 0 {
		o.DirMode = dirMode
	}
	if o.Make {
		if err := makeDir(path, o); err != nil {
			return nil, fmt.Errorf("make message cache %q: %w", path, err)
		}
	}
	d, err := local.OpenDir(path, o.Watch)
	if err != nil {
		return nil, fmt.Errorf("open message cache %q: %w", path, err)
	}
	q := &Queue{path: path, o: o, dir: d, own: -1}
	held, ok, err := d.Hold()
	if err == nil && !ok {
		err = ErrHeld
	}
	if err == nil {
		q.held = held
		err = q.scan()
	}
	if err != nil {
		return nil, fmt.Errorf("open message cache %q: %w", path, errors.Join(err, q.release()))
	}
	return q, nil
}

// makeDir makes the directory at path, with its name on disk.
func makeDir(path string, o Options) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above, name := splitPath(path)
	d, err := local.OpenDir(above, o.Watch)
	if err != nil {
		return err
	}
	return errors.Join(d.MakeDirs(name, o.DirMode), d.Close())
}

// scan finds the files, by their numbers, and reads their headers.
func (q *Queue) scan() error {
	list, err := fs.ReadDir(q.dir.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range list {
		if n, ok := ParseName(e.Name()); ok {
			q.numbers = append(q.numbers, n)
		}
		if e.Name() == freshName { // of a put that a crash interrupted
			if err := q.dir.Remove(freshName); err != nil {
				return err
			}
		}
	}
	slices.Sort(q.numbers)
	for i, n := range q.numbers {
		h, err := q.header(n)
		if errors.Is(err, errVoid) && i == len(q.numbers)-1 {
			h, err = Header{BOF: headerSize, EOF: headerSize, void: true}, nil
		}
		if err != nil {
			return err
		}
		q.heads = append(q.heads, h)
	}
	return nil
}

func (q *Queue) header(n uint32) (h Header, err error) {
	f, err := q.dir.OpenInPlace(Name(n))
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var b [headerSize]byte
	got, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return h, err
	}
	if b == [headerSize]byte{} {
		return h, errVoid
	}
	if h, err = ParseHeader(b[:got]); err != nil {
		return h, &DamageError{File: Name(n), Err: err}
	}
	return h, nil
}

// DamageError says that a file is not as any program writes it.
type DamageError struct {
	File string
	Err  error
}

// Error names the file, and how to go on.
func (e *DamageError) Error() string {
	return fmt.Sprintf("file %q is damaged: %v; move it away to go on without it", e.File, e.Err)
}

// Unwrap returns what is wrong with it.
func (e *DamageError) Unwrap() error { return e.Err }

// errVoid says that a file was made, and its first header never written: the
// newest file may be so after a crash of the original.
var errVoid = errors.New("its header is empty")

// load reads the file at index i whole.
func (q *Queue) load(i int) (c *Contents, image []byte, err error) {
	name := Name(q.numbers[i])
	f, err := q.dir.OpenInPlace(name)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	image = make([]byte, q.heads[i].EOF)
	if n, err := f.ReadAt(image, 0); err != nil && n < len(image) {
		if !errors.Is(err, io.EOF) {
			return nil, nil, err
		}
		return nil, nil, &DamageError{File: name, Err: fmt.Errorf("it has %d bytes, its eof is %d", n, len(image))}
	}
	if c, err = Parse(image); err != nil {
		return nil, nil, &DamageError{File: name, Err: err}
	}
	return c, image, nil
}

// Drained reports whether every record was read.
func (q *Queue) Drained() bool {
	return !slices.ContainsFunc(q.heads, func(h Header) bool { return h.BOF < h.EOF })
}

// Files returns how many files there are.
func (q *Queue) Files() int { return len(q.numbers) }

// Close gives the cache up, without its files where all was read. Idempotent.
func (q *Queue) Close() error {
	if q.dir == nil {
		return nil
	}
	var err error
	if q.err == nil && !q.keep && q.Drained() {
		err = q.Trim()
	}
	return errors.Join(err, q.release())
}

func (q *Queue) release() (err error) {
	if q.held != nil {
		err = q.held.Close()
	}
	err = errors.Join(err, q.dir.Close())
	q.dir, q.held = nil, nil
	return err
}

// fail notes the first error.
func (q *Queue) fail(err error) error {
	if err != nil && q.err == nil {
		q.err = fmt.Errorf("message cache %q: %w", q.path, err)
	}
	return q.err
}

// Newest returns the highest number of a file; ok is false where there is none.
func (q *Queue) Newest() (number uint32, ok bool) {
	if len(q.numbers) == 0 {
		return 0, false
	}
	return q.numbers[len(q.numbers)-1], true
}
