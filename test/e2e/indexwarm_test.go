package e2e

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// warmIndex has an index with room for few slices, and a warm tier for the others.
const warmIndex = `
data: DATA
tables: {auto: true}
streams:
  main: {index: {columns: [src_ip], size: 0.04 MB, warm: "DATA-slow=40 MB"}}
`

// TestIndexWarm looks rows up by slices that have become warm, at a running
// server and after kill -9, and sees them told of.
func TestIndexWarm(t *testing.T) {
	data := dataDir(t)
	config := configure(t, data, strings.ReplaceAll(warmIndex, "DATA", data))
	o := options{config: config}
	const segments = 8
	s := start(t, data, o)
	for n := range segments {
		if n > 0 {
			s.stop() // which seals the segment
			s = start(t, data, o)
		}
		r, err := http.Post(s.url("/v1/tables/acc/rows"), "application/x-ndjson", strings.NewReader(strings.Repeat(fmt.Sprintf("{\"src_ip\": \"192.0.2.%d\"}\n", n), 20)))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
	}
	s.stop()
	s = start(t, data, o)
	var hot, warm []string
	look := func(when string) {
		t.Helper()
		eventually(t, time.Minute, fmt.Sprint(segments, " slices"), func() (bool, string) {
			hot, _ = filepath.Glob(filepath.Join(data, "streams", "main", "*.idx"))
			warm, _ = filepath.Glob(filepath.Join(data+"-slow", "*.idx"))
			return len(hot)+len(warm) == segments, fmt.Sprint(hot, warm)
		})
		if len(hot) == 0 || len(warm) == 0 || filepath.Base(warm[0]) != "0000000000000001.idx" {
			t.Fatalf("%s: hot %v, warm %v", when, hot, warm)
		}
		r := holdfast(t, 0, "cat", "--config", config, "--table", "acc", "--where", `src_ip == "192.0.2.0"`, "--explain")
		if strings.Count(r.stdout, "\n") != 20 || !strings.Contains(r.stderr, "1 segment opened, 7 skipped") || !strings.Contains(r.stderr, "8 index slices") {
			t.Errorf("%s: %q\n%s", when, r.stderr, r.stdout)
		}
		if out := holdfast(t, 0, "status", "--config", config).stdout; !strings.Contains(out, "index of main: 8 slices, ") || !strings.Contains(out, " of them warm, ") || !strings.Contains(out, " of 40.0 MB") {
			t.Errorf("%s: status tells\n%s", when, out)
		}
	}
	look("with a server")
	r, err := http.Get(s.url("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r.Body)
	r.Body.Close()
	if line := fmt.Sprintf(`holdfast_stream_index_warm_slices{stream="main"} %d`, len(warm)); err != nil || !strings.Contains(string(all), line) {
		t.Errorf("metrics lack %s (%v)", line, err)
	}
	var told []string
	for _, r := range s.rolls() {
		if strings.HasSuffix(r["tier"], "index") && r["bytes"] > "0" && r["failing"] == "" {
			told = append(told, r["stream"]+" "+r["tier"]+" "+r["limit_bytes"])
		}
	}
	if want := []string{"main index 41943", "main warm index 41943040"}; !slices.Equal(told, want) {
		t.Errorf("SHOW ROLLS tells of %q, want %q", told, want)
	}
	s.kill()
	s = start(t, data, o)
	look("after kill -9")
	s.stop()
}
