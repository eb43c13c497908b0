package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/test/pki"
)

// canary is the password of each user of these tests; it must never be seen.
const canary = "Canary-7f3a-Pass"

// secured is a server with users, tokens and TLS.
type secured struct {
	*server
	ca       *pki.CA
	config   string
	token    string // may write to orders
	verifier string
}

// secure starts a server that lets in "acc" by a verifier, "filed" by a password
// in a file, "card" by a certificate, and a token; more is added to the
// configuration.
func secure(t *testing.T, more string) *secured {
	t.Helper()
	data := dataDir(t)
	s := &secured{ca: pki.New(t, "ours")}
	s.verifier = strings.TrimSpace(feed(t, 0, strings.NewReader(canary+"\n"), "config", "verifier").stdout)
	var hash string
	if _, err := fmt.Sscanf(holdfast(t, 0, "config", "token").stdout, "token: %s\nhash: %s\n", &s.token, &hash); err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(filepath.Dir(data), "password")
	if err := os.WriteFile(password, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key := s.ca.Issue("server", time.Now().Add(time.Hour))
	s.config = configure(t, data, fmt.Sprintf(`tls: {cert: %s, key: %s, client_ca: %s}
tables: {auto: true}
users:
  acc: {verifier: "%s", grants: ["acc*"]}
  filed: {password_file: %s, grants: [cdr]}
  card: {certificate: card, grants: ["*"]}
  idle: {verifier: "%s"}
  boss: {verifier: "%s", console: true}
tokens:
  shop: {hash: "%s", grants: [orders]}
%s`, cert, key, s.ca.File, s.verifier, password, s.verifier, s.verifier, hash, more))
	s.server = start(t, data, options{config: s.config})
	return s
}

// as returns how user connects, encrypted and bound to the server's certificate.
func (s *secured) as(user, password string) string {
	host, port, err := net.SplitHostPort(s.pg)
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("host=%s port=%s dbname=d user=%s password=%s sslmode=verify-full channel_binding=require sslrootcert=%s", host, port, user, password, s.ca.File)
}

// login connects with pgx until the test ends.
func (s *secured) login(params string) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	c, err := pgconn.Connect(ctx, params)
	if err == nil {
		s.t.Cleanup(func() { c.Close(context.Background()) })
	}
	return c, err
}

// stored waits until the sink has rows of a table.
func (s *secured) stored(table string, rows int) {
	s.t.Helper()
	db := openSink(s.t, s.data)
	eventually(s.t, 20*time.Second, fmt.Sprintf("%d rows in %s", rows, table), func() (bool, string) {
		var n int
		if err := db.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
			return false, err.Error()
		}
		return n == rows, fmt.Sprint(n)
	})
}

// TestSecurePsql is what the issue shows: psql inserts a row with the server's
// certificate verified and the password bound to it.
func TestSecurePsql(t *testing.T) {
	need(t, "psql")
	s := secure(t, "")
	psql := func(params, sql string) result {
		t.Helper()
		return command(t, t.TempDir(), nil, "psql", "-X", "-w", "-c", sql, params)
	}
	cardCert, cardKey := s.ca.Issue("card", time.Now().Add(time.Hour))
	other := pki.New(t, "theirs")
	plain := strings.NewReplacer("sslmode=verify-full channel_binding=require", "sslmode=disable")
	for _, c := range []struct{ name, params, table, out, err string }{
		{"verifier", s.as("acc", canary), "acc", "INSERT 0 1\n", ""},
		{"verifier, other table of the pattern", s.as("acc", canary), "acc_2026", "INSERT 0 1\n", ""},
		{"password file", s.as("filed", canary), "cdr", "INSERT 0 1\n", ""},
		{"certificate", strings.Replace(s.as("card", ""), "channel_binding=require", "sslcert="+cardCert+" sslkey="+cardKey, 1), "acc", "INSERT 0 1\n", ""},
		{"unencrypted from this machine", plain.Replace(s.as("acc", canary)), "acc", "INSERT 0 1\n", ""},
		{"no grant", s.as("acc", canary), "cdr", "", "ERROR:  permission denied for table cdr"},
		{"no grant at all", s.as("idle", canary), "acc", "", "ERROR:  permission denied for table acc"},
		{"wrong password", s.as("acc", "x"), "acc", "", `FATAL:  password authentication failed for user "acc"`},
		{"unknown user", s.as("nobody", canary), "acc", "", `FATAL:  password authentication failed for user "nobody"`},
		{"no certificate", s.as("card", "x"), "acc", "", `FATAL:  password authentication failed for user "card"`},
		{"another server", strings.Replace(s.as("acc", canary), s.ca.File, other.File, 1), "acc", "", "certificate verify failed"},
	} {
		r := psql(c.params, "INSERT INTO "+c.table+"(a) VALUES ('"+c.name+"')")
		if r.stdout != c.out || !strings.Contains(r.stderr, c.err) {
			t.Errorf("%s: psql said %q %q, want %q %q", c.name, r.stdout, r.stderr, c.out, c.err)
		}
	}
	s.stored("acc", 3)
	s.stored("cdr", 1)
}

