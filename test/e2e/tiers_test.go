package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const hotAndWarm = `
data: DATA/data
tables: {auto: true}
streams:
  main: {hot: "DATA/hot=32 MB", warm: "DATA/warm=256 MB", wait: 60s}
`

// packedIn returns the packed segments in a directory.
func packedIn(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.seg.zst"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// noise returns n characters that cannot be packed to less than half.
func noise(n int) string {
	b := make([]byte, n/2)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// TestWarmTier fills the hot tier several times over, with kills in between, and
// reads all rows back, once each; zstd unpacks what was moved, and a message rolls
// the warm tier.
func TestWarmTier(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "all")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	o := options{config: configure(t, dir, hotAndWarm)}
	warm := filepath.Join(dir, "warm")
	next := 0
	for range 3 {
		s := start(t, filepath.Join(dir, "data"), o)
		var lines strings.Builder
		for range 300 {
			fmt.Fprintf(&lines, `{"n": %d, "what": %q}`+"\n", next, noise(100<<10))
			next++
		}
		feed(t, 0, strings.NewReader(lines.String()), "put", "--config", o.config, "--table", "calls", "--format", "ndjson")
		s.kill() // perhaps in the middle of a move
	}
	s := start(t, filepath.Join(dir, "data"), o)
	eventually(t, time.Minute, "segments to be moved", func() (bool, string) {
		n := len(packedIn(t, warm))
		return n > 20, fmt.Sprint(n, " segments are warm")
	})
	all := linksIn(t, o.config, "main", "n")
	for i, n := range all {
		if n != fmt.Sprint(i) {
			t.Fatalf("row %d is %s", i, n)
		}
	}
	if len(all) != next {
		t.Errorf("%d rows of %d are read", len(all), next)
	}
	holdfast(t, 0, "verify", "--config", o.config)
	one := packedIn(t, warm)[0]
	if _, err := exec.LookPath("zstd"); err == nil {
		plain, err := exec.Command("zstd", "-dc", one).Output()
		if err != nil || !strings.HasPrefix(string(plain), "HOLDFAST") {
			t.Errorf("zstd makes %d bytes of %s, %x: %v", len(plain), one, sha256.Sum256(plain), err)
		}
	} else if os.Getenv("CI") == "true" {
		t.Error("zstd is missing")
	}
	spoilt, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	spoilt[len(spoilt)/2] ^= 1
	bad := filepath.Join(dir, filepath.Base(one))
	if err := os.WriteFile(bad, spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	holdfast(t, 0, "thaw", one, "--to", filepath.Join(dir, "thawed"))
	holdfast(t, 3, "thaw", bad, "--to", filepath.Join(dir, "thawed too"))
	s.delivered(time.Minute)
	before := len(packedIn(t, warm))
	out := holdfast(t, 0, "roll", "size", "--config", o.config, "--type", "main", "--max-size", "32MB", "--max-size-warm", "1MB", "--apply").stdout
	if after := len(packedIn(t, warm)); !strings.Contains(out, "from warm") || after >= before {
		t.Errorf("%d segments of %d are left in the warm tier:\n%s", after, before, out)
	}
	s.stop()
}
