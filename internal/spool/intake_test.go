package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// newIntake makes a pair of directories whose link leads to the first.
func newIntake(t *testing.T) *Intake {
	t.Helper()
	top := t.TempDir()
	in := &Intake{Link: filepath.Join(top, "intake"), Partitions: [2]Partition{{Dir: filepath.Join(top, "a")}, {Dir: filepath.Join(top, "b")}}}
	for _, p := range in.Partitions {
		if err := os.Mkdir(p.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Open(); err != nil {
		t.Fatal(err)
	}
	return in
}

// TestSwitch holds that a switch gives the other directory what writers need, leads the
// link there, and that nothing but the link remembers it.
func TestSwitch(t *testing.T) {
	in := newIntake(t)
	a, b := in.Partitions[0].Dir, in.Partitions[1].Dir
	for _, dir := range []string{"acc", "calls", "calls/2026-11-21", ".hidden", "bad", "lost+found"} {
		if err := os.Mkdir(filepath.Join(a, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(a, 0o770|os.ModeSetgid), os.Chmod(filepath.Join(a, "acc"), 0o750|os.ModeSetgid), os.WriteFile(in.Link+".x", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	// What a switch that was cut off leaves behind.
	if err := os.Symlink("/nowhere", filepath.Join(filepath.Dir(in.Link), ".intake.switch")); err != nil {
		t.Fatal(err)
	}
	from, to, err := in.Switch()
	if err != nil || from != a || to != b {
		t.Fatalf("%q, %q, %v", from, to, err)
	}
	again := Intake{Link: in.Link, Partitions: in.Partitions}
	if now, err := again.Current(); now != 1 || err != nil {
		t.Errorf("the link leads to %d, %v", now, err)
	}
	if err := again.Open(); err != nil {
		t.Errorf("opened again: %v", err)
	}
	for name, mode := range map[string]os.FileMode{"": 0o770 | os.ModeSetgid, "acc": 0o750 | os.ModeSetgid, "calls": 0o755} {
		if info, err := os.Stat(filepath.Join(b, name)); err != nil || info.Mode() != mode|os.ModeDir {
			t.Errorf("%q: %v, %v", name, info.Mode(), err)
		}
	}
	entries, err := os.ReadDir(b)
	if err != nil || len(entries) != 2 {
		t.Errorf("the spare has %v, %v", entries, err)
	}
	if _, to, err := again.Switch(); err != nil || to != a {
		t.Errorf("back: %q, %v", to, err)
	}
}

// TestNoSwitch holds that nothing is changed where a switch cannot be made.
func TestNoSwitch(t *testing.T) {
	for name, spoil := range map[string]func(in *Intake) error{
		"not mounted":       func(in *Intake) error { in.Partitions[1].Mounted = true; return nil },
		"not there":         func(in *Intake) error { return os.Remove(in.Partitions[1].Dir) },
		"open to everybody": func(in *Intake) error { return os.Chmod(in.Partitions[0].Dir, 0o777) },
		"a file in the way": func(in *Intake) error {
			return errors.Join(os.Mkdir(filepath.Join(in.Partitions[0].Dir, "acc"), 0o700), os.WriteFile(filepath.Join(in.Partitions[1].Dir, "acc"), nil, 0o600))
		},
		"a link in the way": func(in *Intake) error {
			return errors.Join(os.Mkdir(filepath.Join(in.Partitions[0].Dir, "acc"), 0o700), os.Symlink("/tmp", filepath.Join(in.Partitions[1].Dir, "acc")))
		},
	} {
		in := newIntake(t)
		if err := spoil(in); err != nil {
			t.Fatal(err)
		}
		if _, _, err := in.Switch(); err == nil {
			t.Errorf("%s: switched", name)
		}
		if now, err := in.Current(); now != 0 || err != nil {
			t.Errorf("%s: the link leads to %d, %v", name, now, err)
		}
	}
	in := newIntake(t)
	if err := errors.Join(os.Remove(in.Link), os.Symlink("/tmp", in.Link)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := in.Switch(); err == nil || in.Open() == nil {
		t.Error("a link that leads elsewhere is taken")
	}
	if err := errors.Join(os.Remove(in.Link), os.WriteFile(in.Link, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := in.Switch(); err == nil || in.Open() == nil {
		t.Error("a file is taken for a link")
	}
}

// TestLook holds what counts as left in a partition.
func TestLook(t *testing.T) {
	for _, tt := range []struct {
		file    string
		maildir bool
		want    Leftover
	}{
		{"acc/1", false, Leftover{Waiting: 1}},
		{"1", false, Leftover{Waiting: 1}},
		{"acc/2026/11/1", false, Leftover{Waiting: 1}},
		{"acc/1.tmp", false, Leftover{Unfinished: 1}},
		{"acc/.1", false, Leftover{Unfinished: 1}},
		{".hidden/1", false, Leftover{Unfinished: 1}},
		{"bad/acc/1.why", false, Leftover{Bad: 1}},
		{"lost+found/#12", false, Leftover{Unfinished: 1}},
		{"acc/new/1", true, Leftover{Waiting: 1}},
		{"acc/tmp/1", true, Leftover{Unfinished: 1}},
		{"acc/cur/1", true, Leftover{Unfinished: 1}},
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, tt.file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, nil, 0o600), os.Symlink("/nowhere", filepath.Join(dir, "bad.tmp"))); err != nil {
			t.Fatal(err)
		}
		tt.want.Unfinished++ // the link
		got, err := Look(dir, tt.maildir)
		names := got.Names
		if got.Names = nil; err != nil || got.Waiting != tt.want.Waiting || got.Unfinished != tt.want.Unfinished || got.Bad != tt.want.Bad || got.None() {
			t.Errorf("%s: %+v, %v", tt.file, got, err)
		}
		if slices.Sort(names); len(names) != 2 || !slices.Contains(names, tt.file) {
			t.Errorf("%s: %q", tt.file, names)
		}
	}
	if l, err := Look(t.TempDir(), false); err != nil || !l.None() {
		t.Errorf("nothing: %+v, %v", l, err)
	}
	if _, err := Look(filepath.Join(t.TempDir(), "no"), false); err == nil {
		t.Error("what is not there is empty")
	}
}

// TestAway holds that a partition which takes no new files may be away, rests when it
// is drained, and is read at once when it is woken.
func TestAway(t *testing.T) {
	intake := true
	b := newBench(t, Options{Intake: func() bool { return intake }})
	b.put("acc/1", "{\"a\":1}")
	b.round()
	intake = false
	if b.round(); b.s.pause() != restPoll || b.s.Status().State != Following {
		t.Errorf("it rests for %s, and is %s", b.s.pause(), b.s.Status().State)
	}
	b.s.o.Mounted = true // nothing is mounted there
	if b.round(); b.s.Status().State != Away || b.s.Status().Error != "" {
		t.Errorf("%+v", b.s.Status())
	}
	if intake = true; b.s.round(t.Context()) == nil {
		t.Error("the intake may be away")
	}
	if _, err := Start(b.s.o); err == nil {
		t.Error("it starts with an intake that is not mounted")
	}
	intake = false
	s, err := Start(b.s.o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for end := time.Now().Add(time.Minute); s.Status().State != Away; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", s.Status())
		}
	}
	s.Wake()
}
