package roll

import (
	"fmt"
	"testing"
	"time"
)

// petabyte makes a state of files manifests that together take 1 PB, in three
// linked streams whose rows of one session straddle segments.
func petabyte(files int) *State {
	st := &State{Volumes: []Volume{{Name: "a", Total: 1 << 50, Free: 0}}}
	each := files / 3
	for i, name := range []string{"session", "meta", "packet"} {
		s := Store{Stream: name, Link: "session_id", HotVolume: "a", Needs: []Need{{Sink: "s", Seq: uint64(each * 1000)}}}
		if i > 0 {
			s.Parent = "session"
		}
		for n := range each {
			first := int64(n * 1000)
			s.Files = append(s.Files, Manifest{
				Number: uint64(n + 1), Bytes: 1 << 50 / int64(files), Tier: Hot, Sealed: n < each-1,
				FirstSeq: uint64(n*1000 + 1), LastSeq: uint64(n*1000 + 1000), FirstTime: first + 1, LastTime: first + 1000, FileTime: first,
				FirstLink: first - int64(i)*700, LastLink: first + 1000 - int64(i)*300, Linked: true,
			})
		}
		st.Stores = append(st.Stores, s)
	}
	return st
}

// BenchmarkPlan plans over 100,000 manifests of 1 PB, of which nearly nothing,
// a half and nearly everything goes. The goal is 100 ms.
func BenchmarkPlan(b *testing.B) {
	st := petabyte(100_000)
	for _, size := range []string{"1023TB", "512TB", "1TB"} {
		b.Run(size, func(b *testing.B) {
			for b.Loop() {
				if p := planTo(b, st, "type=meta,session,packet maxSize="+size); !p.Met {
					b.Fatal("not met")
				}
			}
		})
	}
}

func planTo(t testing.TB, st *State, params string) *Plan {
	t.Helper()
	m, err := ParseMessage("/database", "sizeRoll", params)
	if err != nil {
		t.Fatal(err)
	}
	rule, err := m.Rule(st, time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Make(st, rule)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPlanGrowsWithFiles holds that a plan takes time by the number of its
// files, and no more: ten times the files may not take fifty times as long. The
// best of several runs is taken, since others use this machine too.
func TestPlanGrowsWithFiles(t *testing.T) {
	best := func(files int) time.Duration {
		st, least := petabyte(files), time.Hour
		for range 7 {
			start := time.Now()
			if p := planTo(t, st, "maxSize=1TB"); !p.Met || len(p.Steps) < files*9/10 {
				t.Fatalf("%d files: met %v with %d steps", files, p.Met, len(p.Steps))
			}
			least = min(least, time.Since(start))
		}
		return least
	}
	small, large := best(10_000), best(100_000)
	t.Logf("10,000 files: %v, 100,000 files: %v", small, large)
	if large > 50*small {
		t.Errorf("10,000 files take %v, 100,000 take %v", small, large)
	}
}

// TestManyGroups holds the same for many streams that are tied to nobody.
func TestManyGroups(t *testing.T) {
	st := &State{Volumes: []Volume{{Name: "a", Total: 1 << 50}}}
	for i := range 5000 {
		s := Store{Stream: fmt.Sprint("s", i), HotVolume: "a"}
		for n := range 10 {
			s.Files = append(s.Files, Manifest{Number: uint64(n + 1), Bytes: 1 << 20, Tier: Hot, Sealed: true, FirstSeq: uint64(n + 1), LastSeq: uint64(n + 1), FirstTime: int64(i + n*7 + 1), LastTime: int64(i + n*7 + 1)})
		}
		st.Stores = append(st.Stores, s)
	}
	p := planTo(t, st, "maxSize=30000MB")
	if !p.Met || len(p.Steps) != 20001 {
		t.Errorf("met %v with %d steps", p.Met, len(p.Steps))
	}
	for i := 1; i < len(p.Steps); i++ { // oldest first, over all streams
		at := func(s Step) (time int) {
			var n int
			if _, err := fmt.Sscanf(s.Stream, "s%d", &n); err != nil {
				t.Fatal(err)
			}
			return n + int(s.Number-1)*7
		}
		if at(p.Steps[i]) < at(p.Steps[i-1]) {
			t.Fatalf("step %v comes after %v", p.Steps[i], p.Steps[i-1])
		}
	}
}
