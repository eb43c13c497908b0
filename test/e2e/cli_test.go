package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHelp holds that each verb explains itself, with an example.
func TestHelp(t *testing.T) {
	general := holdfast(t, 0, "--help").stdout
	for _, verb := range []string{"serve", "put", "cat", "tail", "status", "verify", "repair", "config", "bench", "completion", "version"} {
		if !strings.Contains(general, "\n  "+verb+" ") {
			t.Errorf("holdfast --help does not list %s", verb)
		}
		help := holdfast(t, 0, verb, "--help").stdout
		if verb != "completion" && !strings.Contains(strings.ToLower(help), "example") {
			t.Errorf("holdfast %s --help shows no example:\n%s", verb, help)
		}
	}
	for _, verb := range []string{"check", "print", "schema"} {
		if help := holdfast(t, 0, "config", verb, "--help").stdout; !strings.Contains(strings.ToLower(help), "example") {
			t.Errorf("holdfast config %s --help shows no example:\n%s", verb, help)
		}
	}
}

// TestExitCodes holds 0 for done, 1 for failed and 2 for usage; 3, for damage
// found, is TestFlippedByte's.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, []byte("data: "+dir+"\ntabels: {auto: true}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		args []string
		says string // in what goes to stderr
	}{
		{0, []string{"version"}, ""},
		{0, []string{"config", "schema"}, ""},
		{0, []string{"completion", "bash"}, ""},
		{2, []string{"nonsense"}, "nonsense"},
		{2, []string{"serve", "--nonsense"}, "nonsense"},
		{2, []string{"put", "--format", "flat"}, "table"},
		{2, []string{"put", "--table", "t", "--format", "nonsense"}, "nonsense"},
		{1, []string{"config", "check", "--config", broken}, broken + ":2:1"},
		{1, []string{"config", "check", "--config", filepath.Join(dir, "absent.yaml")}, "absent.yaml"},
		{1, []string{"serve", "--data", filepath.Join(dir, "d"), "--config", broken}, "tabels"},
		{1, []string{"serve", "--data", filepath.Join(dir, "d"), "--pg", "203.0.113.1:5433"}, "203.0.113.1"},
		{1, []string{"verify", "--data", filepath.Join(dir, "absent")}, "absent"},
	} {
		r := feed(t, c.code, strings.NewReader(""), c.args...)
		if !strings.Contains(r.stderr, c.says) {
			t.Errorf("holdfast %q does not say %q: %s", c.args, c.says, r.stderr)
		}
		if c.code != 0 && strings.Contains(r.stderr, "goroutine ") {
			t.Errorf("holdfast %q shows a stack: %s", c.args, r.stderr)
		}
	}
}

// TestVerbs reads rows back with cat and tail, running and stopped.
func TestVerbs(t *testing.T) {
	s := start(t, dataDir(t), options{})
	feed(t, 0, strings.NewReader("{\"a\":\"one\"}\n{\"a\":\"two\"}\n"), "put", "--http", s.http, "--table", "t", "--format", "ndjson")
	feed(t, 0, strings.NewReader("a\nthree\n"), "put", "--data", s.data, "--table", "t", "--format", "csv")
	s.delivered(20 * time.Second)
	check := func(when string) {
		t.Helper()
		out := holdfast(t, 0, "cat", "--data", s.data, "--table", "t").stdout
		one, two, three := strings.Index(out, "one"), strings.Index(out, "two"), strings.Index(out, "three")
		if one < 0 || two < one || three < two {
			t.Errorf("%s: cat does not give the rows in order:\n%s", when, out)
		}
		if out := holdfast(t, 0, "status", "--data", s.data).stdout; !strings.Contains(out, "main") {
			t.Errorf("%s: status does not show stream main:\n%s", when, out)
		}
		holdfast(t, 0, "verify", "--data", s.data)
	}
	check("running")
	s.stop()
	check("stopped")

	var version struct{ Version string }
	if text := holdfast(t, 0, "version", "--json").stdout; json.Unmarshal([]byte(text), &version) != nil || version.Version == "" {
		t.Errorf("version --json says %q", text)
	}
}
