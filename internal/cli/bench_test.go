package cli

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/bench"
)

func TestBenchUsage(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"--rows -1", "holdfast: --rows \"-1\" is out of range\nhint: from 0 to 100000000\n"},
		{"--rounds 0", "holdfast: --rounds \"0\" is out of range\nhint: from 1 to 1000\n"},
		{"--only (", "holdfast: --only \"(\" cannot be read: error parsing regexp: missing closing ): `(`\nhint: see holdfast bench --help for the names of the cases\n"},
		{"--only nonsense", "holdfast: no case matches \"nonsense\"\nhint: see holdfast bench --help for the names of the cases\n"},
	} {
		r := run(t, "", nil, append([]string{"bench"}, strings.Fields(test.args)...)...)
		if r.code != exitUsage || r.errors != test.want || r.out != "" {
			t.Errorf("%q: %d %q %q", test.args, r.code, r.errors, r.out)
		}
	}
	missing := filepath.Join(t.TempDir(), "missing", "bench.md")
	if r := run(t, "", nil, "bench", "--out", missing); r.code != exitFailed || !strings.Contains(r.errors, missing) || r.out != "" {
		t.Errorf("a report that cannot be written: %+v", r)
	}
}

func TestBenchInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir, errs := t.TempDir(), &strings.Builder{}
	env := &Env{Context: ctx, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: errs, Getenv: func(string) string { return "" }}
	if code := Run(env, []string{"bench", "--dir", dir}); code != exitFailed || errs.String() != "holdfast: the bench was interrupted; its directory is removed\n" {
		t.Errorf("%d %q", code, errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestBench runs one short case in each form of output.
func TestBench(t *testing.T) {
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "bench.md")
	args := []string{"bench", "--dir", dir, "--only", "^read-back$", "--rows", "50", "--rounds", "1"}
	r := run(t, "", nil, append(args, "--out", out)...)
	lines := strings.Split(r.out, "\n")
	if r.code != exitDone || len(lines) != 3 || lines[0]+"\n" != bench.Header() || !strings.HasPrefix(lines[1], "read-back ") {
		t.Errorf("table: %+v", r)
	}
	if !strings.Contains(r.errors, "file system ") || !strings.Contains(r.errors, "commit ") {
		t.Errorf("errors: %q", r.errors)
	}
	text, err := os.ReadFile(out)
	if err != nil || !strings.Contains(string(text), "`holdfast bench --only '^read-back$' --rows 50 --rounds 1`") || !strings.Contains(string(text), "| read-back |") {
		t.Errorf("report: %v\n%s", err, text)
	}
	r = run(t, "", nil, append(args, "--json")...)
	var got map[string]any
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.code != exitDone {
		t.Fatalf("JSON: %v %+v", err, r)
	}
	for _, key := range []string{"name", "rate", "unit", "baseline", "ratio", "p50_us", "p99_us"} {
		if got[key] == nil || got[key] == 0.0 || got[key] == "" {
			t.Errorf("%s is missing in %s", key, r.out)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
