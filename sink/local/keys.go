package local

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"

	"holdfast/sink"
)

// Keys reads keys that were noted for id: lines of the number that stands for
// it, a bar, and the key. A last line without its end is none.
func Keys(r io.Reader, st *State, id sink.ID) (map[string]bool, error) {
	found := map[string]bool{}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		number, key, _ := bytes.Cut(line[:len(line)-1], []byte{'|'})
		if n, err := strconv.ParseUint(string(number), 10, 64); err == nil && st.IsOf(id, n) {
			found[string(key)] = true
		}
	}
}

// ReadKeys returns the keys of id in the store's file called name.
func (s *Store) ReadKeys(name string, st *State, id sink.ID) (map[string]bool, error) {
	f, err := s.dir.Open(path.Join(s.under, name))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]bool{}, nil
	}
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	found, err := Keys(io.NewSectionReader(f.f, 0, size), st, id)
	return found, errors.Join(err, f.Close())
}

// AddKeys adds keys to the store's file called name, on disk when it returns.
// The lock must be held. Half a line that a crash left is cut off first.
func (s *Store) AddKeys(name string, number uint64, keys []string) (err error) {
	full := path.Join(s.under, name)
	f, err := s.dir.Open(full)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = s.dir.Create(full, 0o600); err == nil {
			err = s.dir.SyncDir(s.under)
		}
	}
	if f != nil {
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	if err != nil {
		return fmt.Errorf("open %q: %w", full, err)
	}
	if err := cutLine(f); err != nil {
		return fmt.Errorf("cut half a line off %q: %w", full, err)
	}
	var text []byte
	for _, k := range keys {
		text = append(text, strconv.FormatUint(number, 10)+"|"+k+"\n"...)
	}
	if _, err := f.Write(text); err != nil {
		return fmt.Errorf("append to %q: %w", full, err)
	}
	return f.Sync()
}

// cutLine cuts off what stands behind the last line feed. Keys are short, so
// that is near the end.
func cutLine(f *File) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	tail := make([]byte, min(size, 4096))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return err
	}
	good := size - int64(len(tail)) + int64(bytes.LastIndexByte(tail, '\n')) + 1
	if good == size {
		return nil
	}
	return f.Truncate(good)
}
