package e2e

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestExistingDirectory holds that == makes no directory, and that nothing
// starts without it; with = it is made.
func TestExistingDirectory(t *testing.T) {
	data := dataDir(t)
	at := data + "-volume"
	config := func(sign string) options {
		return options{config: configure(t, data, "data: DATA\ntables: {auto: true}\nstreams: {main: {hot: \""+at+sign+"32 MB\"}}\n")}
	}
	r := command(t, t.TempDir(), nil, program, "serve", "--config", config("==").config)
	if _, err := os.Stat(at); r.code == 0 || !strings.Contains(r.stderr, "is missing") || !os.IsNotExist(err) {
		t.Fatalf("without its directory it ends with %d: %s; the directory: %v", r.code, r.stderr, err)
	}
	for _, sign := range []string{"=", "=="} { // the second one finds it
		s := start(t, data, config(sign))
		s.stop()
	}
}

// TestNoSizeNoRoll holds that a stream without a size rolls nothing by itself,
// beside one that has a size and has come far over it.
func TestNoSizeNoRoll(t *testing.T) {
	data := dataDir(t)
	o := options{config: configure(t, data, "data: DATA\ntables: {auto: true}\nstreams:\n  free: {tables: [free], min_free: 0, hot: DATA-free}\n  bound: {tables: [bound], min_free: 0, hot: \"DATA-bound=32 MB\"}\n")}
	s := start(t, data, o)
	lines := strings.Repeat(`{"what": "`+strings.Repeat("x", 100<<10)+`"}`+"\n", 340)
	for _, table := range []string{"free", "bound"} {
		feed(t, 0, strings.NewReader(lines), "put", "--config", o.config, "--table", table, "--format", "ndjson")
	}
	s.delivered(time.Minute)
	if n := len(linksIn(t, o.config, "free", "what")); n != 340 {
		t.Errorf("%d rows of 340 are left of the stream without a size", n)
	}
	if n := len(linksIn(t, o.config, "bound", "what")); n == 0 || n > 320 {
		t.Errorf("%d rows are left of the stream of 32 MB", n)
	}
	s.stop()
}

// TestMiddleStays holds that what was sealed is never written to again: by
// other rows, by a roll of what is older, by its undo, or by a start.
func TestMiddleStays(t *testing.T) {
	data := dataDir(t)
	o := options{config: configure(t, data, rollingStreams)}
	s := start(t, data, o)
	family(t, s, 1, 15)
	s.stop()
	sums := map[string][32]byte{}
	each := func(do func(path string, sum [32]byte)) {
		found, err := filepath.Glob(filepath.Join(data, "*", "*.seg"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			do(path, sha256.Sum256(text))
		}
	}
	each(func(path string, sum [32]byte) { sums[path] = sum })
	s = start(t, data, o)
	family(t, s, 16, 20)
	holdfast(t, 0, "roll", "size", "--config", o.config, "--type", "session,meta,packet", "--max-size", "5MB", "--apply")
	holdfast(t, 0, "roll", "undo", "--config", o.config)
	s.kill()
	s = start(t, data, o)
	s.stop()
	same := 0
	each(func(path string, sum [32]byte) {
		if was, is := sums[path]; is && was == sum {
			same++
		} else if is {
			t.Errorf("%s was sealed, and has changed", path)
		}
	})
	if same < 6 || same != len(sums) {
		t.Errorf("%d of %d segments are as they were", same, len(sums))
	}
}
