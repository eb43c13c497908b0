package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// damage is what `verify --json` says of one place.
type damage struct {
	Stream  string `json:"stream"`
	Segment uint64 `json:"segment"`
	Offset  int64  `json:"offset"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	What    string `json:"what"`
}

// TestFlippedByte changes one byte of one row in a sealed segment: verify
// names the place and the row, and everything else is still served.
func TestFlippedByte(t *testing.T) {
	const rows, victim = 300, 150
	s := start(t, dataDir(t), options{})
	c := s.client()
	for i := 1; i <= rows; i++ {
		execute(t, c, fmt.Sprintf("INSERT INTO calls (caller) VALUES ('needle-%04d-needle')", i))
	}
	s.delivered(20 * time.Second)
	s.signal(syscall.SIGUSR2)
	s.logged(10*time.Second, "seal")
	execute(t, c, "INSERT INTO calls (caller) VALUES ('behind the sealed segment')")
	s.delivered(20 * time.Second)
	s.stop()

	if r := holdfast(t, 0, "verify", "--data", s.data); r.stderr != "" && strings.Contains(r.stderr, "damage") {
		t.Fatalf("verify finds damage before there is any: %s", r.stderr)
	}
	file, offset := flip(t, s.data, fmt.Sprintf("needle-%04d-needle", victim))
	r := holdfast(t, 3, "verify", "--data", s.data)
	for _, name := range []string{"main", "seq 150"} {
		if !strings.Contains(r.stdout+r.stderr, name) {
			t.Errorf("verify does not say %q:\n%s%s", name, r.stdout, r.stderr)
		}
	}
	found := readDamage(t, holdfast(t, 3, "verify", "--json", "--data", s.data).stdout)
	if len(found) != 1 {
		t.Fatalf("verify found %d damaged places, want 1: %+v", len(found), found)
	}
	d := found[0]
	if d.Stream != "main" || !strings.HasSuffix(file, fmt.Sprintf("%016d.seg", d.Segment)) || d.First != victim || d.Last != victim {
		t.Errorf("verify names %+v, want stream main, the segment of %s, and row %d alone", d, file, victim)
	}
	if d.Offset > int64(offset) || d.Offset < int64(offset)-4096 {
		t.Errorf("verify names offset %d, the changed byte is at %d", d.Offset, offset)
	}

	again := start(t, s.data, options{})
	served := command(t, t.TempDir(), nil, program, "cat", "--data", s.data, "--table", "calls").stdout
	for i := 1; i <= rows; i++ {
		if needle := fmt.Sprintf("needle-%04d-needle", i); strings.Contains(served, needle) == (i == victim) {
			t.Errorf("cat: row %d served: %v", i, i != victim)
		}
	}
	if !strings.Contains(served, "behind the sealed segment") {
		t.Error("cat does not serve what stands behind the damaged segment")
	}
	execute(t, again.client(), "INSERT INTO calls (caller) VALUES ('after the damage')")
	again.delivered(20 * time.Second)
}

// flip changes one byte inside the only place where text stands in a segment,
// and returns the file and the offset.
func flip(t *testing.T, data, text string) (string, int) {
	t.Helper()
	for _, file := range segments(t, data, "main") {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(content, []byte(text))
		if at < 0 {
			continue
		}
		at += len(text) / 2
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte{content[at] ^ 1}, int64(at))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return file, at
	}
	t.Fatalf("no segment holds %q as it was written", text)
	return "", 0
}

// readDamage reads a list, one object per line or as one array.
func readDamage(t *testing.T, text string) (all []damage) {
	t.Helper()
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatalf("read %q: %v", text, err)
		}
		return all
	}
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var one damage
		if err := d.Decode(&one); err != nil {
			t.Fatalf("read %q: %v", text, err)
		}
		all = append(all, one)
	}
	return all
}
