package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/row"
	"holdfast/sink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var id = sink.ID{StreamID: "id", Stream: "main", Sink: "one"}

func mustOpen(t *testing.T, path string, w Watch) (*Dir, *Store) {
	t.Helper()
	d, err := OpenDir(path, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, NewStore(d, ".own")
}

func mustLock(t *testing.T, s *Store) *Lock {
	t.Helper()
	l, err := s.Lock(context.Background(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLock holds that one has it at a time, that the others wait and give up,
// and that a mark stays until it is settled.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	_, a := mustOpen(t, dir, Watch{})
	_, b := mustOpen(t, dir, Watch{})
	l := mustLock(t, a)
	if l.Interrupted {
		t.Error("a new lock has a mark")
	}
	if _, err := b.Lock(context.Background(), time.Millisecond); err == nil || !strings.Contains(err.Error(), "another process has held it") {
		t.Errorf("a second lock gave %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.Lock(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a lock that nobody waits for any more gave %v", err)
	}
	got := make(chan *Lock)
	go func() {
		l, err := b.Lock(context.Background(), time.Minute)
		if err != nil {
			t.Error(err)
		}
		got <- l
	}()
	if err := errors.Join(l.Begin(), l.Begin(), l.Unlock()); err != nil {
		t.Fatal(err)
	}
	l = <-got
	if !l.Interrupted {
		t.Error("the mark of who went without settling is gone")
	}
	if err := errors.Join(l.Settle(), l.Settle(), l.Unlock()); err != nil {
		t.Fatal(err)
	}
	if l = mustLock(t, a); l.Interrupted {
		t.Error("a settled lock has a mark")
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
}

// TestLockRemoved holds that the lock of a file that was removed keeps nobody
// off, and is not taken for one.
func TestLockRemoved(t *testing.T) {
	dir := t.TempDir()
	_, a := mustOpen(t, dir, Watch{})
	l := mustLock(t, a)
	if err := os.RemoveAll(filepath.Join(dir, ".own")); err != nil {
		t.Fatal(err)
	}
	second := mustLock(t, a)
	if err := errors.Join(l.Unlock(), second.Unlock()); err != nil {
		t.Fatal(err)
	}
}

// TestDoubtful fails the flush of the directory behind a rename. The new state
// can be read, but counts only once it is certainly on disk.
func TestDoubtful(t *testing.T) {
	for _, op := range []Op{OpRename, OpSyncDir} {
		broken, syncs := false, 0
		_, s := mustOpen(t, t.TempDir(), Watch{
			Before: func(o Op, _ string) (int, error) {
				if broken && o == op {
					return 0, errors.New("injected")
				}
				return 0, nil
			},
			After: func(o Op, name string) {
				if o == OpSyncDir && name == ".own" {
					syncs++
				}
			},
		})
		l := mustLock(t, s)
		st := &State{}
		st.Attach(id, "a", row.Position{Seq: 1}, nil)
		if err := s.Replace(st); err != nil {
			t.Fatal(err)
		}
		st.Find(id).Set(row.Position{Seq: 2})
		broken = true
		if err := s.Replace(st); !errors.Is(err, sink.ErrDoubtful) {
			t.Fatalf("%s: Replace gave %v, want a doubt", op, err)
		}
		if got, err := s.Load(); err == nil {
			t.Fatalf("%s: what is not on disk was read as %+v", op, got.Find(id))
		}
		broken = false
		before := syncs
		got, err := s.Load()
		if err != nil || syncs != before+1 {
			t.Fatalf("%s: Load gave %v, and the directory was flushed %d times, want once", op, err, syncs-before)
		}
		if want := map[Op]uint64{OpRename: 1, OpSyncDir: 2}[op]; got.Find(id).Seq != want {
			t.Errorf("%s: the cursor stands at %d, want %d", op, got.Find(id).Seq, want)
		}
		if _, err := s.Load(); err != nil || syncs != before+1 {
			t.Errorf("%s: a second Load flushed again, or gave %v", op, err)
		}
		if err := l.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReplaceFails fails each operation in front of the rename: the old state
// stands, and nothing is in doubt.
func TestReplaceFails(t *testing.T) {
	for _, op := range []Op{OpCreate, OpWrite, OpSync} {
		broken := false
		_, s := mustOpen(t, t.TempDir(), Watch{Before: func(o Op, _ string) (int, error) {
			if broken && o == op {
				return 5, errors.New("injected")
			}
			return 0, nil
		}})
		l := mustLock(t, s)
		st := &State{}
		st.Attach(id, "a", row.Position{Seq: 1}, nil)
		if err := s.Replace(st); err != nil {
			t.Fatal(err)
		}
		st.Find(id).Set(row.Position{Seq: 2})
		broken = true
		if err := s.Replace(st); err == nil || errors.Is(err, sink.ErrDoubtful) {
			t.Errorf("%s: Replace gave %v", op, err)
		}
		broken = false
		if got, err := s.Load(); err != nil || got.Find(id).Seq != 1 {
			t.Errorf("%s: the state is %+v, %v", op, got, err)
		}
		if err := errors.Join(s.Replace(st), l.Unlock()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNames holds that nothing leads out of a Dir, and that what is no regular
// file is not opened.
func TestNames(t *testing.T) {
	above := t.TempDir()
	dir := filepath.Join(above, "dir")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(above, "secret"), nil, 0o600),
		os.Symlink("../secret", filepath.Join(dir, "link")), os.Mkdir(filepath.Join(dir, "sub"), 0o700)); err != nil {
		t.Fatal(err)
	}
	d, _ := mustOpen(t, dir, Watch{})
	for _, name := range []string{"link", "../secret", "sub", "/etc/passwd"} {
		if f, err := d.Open(name); err == nil {
			t.Errorf("%q was opened", name)
			f.Close()
		}
	}
	if _, err := d.ReadFile("link", 10); err == nil {
		t.Error("a link that leads out was read")
	}
	if err := d.MakeDirs("../new/er", 0o700); err == nil {
		t.Error("a directory was made outside")
	}
}

// TestKeys holds that keys belong to who noted them through a rename and a
// retirement, and that half a key is none.
func TestKeys(t *testing.T) {
	dir := t.TempDir()
	_, s := mustOpen(t, dir, Watch{})
	l := mustLock(t, s)
	defer l.Unlock()
	st := &State{}
	st.Attach(id, "a", row.Position{}, nil)
	other := sink.ID{StreamID: "id", Sink: "other"}
	st.Attach(other, "a", row.Position{}, nil)
	if err := errors.Join(s.AddKeys("keys", st.Number(id), []string{"1", "22"}), s.AddKeys("keys", st.Number(other), []string{"3"})); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".own", "keys"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("1|4"); err != nil { // of 44, when the power went
		t.Fatal(err)
	}
	f.Close()
	want := func(id sink.ID, keys ...string) {
		t.Helper()
		had, err := s.ReadKeys("keys", st, id)
		var got []string
		for k := range had {
			got = append(got, k)
		}
		if slices.Sort(got); err != nil || !slices.Equal(got, keys) {
			t.Errorf("%s has keys %q, %v, want %q", id.Sink, got, err, keys)
		}
	}
	want(id, "1", "22")
	want(other, "3")
	if err := s.AddKeys("keys", st.Number(id), []string{"5"}); err != nil {
		t.Fatal(err)
	}
	want(id, "1", "22", "5")
	if err := st.Rename(id, "other"); err == nil {
		t.Error("a name that is taken was given")
	}
	if !st.Retire(other) || st.Retire(other) {
		t.Error("a cursor is retired once")
	}
	if err := st.Rename(id, "other"); err != nil {
		t.Fatal(err)
	}
	want(other, "1", "22", "3", "5")
	want(id)
	if err := st.Rename(id, "third"); !errors.Is(err, sink.ErrNoCursor) {
		t.Errorf("a cursor that is not there was renamed: %v", err)
	}
}
