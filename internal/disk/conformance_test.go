package disk

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"testing"
)

// everyFS runs a test against each implementation: what holds for one must
// hold for all, or tests on the disk in memory prove nothing for the real one.
func everyFS(t *testing.T, test func(t *testing.T, d FS)) {
	t.Run("real", func(t *testing.T) {
		d, err := OpenReal(t.TempDir() + "/a/b")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		test(t, d)
	})
	t.Run("real buffered", func(t *testing.T) {
		d, err := OpenBuffered(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		test(t, d)
	})
	t.Run("mem", func(t *testing.T) { test(t, NewMem()) })
	t.Run("mem buffered", func(t *testing.T) {
		m := NewMem()
		m.SetBuffered(true)
		test(t, m)
	})
	t.Run("shadow", func(t *testing.T) { test(t, NewShadow(NewMem())) })
	t.Run("shadow real", func(t *testing.T) {
		d, err := OpenReal(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		test(t, NewShadow(d))
	})
	t.Run("faulty", func(t *testing.T) { test(t, NewFaulty(NewMem())) })
}

// filled returns pages of a byte.
func filled(c byte, pages int) []byte {
	b := Buffer(pages * Align)
	for i := range b {
		b[i] = c
	}
	return b
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, d FS, name string, content []byte) File {
	t.Helper()
	f, err := d.Create(name)
	ok(t, err)
	t.Cleanup(func() { f.Close() })
	if len(content) > 0 {
		ok(t, f.WriteAt(content, 0))
	}
	return f
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: got error %v, want %v", what, err, want)
	}
}

// wantFile checks a file's content up to its size.
func wantFile(t *testing.T, d FS, name string, want []byte) {
	t.Helper()
	got, err := ReadFile(d, name, 1<<20)
	ok(t, err)
	if !bytes.Equal(got, want) {
		t.Fatalf("file %q has %d bytes that differ from the %d wanted", name, len(got), len(want))
	}
}

func TestNames(t *testing.T) {
	everyFS(t, func(t *testing.T, d FS) {
		create(t, d, "a", filled('a', 1))
		_, err := d.Create("a")
		wantErr(t, "create what exists", err, fs.ErrExist)
		_, err = d.Open("b", true)
		wantErr(t, "open what is missing", err, fs.ErrNotExist)
		wantErr(t, "remove what is missing", d.Remove("b"), fs.ErrNotExist)
		wantErr(t, "rename what is missing", d.Rename("b", "c"), fs.ErrNotExist)
		_, err = d.Create("missing/a")
		wantErr(t, "create below what is missing", err, fs.ErrNotExist)
		wantErr(t, "flush what is missing", d.SyncDir("missing"), fs.ErrNotExist)
		for _, name := range []string{"../a", "x/../../a", "/a"} {
			if _, err := d.Open(name, false); err == nil {
				t.Fatalf("%q led out of the tree", name)
			}
		}
		ok(t, d.Mkdir("x/y"))
		ok(t, d.Mkdir("x/y"))
		create(t, d, "x/y/b", filled('b', 2))
		ok(t, d.Rename("a", "x/y/b"))
		wantFile(t, d, "x/y/b", filled('a', 1))
		if err := d.Remove("x/y"); err == nil {
			t.Fatal("removed a directory with a file in it")
		}
		ok(t, d.SyncDir("x/y"))
		ok(t, d.SyncDir(""))
		sub, err := d.Sub("x")
		ok(t, err)
		defer sub.Close()
		wantFile(t, sub, "y/b", filled('a', 1))
		ok(t, sub.Remove("y/b"))
		ok(t, sub.Remove("y"))
		_, err = d.Sub("x/y")
		wantErr(t, "enter what was removed", err, fs.ErrNotExist)
	})
}

func TestList(t *testing.T) {
	everyFS(t, func(t *testing.T, d FS) {
		create(t, d, "c", filled('c', 3))
		create(t, d, "a", nil)
		ok(t, d.Mkdir("b/below"))
		got, err := d.List("")
		ok(t, err)
		for i := range got {
			if got[i].Dir {
				got[i].Size = 0 // what a directory's size is, each file system decides
			}
		}
		want := []Entry{{Name: "a"}, {Name: "b", Dir: true}, {Name: "c", Size: 3 * Align}}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		_, err = d.List("missing")
		wantErr(t, "list what is missing", err, fs.ErrNotExist)
	})
}

func TestBytes(t *testing.T) {
	everyFS(t, func(t *testing.T, d FS) {
		f := create(t, d, "a", filled('a', 2))
		ok(t, f.WriteSyncAt(filled('d', 1), 3*Align))
		want := slices.Concat(filled('a', 2), filled(0, 1), filled('d', 1))
		wantFile(t, d, "a", want)
		ok(t, f.Truncate(100))
		wantFile(t, d, "a", want[:100])
		buf := Buffer(2 * Align)
		if n, err := f.ReadAt(buf, 0); n != 100 || err != io.EOF {
			t.Fatalf("read over the end: %d bytes, error %v", n, err)
		}
		if n, err := f.ReadAt(buf, 8*Align); n != 0 || err != io.EOF {
			t.Fatalf("read behind the end: %d bytes, error %v", n, err)
		}
		ok(t, f.Truncate(2*Align))
		wantFile(t, d, "a", append(filled('a', 1)[:100:100], make([]byte, 2*Align-100)...))
		ok(t, f.Sync())
		if n, err := f.Size(); n != 2*Align || err != nil {
			t.Fatalf("size %d, error %v", n, err)
		}
		r, err := d.Open("a", false)
		ok(t, err)
		if err := r.WriteAt(filled('x', 1), 0); err == nil {
			t.Fatal("wrote through a descriptor for reading")
		}
		ok(t, d.Remove("a"))
		if n, err := r.ReadAt(buf[:Align], 0); n != Align || err != nil {
			t.Fatalf("a removed file that is open: read %d bytes, error %v", n, err)
		}
		ok(t, r.Close())
		if err := r.Close(); err == nil {
			t.Fatal("closed twice without an error")
		}
		if _, err := r.ReadAt(buf, 0); err == nil {
			t.Fatal("read through a closed descriptor")
		}
	})
}

func TestLock(t *testing.T) {
	everyFS(t, func(t *testing.T, d FS) {
		l, err := d.Lock("LOCK")
		ok(t, err)
		if s, shadow := d.(*Shadow); shadow {
			if _, real := s.base.(*Real); real { // several readers may be there
				ok(t, l.Close())
				return
			}
		}
		_, err = d.Lock("LOCK")
		wantErr(t, "lock what is locked", err, ErrLocked)
		other, err := d.Lock("OTHER")
		ok(t, err)
		ok(t, l.Close())
		l, err = d.Lock("LOCK")
		ok(t, err)
		ok(t, l.Close())
		ok(t, other.Close())
	})
}

func TestReadFileIsBounded(t *testing.T) {
	everyFS(t, func(t *testing.T, d FS) {
		create(t, d, "a", filled('a', 2))
		if _, err := ReadFile(d, "a", 2*Align-1); err == nil {
			t.Fatal("read more than the limit")
		}
		_, err := ReadFile(d, "a", 2*Align)
		ok(t, err)
	})
}

func TestSpace(t *testing.T) {
	everyFS(t, func(t *testing.T, d FS) {
		s, err := d.Space()
		ok(t, err)
		if s.Total <= 0 || s.Free <= 0 || s.Free > s.Total {
			t.Fatalf("room is %+v", s)
		}
	})
}

func TestReplaceContent(t *testing.T) {
	everyFS(t, func(t *testing.T, d FS) {
		ok(t, d.Mkdir("x"))
		for _, content := range []string{"", "one", string(filled('p', 3)), "two"} {
			ok(t, Replace(d, "x", "x/a", []byte(content)))
			wantFile(t, d, "x/a", []byte(content))
		}
		create(t, d, "x/a.tmp", filled('z', 1)) // left behind by a crash
		ok(t, Replace(d, "x", "x/a", []byte("three")))
		wantFile(t, d, "x/a", []byte("three"))
		got, err := d.List("x")
		ok(t, err)
		if len(got) != 1 {
			t.Fatalf("left behind: %v", got)
		}
	})
}
