package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tls connects to the HTTP door; change may change how.
func (s *secured) tls(change func(*tls.Config)) (*tls.Conn, error) {
	c := &tls.Config{RootCAs: s.pool(), ServerName: "localhost"}
	if change != nil {
		change(c)
	}
	return tls.Dial("tcp", s.http, c)
}

func (s *secured) pool() *x509.CertPool {
	s.t.Helper()
	text, err := os.ReadFile(s.ca.File)
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

// ask sends a request to the HTTP door and returns the status and the answer.
func (s *secured) ask(method, path string, change func(*http.Request)) (int, string) {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool()}, DisableKeepAlives: true}, Timeout: 20 * time.Second}
	body := ""
	if method == http.MethodPost {
		body = "{\"a\":1}\n"
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, "https://"+s.http+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	if change != nil {
		change(r)
	}
	answer, err := client.Do(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// TestSecureHTTP: scenario 46, and the matrix of who writes to what over HTTP.
func TestSecureHTTP(t *testing.T) {
	s := secure(t, "")
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	const orders, acc = "/v1/tables/orders/rows", "/v1/tables/acc/rows"
	for _, c := range []struct {
		name, method, path string
		change             func(*http.Request)
		status             int
	}{
		{"nobody", "POST", orders, nil, 401},
		{"token", "POST", orders, bearer(s.token), 200},
		{"token elsewhere", "POST", acc, bearer(s.token), 403},
		{"wrong token", "POST", orders, bearer(s.token + "x"), 401},
		{"token in the URL", "POST", orders + "?token=" + s.token, nil, 401},
		{"user", "POST", acc, basic("acc", canary), 200},
		{"user elsewhere", "POST", orders, basic("acc", canary), 403},
		{"wrong password", "POST", acc, basic("acc", "x"), 401},
		{"nobody's password", "POST", acc, basic("nobody", canary), 401},
		{"status", "GET", "/v1/status", nil, 401},
		{"status with a token", "GET", "/v1/status", bearer(s.token), 200},
		{"metrics", "GET", "/metrics", nil, 401},
		{"probe", "GET", "/ready", nil, 200},
		{"another host", "POST", orders, func(r *http.Request) { bearer(s.token)(r); r.Host = "evil.example" }, 421},
		{"name in the certificate", "POST", orders, func(r *http.Request) { bearer(s.token)(r); r.Host = "localhost" }, 200},
		{"page of another origin", "POST", orders, func(r *http.Request) {
			bearer(s.token)(r)
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}, 403},
		{"admin order", "POST", "/v1/verify", bearer(s.token), 404},
		{"rows of others", "GET", "/v1/streams/main/rows", bearer(s.token), 404},
		{"profiler", "GET", "/debug/pprof/", bearer(s.token), 404},
	} {
		if status, answer := s.ask(c.method, c.path, c.change); status != c.status {
			t.Errorf("%s: %s %s: %d %s, want %d", c.name, c.method, c.path, status, answer, c.status)
		}
	}
	if r, err := http.Get("http://" + s.http + "/ping"); err == nil && r.StatusCode != 400 {
		t.Errorf("it speaks HTTP without TLS: %s", r.Status)
	}
	if c, err := s.tls(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }); err == nil {
		c.Close()
		t.Error("TLS 1.1 is taken")
	}
	s.stored("orders", 2)
	holdfast(t, 0, "status", "--data", s.data)
}

// TestCanary: scenario 47. A password and a token go through each door, rightly
// and wrongly, and are then nowhere to be found.
func TestCanary(t *testing.T) {
	s := secure(t, "log: {level: debug}\n")
	var seen bytes.Buffer
	note := func(v ...any) { fmt.Fprintln(&seen, v...) }
	c, err := s.login(s.as("acc", canary))
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"INSERT INTO acc(a) VALUES ('x')", "INSERT INTO cdr(a) VALUES (1)", "SHOW ALL", "SELECT rolpassword FROM pg_authid", "SHOW users"} {
		r, err := c.Exec(t.Context(), sql).ReadAll()
		note(err)
		for _, one := range r {
			note(one.Rows)
		}
	}
	boss, err := s.login(strings.Replace(s.as("boss", canary), "dbname=d", "dbname=holdfast", 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"STREAMS", "SINKS", "SEGMENTS", "CLIENTS", "REJECTS", "STATS", "CONFIG", "VERSION", "HELP", "users"} {
		r, err := boss.Exec(t.Context(), "SHOW "+topic).ReadAll()
		note(err)
		for _, one := range r {
			for _, row := range one.Rows {
				note(string(bytes.Join(row, []byte(" "))))
			}
		}
	}
	_, err = s.login(s.as("acc", canary+"2"))
	note(strings.ReplaceAll(fmt.Sprint(err), "password="+canary, ""))
	note(s.ask("POST", "/v1/tables/orders/rows", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.token) }))
	note(s.ask("POST", "/v1/tables/acc/rows", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.token) }))
	note(s.ask("POST", "/v1/tables/acc/rows", func(r *http.Request) { r.SetBasicAuth("acc", canary) }))
	note(s.ask("POST", "/v1/tables/acc/rows", func(r *http.Request) { r.SetBasicAuth("acc", canary+"2") }))
	for _, path := range []string{"/metrics", "/v1/status"} {
		note(s.ask("GET", path, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.token) }))
	}
	printed := holdfast(t, 0, "config", "print", "--config", s.config)
	note(printed.stdout, printed.stderr)
	if !strings.Contains(printed.stdout, `verifier: "(hidden)"`) {
		t.Errorf("the print shows no hidden verifier:\n%s", printed.stdout)
	}
	note(holdfast(t, 0, "status", "--data", s.data, "--json"))
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.cmd.Process.Pid)); err == nil {
		note(string(line))
	}
	s.stop()
	note(s.tail(1_000_000))
	err = filepath.WalkDir(s.data, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v: %v", file, info.Mode(), err)
		}
		text, err := os.ReadFile(file)
		note(string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, secret := range map[string]string{"password": canary, "token": s.token, "verifier": s.verifier[30:60]} {
		if at := strings.Index(seen.String(), secret); at >= 0 {
			t.Errorf("the %s is seen: %q", what, seen.String()[max(0, at-200):at+20])
		}
	}
	// The same, where the configuration itself is wrong.
	wrong := configure(t, s.data, `users: {acc: {verifier: "`+canary+`"}}`)
	r := holdfast(t, 1, "config", "check", "--config", wrong)
	if strings.Contains(r.stdout+r.stderr, canary) {
		t.Errorf("a configuration with a password in the place of a verifier: %s", r.stderr)
	}
}
