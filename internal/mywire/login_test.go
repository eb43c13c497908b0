package mywire

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"holdfast/internal/auth"
	"holdfast/internal/gate"
	"holdfast/test/pki"
)

// guarded has a user with a password in a file, and one with a verifier alone.
func guarded(t *testing.T) *auth.Guard {
	t.Helper()
	v, err := auth.NewVerifier("secret")
	if err != nil {
		t.Fatal(err)
	}
	p, err := auth.NewPolicy([]byte("x"), []auth.User{
		{Name: "file", Password: "secret", Grants: []string{"t"}}, {Name: "verifier", Verifier: v, Grants: []string{"t"}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := new(auth.Guard)
	g.Set(p)
	return g
}

// TestLogin tries every kind of user, password and connection.
func TestLogin(t *testing.T) {
	config, roots := certificate(t)
	if err := mysql.RegisterTLSConfig("test", &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}); err != nil {
		t.Fatal(err)
	}
	defer mysql.DeregisterTLSConfig("test")
	addr := startServer(t, Options{Store: newStore(nil), Access: guarded(t), TLS: func() *tls.Config { return config }})
	for _, c := range []struct {
		user, query string
		number      uint16
	}{
		{"file:secret", "", 0},
		{"file:wrong", "", 1045},
		{"file:", "", 1045},
		{"verifier:secret", "", 1045},
		{"nobody:secret", "", 1045},
		{"file:secret", "tls=test", 0},
		{"file:wrong", "tls=test", 1045},
		{"verifier:secret", "tls=test", 0},
		{"verifier:wrong", "tls=test", 1045},
		{"nobody:secret", "tls=test", 1045},
	} {
		db := open(t, addr, c.user, c.query)
		err := db.Ping()
		switch {
		case c.number == 0 && err != nil:
			t.Errorf("%s %s: %v", c.user, c.query, err)
		case c.number != 0 && (err == nil || number(t, err) != c.number):
			t.Errorf("%s %s: %v, want %d", c.user, c.query, err, c.number)
		}
		if c.number == 0 && err == nil {
			granted(t, db)
		}
		db.Close()
	}
}

// granted writes where the user may, and where it may not.
func granted(t *testing.T, db *sql.DB) {
	t.Helper()
	if _, err := db.Exec("insert into t(a) values (1)"); err != nil {
		t.Error(err)
	}
	if _, err := db.Exec("insert into u(a) values (1)"); err == nil || number(t, err) != 1142 {
		t.Errorf("a table without grant: %v", err)
	}
}

// TestSameForAll sees that what a client is told does not depend on the user.
func TestSameForAll(t *testing.T) {
	addr := startServer(t, Options{Store: newStore(nil), Access: guarded(t)})
	var told []string
	for _, user := range []string{"file", "verifier", "nobody"} {
		err := open(t, addr, user+":wrong", "").Ping()
		if err == nil {
			t.Fatalf("%s came in", user)
		}
		told = append(told, strings.Replace(err.Error(), "'"+user+"'", "X", 1))
	}
	if told[0] != told[1] || told[1] != told[2] {
		t.Errorf("answers differ: %q", told)
	}
}

// TestFull refuses one connection too many, with MySQL's number.
func TestFull(t *testing.T) {
	addr := startServer(t, Options{Store: newStore(nil), Gate: gate.New(gate.Limits{Open: 1})})
	if err := open(t, addr, "u", "").Ping(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, addr, "u", "").Ping(); err == nil || number(t, err) != 1040 {
		t.Errorf("a second connection: %v", err)
	}
}

// TestTypesOnce executes a statement again without its types, as MariaDB's
// client does: the values must be those sent, not NULL.
func TestTypesOnce(t *testing.T) {
	store := newStore(nil)
	s := fuzzSession(store)
	for _, body := range []string{
		"\x16insert into a(b) values(?)",
		"\x17\x01\x00\x00\x00\x00\x01\x00\x00\x00" + "\x00\x01\x03\x00\x01\x00\x00\x00",
		"\x17\x01\x00\x00\x00\x00\x01\x00\x00\x00" + "\x00\x00\x02\x00\x00\x00",
		"\x17\x01\x00\x00\x00\x00\x01\x00\x00\x00" + "\x01\x00",
	} {
		if err := s.handle([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if got := store.all(); got != "a b=1\na b=2\na b=NULL" {
		t.Errorf("stored %q: %q", got, s.in.out)
	}
}

// TestLengthIsNoMemory announces a packet of 16 MiB, and sends none of it.
func TestLengthIsNoMemory(t *testing.T) {
	addr := startServer(t, Options{Store: newStore(nil), Stalled: 200 * time.Millisecond})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{0xff, 0xff, 0xff, 1, 0}); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	if _, err := all.ReadFrom(conn); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(all.Bytes(), []byte("max_allowed_packet")) {
		t.Errorf("answered %q", all.Bytes())
	}
	p := newPackets(&canned{strings.NewReader("\xfe\xff\xff\x00abc")}, gate.NewMemory(64<<20))
	p.limit = maxPacket
	if n, err := p.header(); err != nil {
		t.Fatal(err)
	} else if _, err := p.body(n); err == nil || cap(p.buf) > 1<<20 {
		t.Errorf("%v; the buffer has %d bytes", err, cap(p.buf))
	}
}

// certificate signs one for this machine.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	ca := pki.New(t, "authority")
	pair, err := tls.LoadX509KeyPair(ca.Issue("server", time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, roots
}
