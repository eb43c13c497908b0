package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/inode"
)

// TestRandomCrashes puts files in at random and kills the spool around its
// commits, with what a disk may have kept of its list, and with some of
// its files removed: each row is stored exactly once.
func TestRandomCrashes(t *testing.T) {
	seeds := uint64(6)
	if os.Getenv("HOLDFAST_LONG") != "" {
		seeds = 3000
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomCrashes(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func randomCrashes(t *testing.T, r *rand.Rand) {
	b := newBench(t, Options{})
	b.s.most = 1 + r.IntN(4) // so that one is read while another is stored
	killed := errors.New("killed")
	var want []string
	in := map[string]string{} // the first row of a file
	for next := range 60 {
		for i := range 1 + r.IntN(4) {
			table := []string{"acc", "calls"}[r.IntN(2)]
			value := fmt.Sprintf("%d-%d", next, i)
			name := fmt.Sprintf("%s/%d/%d", table, r.IntN(3), r.Uint32())
			b.put(name, fmt.Sprintf("{\"a\":%q}\n{\"a\":\"%s+\"}\n", value, value))
			in[name] = table + "|" + value
			want = append(want, table+"|"+value, table+"|"+value+"+")
		}
		fail := func() error { return killed }
		switch r.IntN(4) {
		case 0:
			b.round()
			continue
		case 1:
			b.store.before = fail
		case 2:
			b.store.after = fail
		case 3: // it is stored, and some of its files are removed
			b.store.after = func() error {
				for _, name := range b.left() {
					if slices.Contains(b.store.rows, in[name]) && r.IntN(2) == 0 {
						if err := os.Remove(b.path(name)); err != nil {
							return err
						}
					}
				}
				return killed
			}
		}
		if err := b.s.round(t.Context()); err != nil && !errors.Is(err, killed) {
			t.Fatal(err)
		}
		b.store.before, b.store.after = nil, nil
		if r.IntN(3) > 0 { // else the same process tries again
			if b.state = b.state.Kill(); r.IntN(2) == 0 {
				b.state = b.state.Crash(r.Uint64())
			}
			b.restart()
		}
	}
	b.round()
	b.want("files", b.left())
	slices.Sort(want)
	got := slices.Sorted(slices.Values(b.store.rows))
	b.want("rows", got, want...)
}

// TestEveryCallFails fails every call to the disk that keeps the list: nothing
// is stored twice, and nothing is left in the end.
func TestEveryCallFails(t *testing.T) {
	for n := 1; ; n++ {
		b := newBench(t, Options{})
		faulty := disk.NewFaulty(b.state)
		faulty.Fail(disk.Fault{Kind: disk.AnyCall, N: n, Err: fault.New(fault.IOError, "broken")})
		b.s.o.State = faulty
		var want []string
		for i := range 4 {
			b.put(fmt.Sprintf("acc/%d", i), fmt.Sprintf("{\"a\":%d}", i))
			want = append(want, fmt.Sprintf("acc|%d", i))
			_ = b.s.round(t.Context())
		}
		failed := len(faulty.Failed()) > 0
		b.round()
		b.restart()
		b.round()
		b.want("rows", b.store.rows, want...)
		b.want("files", b.left())
		if !failed {
			if n < 10 {
				t.Errorf("only %d calls were made to fail", n)
			}
			return
		}
	}
}

// TestWrittenSince holds that files of a stored batch that are still there go, and
// are not stored again. One that was written to since is set aside.
func TestWrittenSince(t *testing.T) {
	b := newBench(t, Options{})
	b.put("acc/1", "{\"a\":1}")
	b.put("acc/2", "{\"a\":2}")
	killed := errors.New("killed")
	b.store.after = func() error { return killed }
	if err := b.s.round(t.Context()); !errors.Is(err, killed) {
		t.Fatal(err)
	}
	b.store.after = nil
	f, err := os.OpenFile(b.path("acc/2"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\n{\"a\":3}"); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	b.restart()
	b.put("acc/3", "{\"a\":4}")
	b.round()
	b.want("rows", b.store.rows, "acc|1", "acc|2", "acc|4")
	b.want("files", b.left(), "bad/acc/2", "bad/acc/2.why")
	if st := b.s.Status(); st.Files != 0 || st.State != Following || st.Bad != 1 {
		t.Errorf("status %+v", st)
	}
	if why := b.why("acc/2"); !strings.Contains(why, "its first 7 bytes are stored") {
		t.Error(why)
	}
}

// TestNameAgain holds that a file which has name and inode of one that was stored, as
// in a file system that was made anew, is taken in all the same.
func TestNameAgain(t *testing.T) {
	b := newBench(t, Options{})
	b.put("acc/1", "{\"a\":1}")
	b.round()
	b.round()
	l, err := readList(b.state, "drop.batch")
	if err != nil || len(l.Files) > 0 {
		t.Fatalf("the list has %+v, %v, and nothing is left", l, err)
	}
	b.put("acc/1", "{\"a\":2}")
	b.restart()
	b.round()
	b.want("rows", b.store.rows, "acc|1", "acc|2")
	b.want("files", b.left())
}

// TestNameAgainKilled holds that a new file is taken in which has all that a file of
// the last batch had, name, inode, size and time, but when it was made: the server was
// killed before it noted that those are gone. Where the file system does not tell
// when it was made, nobody knows, and it is kept.
func TestNameAgainKilled(t *testing.T) {
	for _, c := range []struct {
		name  string
		was   func(is *identity)
		rows  []string
		files []string
	}{
		{"made later", func(is *identity) { is.Born-- }, []string{"acc|1", "acc|2"}, nil},
		{"written later", func(is *identity) { is.Born, is.Time = is.Born-1, is.Time-1 }, []string{"acc|1", "acc|2"}, nil},
		{"not known when it was made", func(is *identity) { is.Born, is.Touched = 0, is.Time-1 }, []string{"acc|1"}, []string{"bad/acc/1", "bad/acc/1.why"}},
		{"the same", func(*identity) {}, []string{"acc|1"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, Options{})
			b.put("acc/1", "{\"a\":1}")
			b.round()
			b.put("acc/1", "{\"a\":2}")
			dir, err := os.Open(b.path("acc"))
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			now, err := inode.Look(dir, "1")
			if err != nil {
				t.Fatal(err)
			}
			if now.Born == 0 {
				t.Skip("the file system does not tell when a file was made")
			}
			l, err := readList(b.state, "drop.batch")
			if err != nil || len(l.Files) != 1 {
				t.Fatalf("the list has %+v, %v", l, err)
			}
			l.Files[0].identity = identityOf(&now)
			c.was(&l.Files[0].identity)
			if err := b.s.write(l); err != nil {
				t.Fatal(err)
			}
			b.restart()
			b.round()
			b.want("rows", b.store.rows, c.rows...)
			b.want("files", b.left(), c.files...)
		})
	}
}

// TestLostList holds that nothing is taken in where it cannot be known what was.
func TestLostList(t *testing.T) {
	for _, damage := range []func(d *disk.Mem) error{
		func(d *disk.Mem) error { return d.Remove("drop.batch") },
		func(d *disk.Mem) error { return disk.Replace(d, "", "drop.batch", []byte("{}\ncrc32c 00000000\n")) },
		func(d *disk.Mem) error {
			return disk.Replace(d, "", "drop.batch", sealed([]byte(`{"version":1,"batch":"x","behind":"y"}`)))
		},
		func(d *disk.Mem) error { return disk.Replace(d, "", "drop.batch", nil) },
	} {
		b := newBench(t, Options{})
		b.put("acc/1", "{\"a\":1}")
		b.round()
		if err := damage(b.state); err != nil {
			t.Fatal(err)
		}
		b.restart()
		b.put("acc/2", "{\"a\":2}")
		if err := b.s.round(t.Context()); fault.Code(err) != fault.DataCorrupted || fault.Of(err).Hint == "" {
			t.Errorf("without its list: %v", err)
		}
		b.want("rows", b.store.rows, "acc|1")
		b.want("files", b.left(), "acc/2")
	}
}
