package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/internal/fault"
	"holdfast/test/servers"
)

// passwords that SASLprep changes, refuses, or leaves alone.
var passwords = []string{
	"pencil", " ", "with space", "ünïcødé", "soft\u00adhyphen", "no\u00a0break", "roman\u2168", "\u2168", "rtl\u0627", "\u0627\u0628", "\u06271\u0628",
	"emoji😀", "unassigned\u0221", "control\u0007", "zero\u200bwidth", "e\u0301", "\ufb01", strings.Repeat("x", 300), "quote'\"\\$:,=",
}

// TestVerifiersOfPostgres takes verifiers from a real PostgreSQL and logs in
// with them, and gives it ours.
func TestVerifiersOfPostgres(t *testing.T) {
	pg := servers.Postgres(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	admin, err := pgconn.Connect(ctx, pg.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	run := func(sql string) string {
		t.Helper()
		r, err := admin.Exec(ctx, sql).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if len(r) == 0 || len(r[0].Rows) == 0 {
			return ""
		}
		return string(r[0].Rows[0][0])
	}
	quote := func(s string) string { return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'" }
	run("SET password_encryption = 'scram-sha-256'")
	for i, password := range passwords {
		theirs := fmt.Sprint("theirs", i)
		run("CREATE ROLE " + theirs + " LOGIN PASSWORD " + quote(password))
		v, err := ParseVerifier(run("SELECT rolpassword FROM pg_authid WHERE rolname = '" + theirs + "'"))
		if err != nil {
			t.Fatalf("password %q: %v", password, err)
		}
		if !v.Matches(password) || v.Matches(password+"x") {
			t.Errorf("PostgreSQL's verifier of %q is not matched by it", password)
		}
		own, err := NewVerifier(password)
		if err != nil {
			t.Fatal(err)
		}
		run(fmt.Sprintf("CREATE ROLE ours%d LOGIN PASSWORD '%s'", i, own.Text()))
		if got := run(fmt.Sprintf("SELECT rolpassword FROM pg_authid WHERE rolname = 'ours%d'", i)); got != own.Text() {
			t.Errorf("PostgreSQL does not keep our verifier of %q as it is, but %q", password, got)
		}
		p, err := NewPolicy(nil, []User{{Name: "u", Verifier: v}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if plain(password) {
			if _, err := talk(t, p, Client{User: "u"}, password, nil); err != nil {
				t.Errorf("log in with PostgreSQL's verifier of %q: %v", password, err)
			}
		}
	}
	// From here on it asks for passwords.
	run("COPY (SELECT 'host all postgres 127.0.0.1/32 trust' UNION ALL SELECT 'host all all 127.0.0.1/32 scram-sha-256') TO " + quote(run("SHOW hba_file")))
	run("SELECT pg_reload_conf()")
	host, port, err := net.SplitHostPort(pg.Addr())
	if err != nil {
		t.Fatal(err)
	}
	login := func(user, password string) error {
		c, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%s user=%s dbname=postgres sslmode=disable", host, port, user))
		if err != nil {
			return err
		}
		c.Password = password
		conn, err := pgconn.ConnectConfig(ctx, c)
		if err == nil {
			conn.Close(ctx)
		}
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); login("ours0", "wrong") == nil; {
		if time.Now().After(deadline) {
			t.Fatal("PostgreSQL did not take its new rules over")
		}
	}
	for i, password := range passwords {
		if err := login(fmt.Sprint("ours", i), password); err != nil && plain(password) {
			t.Errorf("log in to PostgreSQL with our verifier of %q: %v", password, err)
		}
	}
	// What it says to somebody who does not exist is what we say.
	var refused *pgconn.PgError
	if err := login("nobody", "wrong"); !errors.As(err, &refused) {
		t.Fatal(err)
	}
	if ours := fault.Of(Refusal("nobody")); ours.Code != refused.Code || ours.Message != refused.Message {
		t.Errorf("PostgreSQL refuses with %s %q, we with %s %q", refused.Code, refused.Message, ours.Code, ours.Message)
	}
}

// plain tells whether the clients of this test prepare the password as libpq
// does: they have no way around a SASLprep that fails.
func plain(password string) bool {
	for _, r := range password {
		if r > 0x7e || r < 0x20 {
			return false
		}
	}
	return true
}
