package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// contents returns what a file can hold after a crash, each content as one
// letter per sector, with "-" for zero and "gone" for no file, sorted.
func contents(t *testing.T, m *Mem, name string) []string {
	t.Helper()
	seen := map[string]bool{}
	tried := 0
	for c := range m.Crashes(1 << 20) {
		tried++
		got, err := ReadFile(c, name, 1<<20)
		if errors.Is(err, fs.ErrNotExist) {
			seen["gone"] = true
			continue
		}
		ok(t, err)
		var b strings.Builder
		for at := 0; at < len(got); at += 512 {
			if got[at] == 0 {
				b.WriteByte('-')
			} else {
				b.WriteByte(got[at])
			}
		}
		seen[b.String()] = true
	}
	if tried == 1<<20 {
		t.Fatal("not every crash was tried")
	}
	var all []string
	for c := range seen {
		all = append(all, c)
	}
	slices.Sort(all)
	return all
}

func wantContents(t *testing.T, m *Mem, name string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := contents(t, m, name); !slices.Equal(got, want) {
		t.Fatalf("after a crash %q can hold %q, want %q", name, got, want)
	}
}

func letters(s string) string {
	var b strings.Builder
	for _, c := range s {
		b.WriteString(strings.Repeat(string(c), 8))
	}
	return b.String()
}

func TestNamesAfterCrash(t *testing.T) {
	m := NewMem()
	f := create(t, m, "a", filled('a', 1))
	ok(t, f.Sync())
	wantContents(t, m, "a", "gone", letters("a"))
	ok(t, m.SyncDir(""))
	wantContents(t, m, "a", letters("a"))

	ok(t, m.Rename("a", "b"))
	for c := range m.Crashes(100) {
		_, errA := ReadFile(c, "a", 1<<20)
		_, errB := ReadFile(c, "b", 1<<20)
		if (errA == nil) == (errB == nil) {
			t.Fatalf("a rename is neither done nor undone: %v, %v", errA, errB)
		}
	}
	ok(t, m.SyncDir(""))
	wantContents(t, m, "a", "gone")
	wantContents(t, m, "b", letters("a"))

	ok(t, m.Remove("b"))
	wantContents(t, m, "b", "gone", letters("a"))
	ok(t, m.SyncDir(""))
	wantContents(t, m, "b", "gone")

	ok(t, m.Mkdir("x/y"))
	if _, err := m.Crash(1).List("x/y"); err != nil {
		t.Fatalf("a directory made is not durable: %v", err)
	}
}

func TestRenameAcrossDirectories(t *testing.T) {
	m := NewMem()
	ok(t, m.Mkdir("x"))
	ok(t, create(t, m, "a", filled('a', 1)).Sync())
	ok(t, m.SyncDir(""))
	ok(t, m.Rename("a", "x/a"))
	ok(t, m.SyncDir("x"))
	wantContents(t, m, "x/a", "gone", letters("a"))
	ok(t, m.SyncDir(""))
	wantContents(t, m, "x/a", letters("a"))
}

// TestFileHasOneName holds that a file which was renamed twice stands in one
// place, whichever of the renamings is lost.
func TestFileHasOneName(t *testing.T) {
	m := NewMem()
	ok(t, create(t, m, "a", filled('a', 1)).Sync())
	ok(t, m.SyncDir(""))
	ok(t, m.Rename("a", "b"))
	ok(t, m.Rename("b", "c"))
	states := 0
	for c := range m.Crashes(100) {
		states++
		if got, _ := c.List(""); len(got) != 1 {
			t.Fatalf("after a crash there are %v", got)
		}
	}
	if states != 4 {
		t.Fatalf("tried %d crashes, want 4", states)
	}
}

