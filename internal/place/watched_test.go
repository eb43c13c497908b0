package place

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/disk"
)

// hang has the calls of some kinds, or of all, wait until letGo is called.
func hang(d *disk.Faulty, kinds ...disk.Kind) (letGo func()) {
	open := make(chan struct{})
	d.OnCall(func(c disk.Call) {
		if len(kinds) == 0 || slices.Contains(kinds, c.Kind) {
			<-open
		}
	})
	return func() { close(open) }
}

// answers waits until a directory is told to answer.
func answers(t *testing.T, d *Watched) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !d.Silent().IsZero(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it answers, and is told not to")
		}
	}
}

// waits has calls of a directory given up after so long.
func waits(d *Watched, most time.Duration) {
	d.w.patience = patience{asks: most, names: most, bytes: most}
}

// page is one page of a byte.
func page(b byte) []byte {
	p := disk.Buffer(disk.Align)
	for i := range p {
		p[i] = b
	}
	return p
}

// TestWatched has each call hang, by itself. It fails after a while and says which
// directory does not answer; what comes after it fails at once; what it did in the
// end is done before anything else is; and the directory is in use again then.
func TestWatched(t *testing.T) {
	calls := map[string]func(d *Watched, f disk.File) error{
		"create":   func(d *Watched, _ disk.File) error { _, err := d.Create("new"); return err },
		"open":     func(d *Watched, _ disk.File) error { _, err := d.Open("old", false); return err },
		"rename":   func(d *Watched, _ disk.File) error { return d.Rename("old", "older") },
		"remove":   func(d *Watched, _ disk.File) error { return d.Remove("old") },
		"mkdir":    func(d *Watched, _ disk.File) error { return d.Mkdir("dir") },
		"list":     func(d *Watched, _ disk.File) error { _, err := d.List(""); return err },
		"syncdir":  func(d *Watched, _ disk.File) error { return d.SyncDir("") },
		"lock":     func(d *Watched, _ disk.File) error { _, err := d.Lock("LOCK"); return err },
		"sub":      func(d *Watched, _ disk.File) error { _, err := d.Sub("sub"); return err },
		"read":     func(_ *Watched, f disk.File) error { _, err := f.ReadAt(page(0), 0); return err },
		"write":    func(_ *Watched, f disk.File) error { return f.WriteAt(page('w'), 0) },
		"flush":    func(_ *Watched, f disk.File) error { return f.WriteSyncAt(page('w'), 0) },
		"sync":     func(_ *Watched, f disk.File) error { return f.Sync() },
		"truncate": func(_ *Watched, f disk.File) error { return f.Truncate(disk.Align) },
		"size":     func(_ *Watched, f disk.File) error { _, err := f.Size(); return err },
		"close":    func(_ *Watched, f disk.File) error { return f.Close() },
	}
	for name, one := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mem := disk.NewMem()
			if err := errors.Join(disk.Replace(mem, "", "old", page('o')), mem.Mkdir("sub")); err != nil {
				t.Fatal(err)
			}
			g := disk.NewFaulty(mem)
			d := watched(g, "/mnt/far", usual)
			f, err := d.Open("old", true)
			if err != nil {
				t.Fatal(err)
			}
			waits(d, 50*time.Millisecond)
			letGo := hang(g)
			for range 2 {
				if err := one(d, f); name == "close" && err == nil {
					break // the second time it is not waited for
				} else if !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), `"/mnt/far" does not answer since`) {
					t.Fatalf("it hangs, and says %v", err)
				}
			}
			if since := d.Silent(); since.IsZero() || time.Since(since) > time.Hour {
				t.Errorf("it hangs since %v", since)
			}
			letGo()
			answers(t, d)
			waits(d, time.Minute)
			if _, err := d.List(""); err != nil {
				t.Errorf("it answers, and is not asked: %v", err)
			}
			if err := d.SyncDir(""); err != nil {
				t.Errorf("it answers, and is not asked: %v", err)
			}
		})
	}
}

// TestWatchedBuffers holds that a call which was given up has nothing of its
// caller's: neither is what it reads put there late, nor what the caller does
// meanwhile written.
func TestWatchedBuffers(t *testing.T) {
	mem := disk.NewMem()
	if err := disk.Replace(mem, "", "old", page('o')); err != nil {
		t.Fatal(err)
	}
	g := disk.NewFaulty(mem)
	d := watched(g, "/mnt/far", usual)
	f, err := d.Open("old", true)
	if err != nil {
		t.Fatal(err)
	}
	waits(d, 50*time.Millisecond)
	letGo := hang(g)
	in, out := page('i'), page('w')
	if _, err := f.ReadAt(in, 0); !errors.Is(err, ErrSilent) {
		t.Fatal(err)
	}
	if err := f.WriteAt(out, 0); !errors.Is(err, ErrSilent) {
		t.Fatal(err)
	}
	copy(out, page('x'))
	letGo()
	answers(t, d)
	if !bytes.Equal(in, page('i')) {
		t.Error("a read that was given up has changed its caller's buffer")
	}
	waits(d, time.Minute)
	if _, err := f.ReadAt(in, 0); err != nil || !bytes.Equal(in, page('w')) {
		t.Errorf("the file has %q..., %v", in[:4], err)
	}
}

// TestWatchedApart holds that where nothing can be changed all can be read, and
// that the room is told as it was last.
func TestWatchedApart(t *testing.T) {
	mem := disk.NewMem()
	g := disk.NewFaulty(mem)
	d := watched(g, "/mnt/far", usual)
	before, err := d.Space()
	if err != nil {
		t.Fatal(err)
	}
	waits(d, 50*time.Millisecond)
	letGo := hang(g, disk.CallMkdir, disk.CallSpace)
	if err := d.Mkdir("dir"); !errors.Is(err, ErrSilent) {
		t.Fatal(err)
	}
	if now, err := d.Space(); err != nil || now != before {
		t.Errorf("the room was %+v, and is told as %+v, %v", before, now, err)
	}
	waits(d, time.Minute)
	if _, err := d.List(""); err != nil {
		t.Errorf("what can be read is not: %v", err)
	}
	if err := d.SyncDir(""); !errors.Is(err, ErrSilent) {
		t.Errorf("one change overtakes another: %v", err)
	}
	letGo()
	answers(t, d)
	if entries, err := d.List(""); err != nil || len(entries) != 1 {
		t.Errorf("what came late was not done: %v, %v", entries, err)
	}
}
