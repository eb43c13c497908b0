package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/test/mounts"
)

// TestReadOnly looks at what a killed server left on a volume that takes no
// write: verbs that change nothing work and change nothing, the others say what
// to do.
func TestReadOnly(t *testing.T) {
	if !mounts.Alone(t, "HOLDFAST_BIN="+program) {
		return
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "volume")
	mounts.Ext4(t, 300<<20, at)
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", at, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(at, "data")
	config := configure(t, dir, "data: DATA/volume/data\ntables: {auto: true}\nstreams:\n  main: {hot: \"DATA/volume/hot=100 MB\", min_free: 0}\n")
	s := start(t, data, options{config: config})
	c := s.client()
	insert := func(from, to int) {
		for i := from; i <= to; i++ {
			execute(t, c, fmt.Sprintf("INSERT INTO calls (caller) VALUES ('needle-%04d-needle')", i))
		}
	}
	insert(1, 100)
	s.delivered(time.Minute)
	s.signal(syscall.SIGUSR2)
	s.logged(time.Minute, "seal")
	insert(101, 150)
	s.kill()
	for _, file := range []string{filepath.Join(data, "LOCK"), filepath.Join(at, "hot", "LOCK")} { // a backup need not have them
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	before := contents(t, at)
	for range 2 {
		if r := holdfast(t, 0, "cat", "--config", config); strings.Count(r.stdout, "needle-") != 150 {
			t.Errorf("cat prints %d rows: %s", strings.Count(r.stdout, "needle-"), r.stderr)
		}
		if r := holdfast(t, 0, "verify", "--config", config); !strings.Contains(r.stdout, "150 rows") || !strings.Contains(r.stdout, "all is as it was written") {
			t.Errorf("verify says %s%s", r.stdout, r.stderr)
		}
		if r := holdfast(t, 0, "status", "--config", config); !strings.Contains(r.stdout, "no server runs") || !strings.Contains(r.stdout, " 150 ") {
			t.Errorf("status says %s%s", r.stdout, r.stderr)
		}
		holdfast(t, 0, "repair", "--config", config)
	}
	for _, verb := range [][]string{{"serve"}, {"repair", "--apply"}, {"hold", "add", "x", "--stream", "main"}, {"sink", "pause", "default"}} {
		r := holdfast(t, 1, append(verb, "--config", config)...)
		for _, want := range []string{"read-only", "hint: ", "remount,rw"} {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("%s does not say %q: %s", verb, want, r.stderr)
			}
		}
	}
	if after := contents(t, at); !maps.Equal(before, after) {
		t.Errorf("the volume has changed: before %d files, after %d", len(before), len(after))
	}

	remount(0)
	damaged := false
	for file := range contents(t, at) {
		text, err := os.ReadFile(filepath.Join(at, file))
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.Index(string(text), "needle-0050-needle"); i >= 0 && strings.HasSuffix(file, ".seg") {
			text[i] ^= 1
			if err := os.WriteFile(filepath.Join(at, file), text, 0o600); err != nil {
				t.Fatal(err)
			}
			damaged = true
		}
	}
	if !damaged {
		t.Fatal("no segment has the row")
	}
	remount(unix.MS_RDONLY)
	for _, verb := range []string{"verify", "repair"} {
		if r := holdfast(t, 3, verb, "--config", config); !strings.Contains(r.stdout, "seq 50") {
			t.Errorf("%s says %s%s", verb, r.stdout, r.stderr)
		}
	}
	remount(0)
	s = start(t, data, options{config: config})
	s.stop()
}

// contents returns what is in each file below dir.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		all[rel] = fmt.Sprintf("%x", sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
