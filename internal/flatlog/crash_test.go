package flatlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
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
