package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"
	"syscall"
	"time"

	"holdfast/sink"
)

const (
	stateName = "state.json"
	lockName  = "lock"

	// maxState bounds the file, and thereby what reading it allocates: far
	// above some thousand tables, far below what would hurt.
	maxState = 64 << 20

	version = 1

	// pollLock is how often a lock that another process holds is tried.
	pollLock = 10 * time.Millisecond
)

// Store keeps a State in a directory: state.json, and a file to lock.
type Store struct {
	dir    *Dir
	under  string
	unsure bool // whether the last Replace may not be on disk although it can be read
}

// NewStore returns the store in the directory called under, "." for dir
// itself. Lock makes it where it is missing.
func NewStore(dir *Dir, under string) *Store {
	return &Store{dir: dir, under: under}
}

// Lock is held by one process at a time.
type Lock struct {
	file *File
	// Interrupted says that whoever held the lock before died, or had an error,
	// between Begin and Unlock.
	Interrupted bool
}

// Lock waits up to busy for other processes.
func (s *Store) Lock(ctx context.Context, busy time.Duration) (*Lock, error) {
	if err := s.dir.MakeDirs(s.under, 0o700); err != nil {
		return nil, err
	}
	name := path.Join(s.under, lockName)
	ends := time.Now().Add(busy)
	for {
		l, err := s.tryLock(name)
		if l != nil || err != nil {
			return l, err
		}
		if time.Now().After(ends) {
			return nil, fmt.Errorf("lock %q: another process has held it for %v", name, busy)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pollLock):
		}
	}
}

// tryLock returns nil where another process holds the lock. The file is opened
// anew each time, since it may have been removed with its directory.
func (s *Store) tryLock(name string) (*Lock, error) {
	f, err := s.dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.dir.Create(name, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return nil, nil // somebody was faster
		}
	}
	if err != nil {
		return nil, err
	}
	err = s.dir.do(OpLock, name, func() error { return flock(f) })
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, f.Close()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	ino, size, err := s.dir.Stat(name)
	if err != nil || ino != f.Inode() {
		return nil, f.Close() // the lock of a file that is gone holds nobody off
	}
	return &Lock{file: f, Interrupted: size > 0}, nil
}

func flock(f *File) error {
	raw, err := f.f.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) {
		for err = syscall.EINTR; err == syscall.EINTR; {
			err = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
		}
	}); e != nil {
		return e
	}
	return err
}

// Begin notes that what is outside the state is about to change. It need not
// reach the disk: after a power cut everybody has died.
func (l *Lock) Begin() error {
	if l.Interrupted {
		return nil
	}
	_, err := l.file.f.Write([]byte{'1'})
	if err == nil {
		l.Interrupted = true
	}
	return err
}

// Settle notes that all is as the state says.
func (l *Lock) Settle() error {
	if !l.Interrupted {
		return nil
	}
	err := l.file.f.Truncate(0)
	if err == nil {
		l.Interrupted = false
	}
	return err
}

// Unlock lets others in.
func (l *Lock) Unlock() error { return l.file.Close() }

// file is the content of state.json. The checksum goes over State without
// spaces, so that looking at the file with a formatter does not damage it.
type file struct {
	Version int             `json:"version"`
	Sum     string          `json:"crc32c"`
	State   json.RawMessage `json:"state"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sumOf(state json.RawMessage) (string, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, state); err != nil {
		return "", err
	}
	return fmt.Sprintf("%08x", crc32.Checksum(b.Bytes(), castagnoli)), nil
}

// Load reads the state; an empty one where there is no file. What a Replace
// left in doubt is on disk when Load returns: nobody must rely on what only
// the page cache has.
func (s *Store) Load() (*State, error) {
	name := path.Join(s.under, stateName)
	text, err := s.dir.ReadFile(name, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		s.unsure = false
		return &State{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	st, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("read state %q: %w", name, err)
	}
	if s.unsure {
		if _, err := s.dir.Replace(name, text, 0o600); err != nil {
			return nil, fmt.Errorf("put state on disk again: %w", err)
		}
		s.unsure = false
	}
	return st, nil
}

func parse(text []byte) (*State, error) {
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("it is damaged; put it back from a copy, or retire the sink: %w", err)
	}
	if f.Version != version {
		return nil, fmt.Errorf("it has version %d, this program knows version %d: it was written by another release", f.Version, version)
	}
	if sum, err := sumOf(f.State); err != nil || sum != f.Sum {
		return nil, fmt.Errorf("it is damaged: its checksum is %s, it says %q; put it back from a copy, or retire the sink", sum, f.Sum)
	}
	st := new(State)
	if err := json.Unmarshal(f.State, st); err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	return st, nil
}

// Replace writes st in place of what is there. An error that wraps
// sink.ErrDoubtful leaves open which of the two is.
func (s *Store) Replace(st *State) error {
	state, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	sum, err := sumOf(state)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	text, err := json.Marshal(file{Version: version, Sum: sum, State: state})
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if len(text) > maxState {
		return fmt.Errorf("write state: it would take %d bytes, more than %d", len(text), maxState)
	}
	moved, err := s.dir.Replace(path.Join(s.under, stateName), append(text, '\n'), 0o600)
	if moved && err != nil {
		s.unsure = true
		return fmt.Errorf("%w: write state: %w", sink.ErrDoubtful, err)
	}
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	s.unsure = false
	return nil
}
