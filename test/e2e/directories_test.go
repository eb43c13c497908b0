package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const twoDirectories = `
data: DATA/data
tables: {auto: true}
streams:
  main: {hot: "DATA/a=32 MB;DATA/b=64 MB"}
`

// segmentsIn returns how many segments there are in a directory.
func segmentsIn(t *testing.T, dir string) int {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestSeveralDirectories writes to a stream whose hot tier lies in two
// directories, reads it back after a kill, and holds that neither another
// server nor an empty mount point is taken for one of them.
func TestSeveralDirectories(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "all")
	o := options{config: configure(t, dir, twoDirectories)}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, filepath.Join(dir, "data"), o)
	for range 4 {
		feed(t, 0, strings.NewReader(strings.Repeat(`{"what": "`+strings.Repeat("x", 100<<10)+`"}`+"\n", 80)), "put", "--config", o.config, "--table", "calls", "--format", "ndjson")
	}
	s.delivered(time.Minute)
	if segmentsIn(t, a) == 0 || segmentsIn(t, b) == 0 {
		t.Fatalf("%d segments in one directory, %d in the other", segmentsIn(t, a), segmentsIn(t, b))
	}
	other := options{config: configure(t, filepath.Join(dir, "other"), strings.ReplaceAll(twoDirectories, "DATA/b", b))}
	if r := command(t, dir, nil, program, "serve", "--config", other.config); r.code != 1 || !strings.Contains(r.stderr, "in use by another process") {
		t.Errorf("two servers share a directory: %d: %s", r.code, r.stderr)
	}
	s.kill()
	if r := command(t, dir, nil, program, "serve", "--config", other.config); r.code != 1 || !strings.Contains(r.stderr, "belongs to another data directory") {
		t.Errorf("another server takes a directory over: %d: %s", r.code, r.stderr)
	}
	rows := func() int { return len(linksIn(t, o.config, "main", "what")) }
	left := rows()
	if left < 100 {
		t.Fatalf("%d rows are left", left)
	}
	if err := os.Rename(b, b+".away"); err != nil {
		t.Fatal(err)
	}
	for _, empty := range []bool{false, true} {
		if r := command(t, dir, nil, program, "serve", "--config", o.config); r.code != 1 || !strings.Contains(r.stderr, "mount its volume") {
			t.Errorf("it starts without a directory, there and empty: %t: %d: %s", empty, r.code, r.stderr)
		}
		if err := os.MkdirAll(b, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(b); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(b+".away", b); err != nil {
		t.Fatal(err)
	}
	s = start(t, filepath.Join(dir, "data"), o)
	s.stop()
	if got := rows(); got != left {
		t.Errorf("%d rows of %d are found", got, left)
	}
	for _, verb := range []string{"status", "cat", "verify"} { // without the configuration it would begin anew
		if r := holdfast(t, 1, verb, "--data", filepath.Join(dir, "data")); !strings.Contains(r.stderr, `stream "main" is in "`+dir) || !strings.Contains(r.stderr, "--config") {
			t.Errorf("%s without the configuration: %s", verb, r.stderr)
		}
	}
	elsewhere := options{config: configure(t, dir, strings.ReplaceAll(twoDirectories, "DATA/a", "DATA/c"))}
	if r := holdfast(t, 1, "cat", "--config", elsewhere.config); !strings.Contains(r.stderr, `stream "main" is in "`+dir) {
		t.Errorf("in another directory: %s", r.stderr)
	}
	o.config = configure(t, dir, twoDirectories)
	if got := rows(); got != left {
		t.Errorf("%d rows of %d are found in the end", got, left)
	}
}

// TestDefaultDirectoryLeft names a directory for a stream that has rows in the
// data directory: it must not begin anew there.
func TestDefaultDirectoryLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "all")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	start(t, data, options{config: configure(t, dir, "data: DATA/data\ntables: {auto: true}\n")}).stop()
	feed(t, 0, strings.NewReader("1\n2\n"), "put", "--data", data, "--table", "calls", "--columns", "n", "--format", "csv")
	moved := configure(t, dir, "data: DATA/data\nstreams: {main: {hot: DATA/a=32 MB}}\n")
	if r := holdfast(t, 1, "cat", "--config", moved); !strings.Contains(r.stderr, "is to begin anew") {
		t.Errorf("it begins anew: %s", r.stderr)
	}
	if out := holdfast(t, 0, "cat", "--data", data).stdout; strings.Count(out, "n=") != 2 {
		t.Errorf("left in the data directory: %s", out)
	}
}

// TestStreamGone takes away the files of a stream that has a sink: it must not
// begin anew without a word, whatever is left.
func TestStreamGone(t *testing.T) {
	for name, keep := range map[string]func(file string) bool{
		"all":            func(string) bool { return false },
		"but CHECKPOINT": func(file string) bool { return file == "CHECKPOINT" },
	} {
		t.Run(name, func(t *testing.T) {
			data := dataDir(t)
			s := start(t, data, options{})
			s.fill("calls", 1, 10)
			s.delivered(time.Minute)
			s.kill()
			streams := filepath.Join(data, "streams", "main")
			files, err := os.ReadDir(streams)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if !keep(f.Name()) {
					if err := os.RemoveAll(filepath.Join(streams, f.Name())); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, verb := range []string{"serve", "cat", "status"} {
				if r := holdfast(t, 1, verb, "--data", data); !strings.Contains(r.stderr, "stream \"main\"") || !strings.Contains(r.stderr, "restore it") {
					t.Errorf("%s: %s", verb, r.stderr)
				}
			}
		})
	}
}
