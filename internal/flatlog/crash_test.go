package flatlog

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRandomCrashes appends, tears, rotates and removes at random, and kills
// the follower around its commits with what a disk may have kept: every
// complete line is stored exactly once.
func TestRandomCrashes(t *testing.T) {
	seeds := uint64(16)
	if os.Getenv("HOLDFAST_LONG") != "" {
		seeds = 2000
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomCrashes(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func randomCrashes(t *testing.T, r *rand.Rand) {
	b := newBench(t, Options{MaxOpen: 1 + r.IntN(3)})
	crash := errors.New("killed")
	wish := map[string]bool{} // lines that are complete
	open := map[string]string{}
	next, rotations := 0, 0
	b.round() // what was rotated before the first start is not read
	for range 120 {
		name := fmt.Sprintf("%s_%d.log", []string{"acc", "missed_calls"}[r.IntN(2)], r.IntN(3))
		switch r.IntN(8) {
		case 0: // rotated, and now and then written to afterwards
			to := fmt.Sprintf("%s.%d", name, rotations)
			if err := os.Rename(b.path(name), b.path(to)); err == nil {
				rotations++
				if open[name] != "" {
					b.add(to, strings.TrimPrefix(open[name], "+")+"\n")
					delete(open, name)
				}
			}
		case 1, 2:
			b.store.before, b.store.after = nil, nil
			fail := func() error { return crash }
			if r.IntN(2) == 0 {
				b.store.before = fail
			} else {
				b.store.after = fail
			}
			if err := b.f.round(t.Context()); err != nil && !errors.Is(err, crash) {
				t.Fatal(err)
			}
			b.store.before, b.store.after = nil, nil
			if r.IntN(2) == 0 {
				b.state = b.state.Kill()
			} else {
				b.state = b.state.Crash(r.Uint64())
			}
			b.restart()
		case 3:
			b.round()
		default:
			if rest := open[name]; rest != "" {
				b.add(name, rest[1:]+"\n")
				delete(open, name)
				continue
			}
			next++
			line := fmt.Sprintf("%d|%s", next, strings.Repeat("x", r.IntN(40)))
			table := name[:strings.LastIndexByte(name, '_')]
			if table == "acc" {
				line += "|z"
			}
			wish[table+"|"+line] = true
			if r.IntN(4) == 0 { // torn
				b.add(name, line[:2])
				open[name] = "+" + line[2:]
				continue
			}
			b.add(name, line+"\n")
		}
	}
	for name, rest := range open {
		b.add(name, rest[1:]+"\n")
	}
	b.round()
	b.round()
	b.wantBad()
	seen := map[string]int{}
	for _, one := range b.store.rows {
		seen[one]++
	}
	for one := range wish {
		if seen[one] != 1 {
			t.Errorf("%q is stored %d times", one, seen[one])
		}
		delete(seen, one)
	}
	if len(seen) > 0 {
		t.Errorf("stored and never written: %v", seen)
	}
}

// TestKilledAtFirstStart kills the first follower of a directory before it has
// looked at a file a second time: what is rotated meanwhile is read by the next
// one, and what was rotated before is not.
func TestKilledAtFirstStart(t *testing.T) {
	b := newBench(t, Options{})
	b.add("acc_1.log.1", "old||\n")
	b.add("acc_1.log", "1||\n")
	first := Start(b.o)
	b.rename("acc_1.log", "acc_1.log.2")
	b.add("acc_1.log", "2||\n")
	b.rename("acc_1.log", "acc_1.log.3")
	first.cancel() // whatever it has read by now
	first.done.Wait()
	b.state = b.state.Kill()
	b.restart()
	b.round()
	slices.Sort(b.store.rows)
	b.want("acc|1||", "acc|2||")
}

// TestOpenedWhileRenamed leaves a file alone that had its other name for a moment
// only, because a process that opens it just now cannot be seen to hold it.
func TestOpenedWhileRenamed(t *testing.T) {
	b := newBench(t, Options{Finished: Remove})
	b.add("acc_1.log", "1||\n")
	b.round()
	b.f.rest = time.Hour
	b.rename("acc_1.log", "acc_1.log.1")
	b.round()
	if _, err := os.Stat(b.path("acc_1.log.1")); err != nil {
		t.Fatalf("the file is gone at once: %v", err)
	}
	b.f.rest, b.f.swept = 0, time.Time{}
	b.round()
	if _, err := os.Stat(b.path("acc_1.log.1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}
