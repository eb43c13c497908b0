package disk

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// readOnly makes every call fail that changes something.
func readOnly(f *Faulty) {
	var plan []Fault
	for _, k := range []Kind{CallCreate, CallRename, CallRemove, CallMkdir, CallWrite, CallWriteSync, CallSync, CallSyncDir, CallTruncate} {
		plan = append(plan, Fault{Kind: k, N: 1, Err: syscall.EROFS, Forever: true})
	}
	f.Fail(plan...)
}

// TestShadow does the same at random to a disk and to the shadow of one with the
// same content, which takes no write: both read alike, and the disk in the
// shadow's place stays as it was.
func TestShadow(t *testing.T) {
	names := []string{"a", "b", "c", "sub/a", "sub/b", "made/a"}
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		plain, below := NewMem(), NewMem()
		for _, d := range []FS{plain, below} {
			ok(t, d.Mkdir("sub"))
			for i, name := range []string{"a", "b", "sub/a"} {
				f := create(t, d, name, filled(byte('a'+i), i+1))
				ok(t, f.Truncate(int64(i)*Align+100))
				ok(t, f.Close())
			}
		}
		before := everything(t, below)
		faulty := NewFaulty(below)
		readOnly(faulty)
		shadow := NewShadow(faulty)
		for step := range 40 {
			name, other := names[rnd.IntN(len(names))], names[rnd.IntN(len(names))]
			kind, page, pages, size := rnd.IntN(6), rnd.Int64N(4), 1+rnd.IntN(3), rnd.Int64N(5*Align)
			c := byte(rnd.IntN(3)) // zeros among them
			do := func(d FS) bool {
				switch kind {
				case 0:
					f, err := d.Create(name)
					return err == nil && f.Close() == nil
				case 1:
					return d.Rename(name, other) == nil
				case 2:
					return d.Remove(name) == nil
				case 3:
					return d.Mkdir("made") == nil
				}
				f, err := d.Open(name, true)
				if err != nil {
					return false
				}
				defer f.Close()
				if kind == 4 {
					return f.Truncate(size) == nil
				}
				return f.WriteAt(filled(c, pages), page*Align) == nil
			}
			if a, b := do(plain), do(shadow); a != b {
				t.Fatalf("seed %d, step %d, %d of %q to %q: %t on a disk, %t in a shadow", seed, step, kind, name, other, a, b)
			}
			if a, b := everything(t, plain), everything(t, shadow); a != b {
				t.Fatalf("seed %d, step %d, %d of %q to %q: a disk has\n%s\na shadow\n%s", seed, step, kind, name, other, a, b)
			}
		}
		faulty.Fail()
		if after := everything(t, below); after != before || len(faulty.Failed()) > 0 {
			t.Fatalf("seed %d: the disk in the shadow's place was written to: %v", seed, faulty.Failed())
		}
	}
}

// everything is what a tree has, in words.
func everything(t *testing.T, d FS) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{"", "sub", "made"} {
		sub, err := d.Sub(dir)
		if dir == "" {
			sub, err = d, nil
		}
		if err != nil {
			all.WriteString("no " + dir + "\n")
			continue
		}
		entries, err := sub.List("")
		ok(t, err)
		for _, e := range entries {
			all.WriteString(dir + "/" + e.Name)
			if e.Dir {
				all.WriteString(" dir\n")
				continue
			}
			text, err := ReadFile(sub, e.Name, 1<<20)
			ok(t, err)
			if int64(len(text)) != e.Size {
				t.Errorf("%s/%s has %d bytes, and %d in the list", dir, e.Name, len(text), e.Size)
			}
			for len(text) > 0 { // runs of one byte
				n := slices.IndexFunc(text, func(c byte) bool { return c != text[0] })
				if n < 0 {
					n = len(text)
				}
				all.WriteString(" " + string(rune('0'+text[0])) + "x" + strings.Repeat("#", n/Align) + string(rune('A'+n%Align)))
				text = text[n:]
			}
			all.WriteByte('\n')
		}
	}
	return all.String()
}

// TestShadowLock holds that readers stay out as long as a writer is there, and a
// writer as long as readers are; and that none of them needs a lock file.
func TestShadowLock(t *testing.T) {
	dir := t.TempDir()
	open := func() *Real {
		d, err := OpenReal(dir)
		ok(t, err)
		t.Cleanup(func() { d.Close() })
		return d
	}
	one, two := NewShadow(open()), NewShadow(open())
	l, err := one.Lock("LOCK")
	ok(t, err)
	ok(t, l.Close())
	if all, err := one.List(""); err != nil || len(all) != 0 {
		t.Errorf("a lock file was made: %v, %v", all, err)
	}
	w, err := open().Lock("LOCK")
	ok(t, err)
	_, err = one.Lock("LOCK")
	wantErr(t, "read beside a writer", err, ErrLocked)
	ok(t, w.Close())
	var readers []io.Closer
	for _, d := range []FS{one, two} {
		l, err := d.Lock("LOCK")
		ok(t, err)
		readers = append(readers, l)
	}
	_, err = open().Lock("LOCK")
	wantErr(t, "write beside readers", err, ErrLocked)
	ok(t, errors.Join(readers[0].Close(), readers[1].Close()))
}
