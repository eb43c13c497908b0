package roster

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/row"
)

func open(t *testing.T, d disk.FS) *Roster {
	t.Helper()
	r, err := Open(d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t *testing.T, d disk.FS, text string) {
	t.Helper()
	if err := disk.Replace(d, "", FileName, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// full says one of everything.
func full(notes map[string]Note) {
	notes["a"] = Note{Streams: map[string]Place{"main": {Paused: true, Start: &row.Position{Seq: 7, Chain: 9}, Was: []string{"b"}}}}
	notes["b"] = Note{Renamed: "a"}
	notes["c"] = Note{Retired: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	notes["nothing"] = Note{Streams: map[string]Place{"main": {}}}
}

func TestSurvivesPowerCut(t *testing.T) {
	mem := disk.NewMem()
	r := open(t, mem)
	if len(r.Notes()) != 0 || !reflect.DeepEqual(r.Place("x", "y"), Place{}) {
		t.Error("an empty directory says something")
	}
	if err := r.Change(full); err != nil {
		t.Fatal(err)
	}
	k := open(t, mem.Crash(1))
	if got := k.Notes(); !reflect.DeepEqual(got, r.Notes()) || len(got) != 3 || k.Damaged() != nil {
		t.Errorf("after a power cut %v, want %v", got, r.Notes())
	}
	if p := k.Place("a", "main"); !p.Paused || *p.Start != (row.Position{Seq: 7, Chain: 9}) || !slices.Equal(p.Was, []string{"b"}) {
		t.Errorf("place is %+v", p)
	}
	k.Note("a").Streams["main"] = Place{} // a copy
	if !k.Place("a", "main").Paused {
		t.Error("what Note returns is not a copy")
	}
}

// TestChangeFails fails each call to the disk: all stays as it was, also after
// a power cut in that moment, or becomes what was asked for.
func TestChangeFails(t *testing.T) {
	for n := 1; ; n++ {
		mem := disk.NewMem()
		if err := open(t, mem).ChangePlace("a", "main", func(p *Place) { p.Paused = true }); err != nil {
			t.Fatal(err)
		}
		f := disk.NewFaulty(mem)
		r := open(t, f)
		f.Fail(disk.Fault{Kind: disk.AnyCall, N: n, Err: syscall.EIO})
		err := r.Change(full)
		if err == nil {
			if n < 4 {
				t.Errorf("only %d calls were met", n-1)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) || !r.Place("a", "main").Paused || r.Place("a", "main").Was != nil {
			t.Errorf("call %d fails: %v, and %+v", n, err, r.Notes())
		}
		k := open(t, mem.Crash(uint64(n)))
		if k.Damaged() != nil || !k.Place("a", "main").Paused {
			t.Errorf("call %d fails, then the power: %+v (%v)", n, k.Notes(), k.Damaged())
		}
		if err := r.Change(full); err != nil {
			t.Errorf("the next change after call %d failed: %v", n, err)
		}
	}
}

func TestDamaged(t *testing.T) {
	mem := disk.NewMem()
	if err := open(t, mem).Change(full); err != nil {
		t.Fatal(err)
	}
	whole, err := disk.ReadFile(mem, FileName, maxFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "cut": string(whole[:len(whole)-3]), "bit": strings.Replace(string(whole), "main", "main2", 1), "garbage": "x\ncrc32c 00000000\n",
	} {
		write(t, mem, text)
		r := open(t, mem)
		if r.Damaged() == nil || len(r.Notes()) != 0 {
			t.Errorf("%s: taken for %v", name, r.Notes())
		}
		if aside, err := disk.ReadFile(mem, asideName, maxFile); err != nil || string(aside) != text {
			t.Errorf("%s: set aside is %q, %v", name, aside, err)
		}
		if err := r.Change(full); err != nil || open(t, mem).Damaged() != nil {
			t.Errorf("%s: afterwards: %v", name, err)
		}
	}
	const newer = `{"version":2,"sinks":{}}` + "\ncrc32c e57ab905\n"
	write(t, mem, newer)
	if _, err := Open(mem); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a newer version: %v", err)
	}
	if text, err := disk.ReadFile(mem, FileName, maxFile); err != nil || string(text) != newer {
		t.Errorf("a newer version was changed: %q, %v", text, err)
	}
}

// TestMissing removes SINKS: that is damage where the streams remember one, by
// every start until there is a new one, however often it crashes before that.
func TestMissing(t *testing.T) {
	mem := disk.NewMem()
	if err := open(t, mem).Change(full); err != nil {
		t.Fatal(err)
	}
	if err := mem.Remove(FileName); err != nil {
		t.Fatal(err)
	}
	if r := open(t, mem); r.Missing([]string{"HOLDS"}) != nil || r.Damaged() != nil || r.Trouble() != "" {
		t.Errorf("one that nobody remembers is missed: %s", r.Trouble())
	}
	for seed := range uint64(20) {
		r := open(t, mem)
		if err := errors.Join(r.Missing([]string{FileName}), r.Missing([]string{FileName})); err != nil || r.Damaged() == nil || !strings.Contains(r.Trouble(), asideName) {
			t.Fatalf("seed %d: %v, %q", seed, err, r.Trouble())
		}
		if seed%2 == 1 {
			if err := r.Assume(full); err != nil {
				t.Fatal(err)
			}
		}
		crashed := mem.Crash(seed)
		again := open(t, crashed)
		if err := again.Missing([]string{FileName}); err != nil || again.Trouble() == "" || seed%2 == 1 && !again.Says() {
			t.Errorf("seed %d: behind a crash: %v, %q, says something: %t", seed, err, again.Trouble(), again.Says())
		}
		if seed%2 == 1 {
			if err := errors.Join(mem.Remove(FileName), mem.Remove(asideName)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestAssume holds that what is assumed on a full disk holds until the end of
// the program, and is told.
func TestAssume(t *testing.T) {
	faulty := disk.NewFaulty(disk.NewMem())
	r := open(t, faulty)
	faulty.Fail(disk.Fault{N: 1, Kind: disk.CallCreate, Err: syscall.ENOSPC, Forever: true})
	if err := errors.Join(r.Missing([]string{FileName}), r.Assume(full)); err != nil || !r.Says() || r.Trouble() == "" {
		t.Errorf("%v, %q", err, r.Trouble())
	}
	faulty.Fail()
	if again := open(t, faulty); again.Missing([]string{FileName}) != nil || again.Damaged() == nil {
		t.Error("the next start does not miss it")
	}
}