func TestBytesAfterCrash(t *testing.T) {
	fresh := func(t *testing.T) (*Mem, File) {
		m := NewMem()
		f := create(t, m, "a", filled('a', 1))
		ok(t, f.Sync())
		ok(t, m.SyncDir(""))
		return m, f
	}
	t.Run("each sector of a write is lost or not, by itself", func(t *testing.T) {
		m, f := fresh(t)
		ok(t, f.WriteAt(filled('b', 1), 0))
		var want []string
		for bits := range 256 {
			var b strings.Builder
			for i := range 8 {
				b.WriteByte("ab"[bits>>i&1])
			}
			want = append(want, b.String())
		}
		wantContents(t, m, "a", want...)
		ok(t, f.Sync())
		wantContents(t, m, "a", letters("b"))
	})
	t.Run("size and data get there apart", func(t *testing.T) {
		m, f := fresh(t)
		ok(t, f.WriteAt(filled('b', 1), Align))
		got := contents(t, m, "a")
		for _, want := range []string{letters("a"), letters("a-"), letters("ab"), letters("a") + "bb-bb---"} {
			if !slices.Contains(got, want) {
				t.Errorf("%q never came up", want)
			}
		}
		if len(got) != 1+256 {
			t.Errorf("%d contents, want 257", len(got))
		}
	})
	t.Run("a flushed write covers itself and no other", func(t *testing.T) {
		m, f := fresh(t)
		ok(t, f.WriteAt(filled('b', 1), Align))
		ok(t, f.WriteSyncAt(filled('c', 1), 2*Align))
		for _, c := range contents(t, m, "a") {
			if len(c) != 24 || c[:8] != letters("a") || c[16:] != letters("c") {
				t.Fatalf("after a crash: %q", c)
			}
		}
		if got := contents(t, m, "a"); len(got) != 256 {
			t.Fatalf("%d contents, want 256: the hole before the flushed write is open", len(got))
		}
		ok(t, f.WriteSyncAt(filled('d', 1), Align))
		wantContents(t, m, "a", letters("adc"))
	})
	t.Run("a flushed write settles what it overwrote", func(t *testing.T) {
		m, f := fresh(t)
		ok(t, f.WriteAt(filled('b', 1), 0))
		ok(t, f.WriteSyncAt(filled('c', 1), 0))
		wantContents(t, m, "a", letters("c"))
	})
	t.Run("truncation", func(t *testing.T) {
		m, f := fresh(t)
		ok(t, f.Truncate(1024))
		wantContents(t, m, "a", letters("a"), "aa")
		ok(t, f.Truncate(2048))
		wantContents(t, m, "a", letters("a"), "aa", "aa--")
		ok(t, f.Sync())
		wantContents(t, m, "a", "aa--")
		ok(t, f.Truncate(0))
		ok(t, f.WriteSyncAt(filled('b', 1), Align))
		wantContents(t, m, "a", letters("-b"))
	})
	t.Run("a removed file lives on in its name", func(t *testing.T) {
		m, f := fresh(t)
		ok(t, m.Remove("a"))
		ok(t, f.WriteAt(filled('b', 1), 0))
		ok(t, f.Sync())
		wantContents(t, m, "a", "gone", letters("b"))
	})
}

func TestWriteSyncAtLeavesNothingPending(t *testing.T) {
	m := NewMem()
	f := create(t, m, "a", nil)
	for i := range 100 {
		ok(t, f.WriteSyncAt(filled(byte('a'+i%26), 1), int64(i%10)*Align))
	}
	if n := len(f.(*memFile).n.pending); n != 0 {
		t.Fatalf("%d changes are unflushed after flushed writes alone", n)
	}
}

func TestKill(t *testing.T) {
	m := NewMem()
	create(t, m, "a", filled('a', 1))
	_, err := m.Lock("LOCK")
	ok(t, err)
	k := m.Kill()
	wantFile(t, k, "a", filled('a', 1))
	l, err := k.Lock("LOCK")
	ok(t, err)
	defer l.Close()
	if got := contents(t, k, "a"); !slices.Contains(got, "gone") || !slices.Contains(got, letters("a")) {
		t.Fatalf("a crash after the kill leaves only %q", got)
	}
	f, err := k.Open("a", true)
	ok(t, err)
	defer f.Close()
	ok(t, f.WriteAt(filled('b', 1), 0))
	ok(t, k.Remove("LOCK"))
	wantFile(t, m, "a", filled('a', 1)) // the disk that was killed is another one
	if _, err := m.Lock("LOCK"); !errors.Is(err, ErrLocked) {
		t.Fatalf("the killed process lost its lock: %v", err)
	}
}

