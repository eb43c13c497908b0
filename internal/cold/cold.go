// Package cold keeps files that have left a stream for good: a directory that
// others empty.
//
// Nothing here removes a file that is whole, and nothing here knows what is in
// one.
package cold

import (
	"errors"
	"io"
)

// Store is a cold tier. Its methods are safe for concurrent use, but for two
// that put the same name.
type Store interface {
	// Put keeps what fill writes under a name: all of it, durably, or nothing. It
	// fails with fs.ErrExist where the name is taken and replace is not set; what
	// has the name is durable then. fill may be called more than once, and must
	// write the same each time.
	Put(name string, replace bool, fill func(io.Writer) error) error
	// Open opens a file that was put, past every cache. It fails with
	// fs.ErrNotExist where there is none.
	Open(name string) (File, error)
	// Where is what stands before a name, so that people find the file.
	Where() string
	// Used asks the store how it is: how many bytes wait there, 0 where it cannot
	// tell, and how many may; 0: no bound.
	Used() (bytes, size int64, err error)
	// Close gives the store up.
	Close() error
}

// File is a file that was put. Errors in reading it wrap ErrAway.
type File interface {
	io.ReaderAt
	io.Closer
	Size() (int64, error)
}

// Interrupter is a Store that others can keep waiting.
type Interrupter interface {
	// Interrupt has all that is under way, and all that comes, end at once, with an
	// error that wraps context.Canceled as well as ErrAway.
	Interrupt()
}

// ErrAway says that a store does not do what it was asked: it is away, full, or
// fails. What was to be put is not at fault.
var ErrAway = errors.New("the cold tier does not take it")
