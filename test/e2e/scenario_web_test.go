package e2e

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
)

// client443 speaks HTTPS to the server, each request on a connection of its own.
func (s *secured) client443() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool()}, DisableKeepAlives: true}, Timeout: 10 * time.Second}
}

// TestScenario45Logs: whatever clients call themselves, a line of the log is one
// line without control characters, and so is what the verbs print of rows.
func TestScenario45Logs(t *testing.T) {
	const evil = "x\r\nlevel=ERROR msg=forged \x1b[2J\x07 \u202e<script>alert(1)</script>"
	s := secure(t, "log: {level: debug, format: text}\n")
	for _, user := range []string{evil, "=cmd"} {
		_, err := s.login(strings.Replace(s.as("acc", "wrong"), "user=acc", "user='"+strings.ReplaceAll(user, `'`, `\'`)+"'", 1))
		if err == nil {
			t.Error("let in")
		}
	}
	c, err := s.login(s.as("acc", canary) + " application_name='" + evil + "'")
	if err != nil {
		t.Fatal(err)
	}
	r := c.ExecParams(t.Context(), "INSERT INTO acc(a) VALUES ($1)", [][]byte{[]byte(evil)}, nil, nil, nil).Read()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	_, _ = s.ask("POST", "/v1/tables/%1b%5b2J%0d%0a/rows", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.token) })
	s.logged(20*time.Second, "login refused", "forged")
	hidden := func(where, text string) {
		t.Helper()
		for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
			if strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) || r == '\u202e' }) {
				t.Errorf("%s: %q", where, line)
			}
			if strings.HasPrefix(line, "level=ERROR msg=forged") {
				t.Errorf("%s has a forged line: %q", where, line)
			}
		}
	}
	hidden("the log", s.tail(1_000_000))
	s.mu.Lock()
	for _, line := range s.log {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is no JSON: %q", line)
		}
	}
	s.mu.Unlock()
	hidden("cat", holdfast(t, 0, "cat", "--data", s.data).stdout)
	if text := holdfast(t, 0, "cat", "--data", s.data, "--table", "acc", "--csv").stdout; !strings.HasPrefix(text, "seq,received,table,a\n1,") {
		t.Errorf("cat --csv: %q", text)
	}
	hidden("status", holdfast(t, 0, "status", "--data", s.data).stdout)
}

// TestScenario46Browsers: a page in a browser on this machine can neither write
// nor read, under whatever name it found the server, and nothing of the admin
// socket or the profiler is on the TCP door.
func TestScenario46Browsers(t *testing.T) {
	s := start(t, dataDir(t), options{})
	for _, c := range []struct {
		method, path, host, origin, site string
		status                           int
	}{
		{"POST", "/v1/tables/t/rows", "", "", "", 200},
		{"POST", "/v1/tables/t/rows", "localhost", "http://localhost", "same-origin", 200},
		{"POST", "/v1/tables/t/rows", "evil.example", "", "", 421},
		{"GET", "/v1/status", "evil.example", "", "", 421},
		{"GET", "/metrics", "evil.example:8433", "", "", 421},
		{"GET", "/v1/status", "127.0.0.1.evil.example", "", "", 421},
		{"GET", "/v1/status", "192.168.1.1", "", "", 421},
		{"POST", "/v1/tables/t/rows", "", "https://evil.example", "cross-site", 403},
		{"POST", "/v1/tables/t/rows", "", "https://evil.example", "", 403},
		{"POST", "/v1/tables/t/rows", "", "null", "cross-site", 403},
		{"POST", "/v1/seal", "", "", "", 404}, {"POST", "/v1/verify", "", "", "", 404}, {"POST", "/v1/repair", "", "", "", 404},
		{"POST", "/v1/sinks/default/retire", "", "", "", 404}, {"POST", "/v1/rotate", "", "", "", 404}, {"GET", "/v1/rejects", "", "", "", 404},
		{"GET", "/v1/streams/main/rows", "", "", "", 404}, {"GET", "/debug/pprof/", "", "", "", 404}, {"GET", "/debug/vars", "", "", "", 404},
		{"TRACE", "/v1/status", "", "", "", 405}, {"PUT", "/v1/status", "", "", "", 405},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, s.url(c.path), strings.NewReader("{\"a\":\"1\"}\n"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-ndjson")
		if c.host != "" {
			r.Host = c.host
		}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != c.status {
			t.Errorf("%s %s of host %q, origin %q: %s %s, want %d", c.method, c.path, c.host, c.origin, answer.Status, text, c.status)
		}
		if kind := answer.Header.Get("Content-Type"); strings.Contains(kind, "html") || answer.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: answered as %q, to every origin %q", c.path, kind, answer.Header.Get("Access-Control-Allow-Origin"))
		}
	}
}