func TestCrashIsDeterministic(t *testing.T) {
	history := func() *Mem {
		m := NewMem()
		for i := range 20 {
			f := create(t, m, fmt.Sprint("f", i%7, i), filled(byte(i), 3))
			ok(t, f.WriteAt(filled(byte(100+i), 1), Align))
			ok(t, m.Rename(fmt.Sprint("f", i%7, i), fmt.Sprint("g", i)))
		}
		return m
	}
	dump := func(m *Mem) string {
		var b strings.Builder
		list, err := m.List("")
		ok(t, err)
		for _, e := range list {
			content, err := ReadFile(m, e.Name, 1<<20)
			ok(t, err)
			fmt.Fprintf(&b, "%s %x\n", e.Name, content)
		}
		return b.String()
	}
	distinct := map[string]bool{}
	for seed := range uint64(50) {
		one, two := dump(history().Crash(seed)), dump(history().Crash(seed))
		if one != two {
			t.Fatalf("seed %d gives two disks", seed)
		}
		distinct[one] = true
	}
	if len(distinct) < 25 {
		t.Fatalf("50 seeds give only %d disks", len(distinct))
	}
}

func TestQuota(t *testing.T) {
	m := NewMem()
	m.SetQuota(4*Align, 2)
	f := create(t, m, "a", filled('a', 2))
	wantErr(t, "write beyond the quota", f.WriteAt(filled('b', 3), 2*Align), syscall.ENOSPC)
	wantFile(t, m, "a", slices.Concat(filled('a', 2), filled('b', 2)))
	ok(t, f.WriteAt(filled('c', 4), 0)) // overwriting takes no room
	if s, _ := m.Space(); s.Total != 4*Align || s.Free != 0 {
		t.Fatalf("room is %+v", s)
	}
	create(t, m, "b", nil)
	_, err := m.Create("c")
	wantErr(t, "create beyond the quota", err, syscall.ENOSPC)
	wantErr(t, "make a directory beyond the quota", m.Mkdir("d"), syscall.ENOSPC)
	ok(t, m.Remove("a"))
	g, err := m.Open("b", true)
	ok(t, err)
	defer g.Close()
	wantErr(t, "write while the removed file is open", g.WriteAt(filled('d', 1), 0), syscall.ENOSPC)
	ok(t, f.Close())
	ok(t, g.WriteAt(filled('d', 4), 0))
	ok(t, g.Truncate(Align))
	for what, c := range map[string]*Mem{"crash": m.CrashBy(&odometer{}), "kill": m.Kill(), "now": m} {
		s, _ := c.Space()
		if want := map[string]int64{"crash": 4, "kill": 3, "now": 3}[what]; s.Free != want*Align {
			t.Errorf("%s: %d bytes are free, want %d pages", what, s.Free, want)
		}
	}
}

func TestAlignmentIsHeld(t *testing.T) {
	m := NewMem()
	f := create(t, m, "a", filled('a', 2))
	p := Buffer(2 * Align)
	wantErr(t, "odd offset", f.WriteAt(p[:Align], 512), syscall.EINVAL)
	wantErr(t, "odd length", f.WriteAt(p[:512], 0), syscall.EINVAL)
	wantErr(t, "odd buffer", f.WriteSyncAt(p[512:512+Align], 0), syscall.EINVAL)
	_, err := f.ReadAt(p[:100], 0)
	wantErr(t, "odd read", err, syscall.EINVAL)
}

