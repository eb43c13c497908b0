package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/test/buckets"
)

const coldBucket = `
data: DATA/data
manifest_dir: DATA/manifests
tables: {auto: true}
streams:
  main: {hot: "DATA/hot=32 MB", cold: "s3://archive/site one", wait: 120s}
buckets:
  archive: {endpoint: "URL", region: eu-test-1, keys_file: DATA/keys, ca_file: DATA/ca.pem}
`

// inBucket sets up a directory with a configuration whose cold tier is the bucket
// of a server.
func inBucket(t *testing.T, b *buckets.Server) (dir string, o options) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "all")
	for name, text := range map[string]string{"keys": "aws_access_key_id = " + buckets.ID + "\naws_secret_access_key = " + buckets.Secret + "\n", "ca.pem": string(b.CA)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, options{config: configure(t, dir, strings.ReplaceAll(coldBucket, "URL", b.URL))}
}

// numbered returns n rows of noise as NDJSON, numbered from *next on.
func numbered(next *int, n int) io.Reader {
	var lines strings.Builder
	for range n {
		fmt.Fprintf(&lines, `{"n": %d, "what": %q}`+"\n", *next, noise(100<<10))
		*next++
	}
	return strings.NewReader(lines.String())
}

// copies returns how many segments have their manifest in the bucket.
func copies(b *buckets.Server) (n int) {
	for key := range b.Objects() {
		if strings.HasSuffix(key, ".json") {
			n++
		}
	}
	return n
}

// TestColdBucket rolls by way of a bucket on a server of S3 that falls silent in
// the middle of an upload, during which Holdfast is killed, and is pulled away in
// the middle of another one, which alarms. When it is back all heals by itself; and
// every segment that went comes back with the digest that it was sealed with.
func TestColdBucket(t *testing.T) {
	b := buckets.Start(t, true)
	dir, o := inBucket(t, b)
	next := 0
	put := []string{"put", "--config", o.config, "--table", "calls", "--format", "ndjson"}
	s := start(t, filepath.Join(dir, "data"), o)
	silent, never := make(chan struct{}), make(chan struct{})
	defer close(never)
	hit := 0
	b.Fail(func(r *http.Request) buckets.Fault { // the third file goes so far, and no further
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".zst") {
			if hit++; hit == 3 {
				close(silent)
				return buckets.Fault{Wait: never}
			}
		}
		return buckets.Fault{}
	})
	feed(t, 0, numbered(&next, 290), put...)
	<-silent
	s.kill()
	b.Fail(nil)

	s = start(t, filepath.Join(dir, "data"), o)
	pulled := make(chan struct{})
	b.Fail(func(r *http.Request) buckets.Fault {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".zst") {
			b.Pull(true)
			close(pulled)
			return buckets.Fault{CutBody: 1000}
		}
		return buckets.Fault{}
	})
	more := make(chan result, 1)
	rows := numbered(&next, 150)
	go func() { more <- command(t, t.TempDir(), rows, program, put...) }()
	<-pulled
	b.Fail(nil)
	coldAlarms(t, s, o.config, true)
	before := copies(b)
	b.Pull(false)
	if r := <-more; r.code != 0 {
		t.Fatalf("rows that came while the bucket was away: %s", r.stderr)
	}
	coldAlarms(t, s, o.config, false)
	if copies(b) <= before {
		t.Error("nothing more was copied")
	}
	s.delivered(2 * time.Minute)
	t.Logf("%d segments are in the bucket; at most %d MiB were resident", copies(b), s.memory("VmHWM")>>20)
	if log := s.tail(1 << 20); strings.Contains(log, buckets.Secret) || !strings.Contains(log, "cannot be moved") {
		t.Error("the log tells the keys, or not that the bucket was away")
	}
	s.stop()
	broughtBack(t, dir, o.config, next)
	for key, times := range b.Puts() {
		if times != 1 {
			t.Errorf("%s was put %d times", key, times)
		}
	}
}

// coldAlarms waits until status and metrics say that the cold tier fails, or that
// it works.
func coldAlarms(t *testing.T, s *server, config string, want bool) {
	t.Helper()
	line := map[bool]string{true: `holdfast_stream_cold_failing{stream="main"} 1`, false: `holdfast_stream_cold_failing{stream="main"} 0`}[want]
	eventually(t, 2*time.Minute, line, func() (bool, string) {
		r, err := http.Get(s.url("/metrics"))
		if err != nil {
			return false, err.Error()
		}
		text, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		return err == nil && strings.Contains(string(text), line), fmt.Sprint(err)
	})
	out := holdfast(t, 0, "status", "--config", config).stdout
	if strings.Contains(out, "ALARM: the cold tier of main fails") != want || strings.Contains(out, buckets.Secret) {
		t.Errorf("the cold tier fails: %v; status says\n%s", want, out)
	}
}

// broughtBack brings all back that is in the bucket, holds the digests against
// what manifest search says, and the rows against those that were put.
func broughtBack(t *testing.T, dir, config string, rows int) {
	t.Helper()
	back := filepath.Join(dir, "back")
	digests := map[uint64]string{}
	for line := range strings.Lines(holdfast(t, 0, "thaw", "s3://archive/site one/main.*", "--config", config, "--to", back, "--json").stdout) {
		var one struct {
			Number uint64
			SHA256 string
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil || digests[one.Number] != "" {
			t.Fatalf("%s: %v", line, err)
		}
		digests[one.Number] = one.SHA256
	}
	gone := 0
	for _, line := range searched(t, "--config", config, "--stream", "main", "--json") {
		var one struct {
			Number uint64
			SHA256 string
			Where  string
			Gone   struct{ To string }
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		if one.Where != "gone" {
			continue
		}
		gone++
		if len(one.SHA256) != 64 || one.SHA256 != digests[one.Number] || !strings.HasPrefix(one.Gone.To, "s3://archive/site one/main.") {
			t.Errorf("segment %d went to %q, sealed as %q, and comes back as %q", one.Number, one.Gone.To, one.SHA256, digests[one.Number])
		}
	}
	if gone < 4 {
		t.Errorf("only %d segments went", gone)
	}
	file := filepath.Join(dir, "back.yaml")
	if err := os.WriteFile(file, []byte("data: "+back+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var have []int
	for _, c := range []string{file, config} {
		for _, text := range linksIn(t, c, "main", "n") {
			n, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			have = append(have, n)
		}
	}
	slices.Sort(have)
	have = slices.Compact(have) // a copy that the roll did not come to is in both places
	if len(have) != rows || have[0] != 0 || have[rows-1] != rows-1 {
		t.Errorf("%d rows of %d are there or come back", len(have), rows)
	}
	holdfast(t, 0, "thaw", "s3://archive/site one/main.*.zst", "--config", config, "--to", back) // once more
	if r := holdfast(t, 1, "thaw", "s3://archive/site one/main.*", "--config", config, "--to", filepath.Join(dir, "data")); !strings.Contains(r.stderr, "something else") {
		t.Errorf("segments go back among those that are there: %s", r.stderr)
	}
}