// TestNobodyTakesAsLong: whether a user exists shows neither in what is
// answered nor in when.
func TestNobodyTakesAsLong(t *testing.T) {
	s := secure(t, "")
	var said [2]string
	var took [2][]time.Duration
	users := [2]string{"acc", "nob"}
	for range 9 { // as many as may fail before the rest must wait
		for i, user := range users {
			began := time.Now()
			_, err := s.login(s.as(user, "wrong"))
			took[i] = append(took[i], time.Since(began))
			var pg *pgconn.PgError
			if !errors.As(err, &pg) {
				t.Fatal(err)
			}
			said[i] = strings.ReplaceAll(fmt.Sprintf("%s %s %s %s %s", pg.Severity, pg.Code, pg.Message, pg.Detail, pg.Hint), user, "X")
		}
	}
	if said[0] != said[1] || !strings.HasPrefix(said[0], "FATAL 28P01 password authentication failed") {
		t.Errorf("a user is refused with %q, nobody with %q", said[0], said[1])
	}
	for i := range took {
		slices.Sort(took[i])
	}
	if a, b := took[0][4], took[1][4]; a > 4*b || b > 4*a {
		t.Errorf("a user is refused after %v, nobody after %v", took[0], took[1])
	}
}

// TestReplacedCertificate: the files change under the server, or HUP is sent;
// connections stay, new ones see the new certificate, and rubbish changes
// nothing. Users follow HUP.
func TestReplacedCertificate(t *testing.T) {
	s := secure(t, "")
	old, err := s.login(s.as("acc", canary))
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		c, err := s.tls(nil)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	cert, _ := s.ca.Issue("server", time.Now().Add(2*time.Hour))
	eventually(t, 20*time.Second, "the new certificate, unasked", func() (bool, string) { is := serial(); return is != first, is })
	second := serial()
	s.ca.Issue("server", time.Now().Add(3*time.Hour))
	s.signal(syscall.SIGHUP)
	eventually(t, 20*time.Second, "the new certificate, on HUP", func() (bool, string) { is := serial(); return is != second, is })
	third := serial()
	if err := os.WriteFile(cert, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // the server looks at most once a second
	if is := serial(); is != third {
		t.Errorf("rubbish in the place of the certificate: %s", is)
	}
	s.logged(10*time.Second, "the old one stays")
	s.ca.Issue("server", time.Now().Add(time.Hour))
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config, []byte(strings.Replace(string(text), `["acc*"]`, "[cdr]", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	s.logged(10*time.Second, `"msg":"reloaded"`, "users.acc.grants")
	execute(t, old, "INSERT INTO cdr(a) VALUES ('still here')")
	if _, err := old.Exec(t.Context(), "INSERT INTO acc(a) VALUES (1)").ReadAll(); err == nil {
		t.Error("a grant that was taken away is still there")
	}
	s.stop()
}

// TestNotToEverybody: an address that others reach is refused without users,
// and the refusal says what to do.
func TestNotToEverybody(t *testing.T) {
	data := dataDir(t)
	for _, args := range [][]string{{"--pg", "0.0.0.0:0"}, {"--pg", "[::]:0"}, {"--pg", ":0"}, {"--http", "0.0.0.0:0"}} {
		r := holdfast(t, 1, append([]string{"serve", "--data", data}, args...)...)
		if !strings.Contains(r.stderr, "can be reached from outside") || !strings.Contains(r.stderr, "hint: add ") {
			t.Errorf("%q was refused with %s", args, r.stderr)
		}
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("a refused start left a data directory")
	}
	loop := start(t, data, options{})
	for _, address := range []string{loop.pg, loop.http} {
		if host, _, err := net.SplitHostPort(address); err != nil || !net.ParseIP(host).IsLoopback() {
			t.Errorf("by default it listens on %s", address)
		}
	}
	info, err := os.Stat(filepath.Join(data, "admin.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the admin socket: %v %v", info.Mode(), err)
	}
	if r, err := http.Get(loop.url("/v1/status")); err != nil || r.StatusCode != 200 {
		t.Errorf("without users the status is open to this machine: %v %v", r, err)
	}
}