// TestFailedFlushLies holds the model to what Linux was measured to do: the
// second flush succeeds, the cache has the new bytes, the platter the old.
func TestFailedFlushLies(t *testing.T) {
	for _, c := range []struct {
		name     string
		buffered bool
		sync     bool
		shows    []byte
	}{
		{"sync, direct", false, true, filled('a', 1)},
		{"sync, buffered", true, true, filled('b', 1)},
		{"write and sync, direct", false, false, filled('a', 1)},
		{"write and sync, buffered", true, false, filled('b', 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := NewMem()
			m.SetBuffered(c.buffered)
			d := NewFaulty(m)
			f := create(t, d, "a", filled('a', 1))
			ok(t, f.Sync())
			ok(t, d.SyncDir(""))
			if c.sync {
				ok(t, f.WriteAt(filled('b', 1), 0))
				d.Fail(Fault{Kind: CallSync, N: 1, Err: syscall.EIO})
				wantErr(t, "first flush", f.Sync(), syscall.EIO)
			} else {
				d.Fail(Fault{Kind: CallWriteSync, N: 1, Err: syscall.EIO})
				wantErr(t, "flushed write", f.WriteSyncAt(filled('b', 1), 0), syscall.EIO)
			}
			ok(t, f.Sync()) // it lies
			wantFile(t, d, "a", c.shows)
			wantFile(t, m.Kill(), "a", c.shows)
			wantContents(t, m, "a", letters("a"))
		})
	}
}

