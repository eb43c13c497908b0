package e2e

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// indexedStream has an index in a directory of its own.
const indexedStream = `
data: DATA
tables: {auto: true}
streams:
  main: {index: {columns: [src_ip, seconds], dir: "DATA-index=40 MB"}}
`

// TestCatWhere looks rows up through the verb, at a running server and without
// one: the same rows with and without the index, few segments opened, and a
// wrong condition named.
func TestCatWhere(t *testing.T) {
	data := dataDir(t)
	config := configure(t, data, strings.ReplaceAll(indexedStream, "DATA", data))
	o := options{config: config}
	for n := range 6 {
		s := start(t, data, o)
		var body strings.Builder
		for i := range 20 {
			fmt.Fprintf(&body, "{\"src_ip\": \"192.0.2.%d\", \"seconds\": %d, \"note\": \"n%d\"}\n", n, 20*n+i, i)
		}
		r, err := http.Post(s.url("/v1/tables/acc/rows"), "application/x-ndjson", strings.NewReader(body.String()))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		s.stop() // which seals the segment
	}
	s := start(t, data, o)
	eventually(t, time.Minute, "six slices", func() (bool, string) {
		found, err := filepath.Glob(filepath.Join(data+"-index", "*.idx"))
		return err == nil && len(found) == 6, fmt.Sprint(found)
	})
	check := func(when string) {
		t.Helper()
		ask := []string{"cat", "--config", config, "--table", "acc", "--where", `src_ip == "192.0.2.3" and seconds >= 75`, "--since", "2h"}
		with := holdfast(t, 0, append(ask, "--explain")...)
		without := holdfast(t, 0, append(ask, "--no-index")...)
		if with.stdout != without.stdout || strings.Count(with.stdout, "\n") != 5 || !strings.Contains(with.stdout, "seconds=75") {
			t.Errorf("%s: with the index\n%s\nwithout\n%s", when, with.stdout, without.stdout)
		}
		if !strings.Contains(with.stderr, "1 segment opened, 5 skipped") {
			t.Errorf("%s: --explain tells %q", when, with.stderr)
		}
		asJSON := holdfast(t, 0, append(ask, "--explain", "--json")...)
		if !strings.Contains(asJSON.stdout, `{"explained":{"opened":1,"skipped":5,`) {
			t.Errorf("%s: --json tells %q", when, asJSON.stdout)
		}
		for where, says := range map[string]string{
			`scr_ip == "x"`: `column "scr_ip" of table "acc" does not exist`, `src_ip == 5`: "mismatched types", `src_ip ==`: "cannot be read",
		} {
			if r := holdfast(t, 1, "cat", "--config", config, "--table", "acc", "--where", where); !strings.Contains(r.stderr, says) || !strings.Contains(r.stderr, "hint: ") {
				t.Errorf("%s: %s: %q", when, where, r.stderr)
			}
		}
		if r := holdfast(t, 0, "status", "--config", config); !strings.Contains(r.stdout, "index of main: 6 slices, ") || !strings.Contains(r.stdout, " of 40.0 MB") {
			t.Errorf("%s: status tells\n%s", when, r.stdout)
		}
		holdfast(t, 2, "cat", "--config", config, "--where", "true")
		holdfast(t, 2, "cat", "--config", config, "--since", "yesterday")
	}
	check("with a server")
	r, err := http.Get(s.url("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r.Body)
	r.Body.Close()
	for _, line := range []string{`holdfast_stream_index_slices{stream="main"} 6`, `holdfast_stream_index_trouble{stream="main"} 0`} {
		if err != nil || !strings.Contains(string(all), line) {
			t.Errorf("metrics lack %s (%v)", line, err)
		}
	}
	s.stop()
	check("without one")
}
