// Package coldtest holds what keeps a cold tier against what it promises.
package coldtest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"holdfast/internal/cold"
	"holdfast/internal/fault"
)

// Conform holds a store against what Store promises. made returns an empty one
// that takes size bytes.
func Conform(t *testing.T, made func(t *testing.T, size int64) cold.Store) {
	put := func(s cold.Store, name string, replace bool, content []byte) error {
		return s.Put(name, replace, func(w io.Writer) error {
			for part := range slices.Chunk(content, 5000) {
				if _, err := w.Write(part); err != nil {
					return err
				}
			}
			return nil
		})
	}
	has := func(t *testing.T, s cold.Store, name string, want []byte) {
		t.Helper()
		f, err := s.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		size, err := f.Size()
		if err != nil || size != int64(len(want)) {
			t.Fatalf("%q has %d bytes, and should have %d: %v", name, size, len(want), err)
		}
		got, err := io.ReadAll(io.NewSectionReader(f, 0, size))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q is not what was put: %v", name, err)
		}
		for range 20 {
			off := rand.N(int64(len(want)) + 1)
			p := make([]byte, rand.N(9000))
			n, err := f.ReadAt(p, off)
			if !bytes.Equal(p[:n], want[off:min(int64(len(want)), off+int64(len(p)))]) || n < len(p) && !errors.Is(err, io.EOF) {
				t.Fatalf("%d bytes at %d of %d are read as %d: %v", len(p), off, len(want), n, err)
			}
		}
	}
	t.Run("put", func(t *testing.T) {
		s := made(t, 0)
		for _, n := range []int{1, 4095, 4096, 4097, 3 << 20} {
			content := bytes.Repeat([]byte{byte(n), 7, 1}, n)[:n]
			if err := put(s, "a", true, content); err != nil {
				t.Fatal(err)
			}
			has(t, s, "a", content)
		}
		if used, _, err := s.Used(); err != nil || used != 0 && used < 3<<20 || s.Where() == "" {
			t.Errorf("%d bytes are used: %v", used, err)
		}
	})
	t.Run("taken", func(t *testing.T) {
		s := made(t, 0)
		if err := errors.Join(put(s, "a", false, []byte("one"))); err != nil {
			t.Fatal(err)
		}
		if err := put(s, "a", false, []byte("two")); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("a name is taken twice: %v", err)
		}
		has(t, s, "a", []byte("one"))
	})
	t.Run("missing", func(t *testing.T) {
		if _, err := made(t, 0).Open("a"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("what is not there opens: %v", err)
		}
	})
	t.Run("unfinished", func(t *testing.T) {
		s := made(t, 0)
		why := errors.New("no more to read")
		err := s.Put("a", true, func(w io.Writer) error {
			_, err := w.Write(make([]byte, 3<<20))
			return errors.Join(err, why)
		})
		if !errors.Is(err, why) || errors.Is(err, cold.ErrAway) {
			t.Fatalf("the store is blamed: %v", err)
		}
		if _, err := s.Open("a"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("half a file is there: %v", err)
		}
	})
	t.Run("full", func(t *testing.T) {
		s := made(t, 10000)
		if err := put(s, "a", true, make([]byte, 9000)); err != nil {
			t.Fatal(err)
		}
		if err := put(s, "b", true, make([]byte, 2000)); !errors.Is(err, cold.ErrAway) || fault.Code(err) != fault.DiskFull {
			t.Fatalf("a full store takes more: %v", err)
		}
		if _, err := s.Open("b"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal("half a file is there")
		}
		if err := put(s, "a", true, make([]byte, 9500)); err != nil {
			t.Fatalf("what is replaced counts twice: %v", err)
		}
	})
}