func TestFaults(t *testing.T) {
	t.Run("behind the writer", func(t *testing.T) {
		m := NewMem()
		d := NewFaulty(m)
		f := create(t, d, "a", filled('a', 1))
		ok(t, f.Sync())
		ok(t, d.SyncDir(""))
		d.Fail(Fault{Kind: CallWrite, N: 1, Err: syscall.EIO, Behind: true})
		ok(t, f.WriteAt(filled('b', 1), 0))
		other, err := d.Open("a", true)
		ok(t, err)
		defer other.Close()
		ok(t, other.Sync()) // nobody tells it
		wantErr(t, "flush by who wrote", f.Sync(), syscall.EIO)
		ok(t, f.Sync()) // it was told
		wantFile(t, m.Crash(1), "a", filled('a', 1))
	})
	t.Run("once, of any kind", func(t *testing.T) {
		d := NewFaulty(NewMem())
		d.Fail(Fault{N: 2, Err: syscall.EMFILE})
		f, err := d.Create("a")
		ok(t, err)
		defer f.Close()
		_, err = d.Open("a", false)
		wantErr(t, "second call", err, syscall.EMFILE)
		r, err := d.Open("a", false)
		ok(t, err)
		ok(t, r.Close())
		if d.Count(AnyCall) != 4 || d.Count(CallOpen) != 2 || d.Count(CallSync) != 0 {
			t.Fatalf("counted %d calls, %d opens", d.Count(AnyCall), d.Count(CallOpen))
		}
	})
	t.Run("for good, and healed", func(t *testing.T) {
		d := NewFaulty(NewMem())
		f := create(t, d, "a", filled('a', 1))
		d.Fail(Fault{Kind: CallWrite, N: 2, Err: syscall.EROFS, Forever: true})
		ok(t, f.WriteAt(filled('b', 1), 0))
		for range 3 {
			wantErr(t, "write", f.WriteAt(filled('c', 1), 0), syscall.EROFS)
		}
		wantFile(t, d, "a", filled('b', 1))
		d.Fail()
		ok(t, f.WriteAt(filled('d', 1), 0))
	})
	t.Run("short", func(t *testing.T) {
		d := NewFaulty(NewMem())
		f := create(t, d, "a", filled('a', 3))
		d.Fail(Fault{Kind: CallWrite, N: 1, Err: syscall.ENOSPC, Short: Align}, Fault{Kind: CallWriteSync, N: 1, Err: syscall.ENOSPC, Short: Align})
		wantErr(t, "write", f.WriteAt(filled('b', 3), 0), syscall.ENOSPC)
		wantFile(t, d, "a", slices.Concat(filled('b', 1), filled('a', 2)))
		wantErr(t, "flushed write", f.WriteSyncAt(filled('c', 2), Align), syscall.ENOSPC)
		wantFile(t, d, "a", slices.Concat(filled('b', 1), filled('c', 1), filled('a', 1)))
	})
	t.Run("late", func(t *testing.T) {
		m := NewMem()
		d := NewFaulty(m)
		f := create(t, d, "a", nil)
		ok(t, m.SyncDir(""))
		d.Fail(Fault{Kind: CallWriteSync, N: 1, Err: syscall.EIO, Late: true})
		wantErr(t, "flushed write", f.WriteSyncAt(filled('b', 1), 0), syscall.EIO)
		wantContents(t, m, "a", letters("b"))
	})
	t.Run("in a tree below, with a slow flush", func(t *testing.T) {
		d := NewFaulty(NewMem())
		ok(t, d.Mkdir("x"))
		sub, err := d.Sub("x")
		ok(t, err)
		f := create(t, sub, "a", filled('a', 1))
		gate, done := make(chan struct{}), make(chan error)
		d.OnCall(func(c Call) {
			if c == (Call{CallSync, "a"}) {
				<-gate
			}
		})
		go func() { done <- f.Sync() }()
		select {
		case err := <-done:
			t.Fatalf("the flush did not wait: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		_, err = sub.List("") // others go on meanwhile
		ok(t, err)
		close(gate)
		ok(t, <-done)
		d.Fail(Fault{Kind: CallSyncDir, N: 1, Err: syscall.EIO})
		wantErr(t, "flush the directory", sub.SyncDir(""), syscall.EIO)
	})
}

// TestReplaceSurvives cuts the power after every call of Replace, and makes
// every call fail, in every way: there is the old content or the new one, and
// no nil where the new one could be lost.
func TestReplaceSurvives(t *testing.T) {
	before, after := []byte("old content"), bytes.Repeat([]byte("n"), 700)
	setup := func() (*Mem, *Faulty) {
		m := NewMem()
		ok(t, m.Mkdir("x"))
		ok(t, Replace(m, "x", "x/a", before))
		return m, NewFaulty(m)
	}
	_, d := setup()
	ok(t, Replace(d, "x", "x/a", after))
	calls := d.Count(AnyCall)
	check := func(t *testing.T, m *Mem, replaced error) {
		states := 0
		for c := range m.Crashes(1 << 16) {
			states++
			got, err := ReadFile(c, "x/a", 1<<20)
			ok(t, err)
			if !bytes.Equal(got, after) && (replaced == nil || !bytes.Equal(got, before)) {
				t.Fatalf("Replace returned %v; after a crash there are %d bytes", replaced, len(got))
			}
		}
		if states == 1<<16 {
			t.Fatal("not every crash was tried")
		}
	}
	for n := 1; n <= calls; n++ {
		for _, fault := range []Fault{
			{N: n, Err: syscall.EIO}, {N: n, Err: syscall.ENOSPC, Forever: true}, {N: n, Err: syscall.EIO, Late: true},
			{N: n, Err: syscall.EROFS, Late: true, Forever: true},
		} {
			t.Run(fmt.Sprintf("%+v", fault), func(t *testing.T) {
				m, d := setup()
				d.Fail(fault)
				err := Replace(d, "x", "x/a", after)
				if err == nil && n > 1 { // the first call removes what is not there
					t.Fatal("a failed call went unnoticed")
				}
				check(t, m, err)
			})
		}
		t.Run(fmt.Sprintf("crash before call %d", n), func(t *testing.T) {
			m, d := setup()
			at := 0
			d.OnCall(func(Call) {
				if at++; at == n {
					check(t, m, errors.New("not done yet"))
				}
			})
			ok(t, Replace(d, "x", "x/a", after))
			check(t, m, nil)
		})
	}
}

// TestReplaceKeepsTheOld holds that a flush or a rename which fails leaves
// the old content, and none but it.
func TestReplaceKeepsTheOld(t *testing.T) {
	for _, kind := range []Kind{CallCreate, CallWrite, CallTruncate, CallSync, CallClose, CallRename} {
		m := NewMem()
		d := NewFaulty(m)
		ok(t, Replace(d, "", "a", []byte("old")))
		d.Fail(Fault{Kind: kind, N: 1, Err: syscall.EIO})
		wantErr(t, string(kind), Replace(d, "", "a", []byte("new")), syscall.EIO)
		for c := range m.Crashes(1 << 16) {
			wantFile(t, c, "a", []byte("old"))
		}
		wantFile(t, d, "a", []byte("old"))
		if list, _ := d.List(""); len(list) != 1 {
			t.Fatalf("%s failed and left %v behind", kind, list)
		}
		ok(t, Replace(d, "", "a", []byte("new")))
		wantFile(t, d, "a", []byte("new"))
	}
}
