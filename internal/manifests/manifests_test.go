package manifests

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/disk"
)

// at is a time of receipt with a part that seconds cannot tell.
var at = time.Date(2026, 2, 1, 10, 0, 0, 250_000_000, time.UTC)

func example(n uint64) Manifest {
	low, high := int64(n*10), int64(n*10+9)
	return Manifest{
		Version: Version, Filename: fmt.Sprintf("%016d.seg", n), Size: 64 << 20, Stream: "meta", StreamID: "c0ffee", Number: n,
		ID1: n*100 + 1, ID2: n*100 + 100, Rows: 100, Link: "session_id", Session1: &low, Session2: &high,
		FileTime: at.Unix() + 60, Time1: at.Unix(), Time2: at.Unix() + 5, Sealed: at.Add(time.Minute),
		Received: [2]time.Time{at, at.Add(5 * time.Second)}, SHA256: strings.Repeat("ab", 32),
	}
}

func open(t *testing.T, dir string) *Catalogue {
	t.Helper()
	d, err := disk.OpenBuffered(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	c, err := OpenCatalogue(d, "meta")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func numbers(t *testing.T, c *Catalogue) (all []uint64, damaged int) {
	t.Helper()
	damaged, err := c.Each(func(m *Manifest) error { all = append(all, m.Number); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all, damaged
}

// TestNames holds the names that programs for the older database read.
func TestNames(t *testing.T) {
	m := example(23)
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"filename": "0000000000000023.seg", "size": float64(64 << 20), "fileTime": float64(at.Unix() + 60), "id1": 2301.0, "id2": 2400.0,
		"session1": 230.0, "session2": 239.0, "time1": float64(at.Unix()), "time2": float64(at.Unix() + 5),
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v, in %s", name, got[name], want, text)
		}
	}
	m.Session1, m.Session2 = nil, nil
	if text, _ = m.Encode(); !strings.Contains(string(text), `"session1":null`) {
		t.Errorf("without links it says %s", text)
	}
}

func TestDecode(t *testing.T) {
	m := example(1)
	text, _ := m.Encode()
	got, err := Decode(text)
	if err != nil || got.ID2 != m.ID2 || !got.Received[0].Equal(at) || *got.Session2 != 19 {
		t.Errorf("Decode(%s) = %+v, %v", text, got, err)
	}
	for _, bad := range []string{"", "{", "null", "[]", "{}", `{"version":2,"number":1}`, `{"version":1}`, string(text[:len(text)/2])} {
		if _, err := Decode([]byte(bad)); !errors.Is(err, ErrDamaged) {
			t.Errorf("Decode(%q): %v", bad, err)
		}
	}
}

func TestMeets(t *testing.T) {
	m := example(5) // links 50 to 59, seqs 501 to 600, received from 10:00:00.25 to 10:00:05.25
	plain := example(5)
	plain.Session1, plain.Session2 = nil, nil
	us := at.UnixMicro()
	for _, c := range []struct {
		q     Query
		m     *Manifest
		meets bool
	}{
		{Query{}, &m, true}, {Query{}, &plain, true}, {Query{Stream: "meta"}, &m, true}, {Query{Stream: "session"}, &m, false},
		{Query{Links: &Span{50, 50}}, &m, true}, {Query{Links: &Span{59, 70}}, &m, true}, {Query{Links: &Span{60, 70}}, &m, false},
		{Query{Links: &Span{1, 49}}, &m, false}, {Query{Links: &Span{1, 99}}, &plain, false},
		{Query{Seqs: &Span{600, 600}}, &m, true}, {Query{Seqs: &Span{601, 900}}, &m, false},
		{Query{Times: &Span{us, us}}, &m, true}, {Query{Times: &Span{us - 2, us - 1}}, &m, false},
		{Query{Times: &Span{us + 5_000_000, us + 6_000_000}}, &m, true}, {Query{Times: &Span{us + 5_000_001, us + 6_000_000}}, &m, false},
		{Query{Links: &Span{55, 55}, Seqs: &Span{1, 2}}, &m, false},
	} {
		if got := c.q.Meets(c.m); got != c.meets {
			t.Errorf("%+v meets: %v, want %v", c.q, got, c.meets)
		}
	}
}

// TestCatalogueAgain adds what is there already, as a start after a crash does.
func TestCatalogueAgain(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Add([]Manifest{example(1), example(2)}); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir)
	if err := c.Add([]Manifest{example(2), example(3)}); err != nil {
		t.Fatal(err)
	}
	if got, damaged := numbers(t, c); !slices.Equal(got, []uint64{1, 2, 3}) || damaged != 0 {
		t.Errorf("it has %v, %d damaged", got, damaged)
	}
	other := example(2)
	other.StreamID = "another stream of that name"
	if err := c.Add([]Manifest{other}); err != nil {
		t.Fatal(err)
	}
	if got, _ := numbers(t, open(t, dir)); !slices.Equal(got, []uint64{1, 2, 3, 2}) {
		t.Errorf("it has %v", got)
	}
}

// TestCatalogueTorn goes on behind a line that was cut off.
func TestCatalogueTorn(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Add([]Manifest{example(1), example(2)}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "meta.000001.manifests")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut < len(text); cut += 37 {
		if err := os.WriteFile(file, text[:len(text)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		c := open(t, dir)
		if err := c.Add([]Manifest{example(1), example(2), example(3)}); err != nil {
			t.Fatal(err)
		}
		got, damaged := numbers(t, c)
		slices.Sort(got)
		if whole := cut == 1; !slices.Equal(got, []uint64{1, 2, 3}) || whole && damaged != 0 {
			t.Fatalf("cut by %d bytes it has %v, %d damaged", cut, got, damaged)
		}
	}
}

// TestCatalogueLines passes over lines that are no manifests, however long.
func TestCatalogueLines(t *testing.T) {
	dir := t.TempDir()
	one, two := example(1), example(2)
	first, _ := one.Encode()
	second, _ := two.Encode()
	text := string(first) + strings.Repeat("x", 3*MaxSize) + "\n\nnonsense\n" + string(second) + strings.Repeat("y", 5*MaxSize)
	if err := os.WriteFile(filepath.Join(dir, "meta.000001.manifests"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"meta.1.manifests", "meta.x.000001.manifests", "session.000001.manifests", "meta.000009.manifests.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, other), first, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, damaged := numbers(t, open(t, dir)); !slices.Equal(got, []uint64{1, 2}) || damaged != 3 {
		t.Errorf("it has %v, %d damaged", got, damaged)
	}
}

// TestHundredThousand keeps and reads as many, in files that are packed when
// they are full, without having more than some in memory.
func TestHundredThousand(t *testing.T) {
	const all = 100_000
	dir := t.TempDir()
	c := open(t, dir)
	for n := uint64(1); n <= all; n += 1000 {
		var some []Manifest
		for i := n; i < n+1000; i++ {
			m := example(i)
			m.Gone = &Gone{At: at, Rule: "/database sizeRoll maxSize=25TB", Roll: i, By: "operator", To: Nowhere}
			some = append(some, m)
		}
		if err := c.Add(some); err != nil {
			t.Fatal(err)
		}
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*"+packedSuffix))
	if err != nil || len(packed) < 3 {
		t.Fatalf("packed are %q, %v", packed, err)
	}
	c = open(t, dir)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	q, found, seen, most := Query{Links: &Span{777_777, 777_777}}, []Manifest(nil), uint64(0), uint64(0)
	start := time.Now()
	if _, err := c.Each(func(m *Manifest) error {
		if seen++; m.Number != seen {
			t.Fatalf("number %d comes as %d", m.Number, seen)
		}
		if q.Meets(m) {
			found = append(found, *m)
		}
		if seen%10_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d read in %v, at most %d KiB of memory, %d files packed", seen, time.Since(start), most>>10, len(packed))
	if seen != all || len(found) != 1 || found[0].Number != 77_777 || found[0].Gone.By != "operator" {
		t.Errorf("of %d it found %+v", seen, found)
	}
	if most > 24<<20 {
		t.Errorf("reading took %d MiB", most>>20)
	}
}

// TestPackCrash has both forms of a part, as a crash between two steps leaves
// them.
func TestPackCrash(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	if err := c.Add([]Manifest{example(1)}); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "meta.000001.manifests")
	text, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.pack(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(plain, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c = open(t, dir)
	if err := c.Add([]Manifest{example(1), example(2)}); err != nil {
		t.Fatal(err)
	}
	if got, _ := numbers(t, c); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("it has %v", got)
	}
	if err := c.pack(); err != nil {
		t.Fatal(err)
	}
	if got, _ := numbers(t, open(t, dir)); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("packed again it has %v", got)
	}
}
