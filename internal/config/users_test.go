package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/auth"
	"holdfast/test/pki"
)

const verifier = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

var tokenHash = auth.HashOf("t").String()

// TestWhoMayComeIn: what users, tokens, TLS and addresses mean together. Each
// text is taken where nothing is said about it.
func TestWhoMayComeIn(t *testing.T) {
	users := "users: {acc: {verifier: '" + verifier + "', grants: ['acc*']}}\n"
	tokens := "tokens: {shop: {hash: '" + tokenHash + "', grants: [orders]}}\n"
	tls := "tls: {cert: /c.pem, key: /c.key}\n"
	for _, c := range []struct{ text, says string }{
		{users, ""}, {tokens, ""}, {tls, ""}, {users + tokens + tls, ""},
		{"users: {}\ntokens: {}\n", ""},
		{"listen: {pg: ':5433'}\n", "there are no users"},
		{"listen: {pg: '0.0.0.0:5433'}\n" + tokens, "there are no users"},
		{"listen: {pg: '[::]:5433'}\nusers: {}\n", "there are no users"},
		{"listen: {pg: '192.0.2.1:5433'}\n" + users, ""},
		{"listen: {pg: '[::ffff:127.0.0.1]:5433'}\n", ""},
		{"listen: {http: ':8433'}\n", "neither users nor tokens"},
		{"listen: {http: ':8433'}\n" + tokens, "unencrypted"},
		{"listen: {http: ':8433'}\n" + tokens + tls, ""},
		{"listen: {http: ':8433'}\n" + users + tls, ""},
		{"tls: {cert: /c.pem}\n", "both a cert and a key"}, {"tls: {key: /c.pem}\n", "both a cert and a key"},
		{"tls: {client_ca: /c.pem}\n", "without TLS"},
		{"users: {acc: {grants: [a]}}\n", "nothing to log in with"}, {"users: {acc: }\n", "nothing to log in with"},
		{"users: {acc: {verifier: '" + verifier + "', password_file: /f}}\n", "both a verifier and a password_file"},
		{"users: {acc: {certificate: acc}}\n", "needs a certificate"},
		{tls + "users: {acc: {certificate: acc}}\n", "needs a certificate"},
		{"tls: {cert: /c, key: /k, client_ca: /a}\nusers: {acc: {certificate: x}, b: {certificate: y}}\n", ""},
		{"tls: {cert: /c, key: /k, client_ca: /a}\nusers: {acc: {certificate: x}, b: {certificate: x}}\n", "the same certificate"},
		{"users: {acc: {verifier: hunter2}}\n", "the verifier is not a verifier"},
		{"users: {acc: {verifier: '" + verifier[:80] + "'}}\n", "the verifier is not a verifier"},
		{"users: {acc: {password: hunter2}}\n", "unknown key"},
		{"tokens: {shop: {grants: [a]}}\n", "has no hash"},
		{"tokens: {shop: {hash: hunter2}}\n", "the hash is not a hash"},
		{"users: {acc: {password_file: /f, grants: [a/b]}}\n", "is not a table's name"},
	} {
		_, err := Parse("f", []byte(c.text))
		switch {
		case (err == nil) != (c.says == ""), err != nil && !strings.Contains(err.Error(), c.says):
			t.Errorf("%q: %v, want %q", c.text, err, c.says)
		case err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "W22Z")):
			t.Errorf("%q: the error repeats the secret: %v", c.text, err)
		}
	}
	if err := Default().Override(Override{PG: "0.0.0.0:5433"}); err == nil {
		t.Error("a flag opens the door to everybody")
	}
	with := parse1(t, users)
	if err := with.Override(Override{PG: "0.0.0.0:5433"}); err != nil {
		t.Error(err)
	}
}

// TestVerifiersStayHidden holds that a print shows no verifier, that a change of
// one is noticed all the same, and that a print is not run with.
func TestVerifiersStayHidden(t *testing.T) {
	text := "data: " + t.TempDir() + "\nusers: {acc: {verifier: '" + verifier + "'}, 'other': {password_file: /f, grants: [a, 'b*']}}\n"
	c := parse1(t, text)
	var b bytes.Buffer
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{b.String(), fmt.Sprintf("%+v", c.Users["acc"]), fmt.Sprintf("%#v", *c.Users["acc"])} {
		if strings.Contains(shown, "WG5d") || strings.Contains(shown, "4096") {
			t.Errorf("the verifier is shown:\n%s", shown)
		}
	}
	v, err := auth.NewVerifier("another")
	if err != nil {
		t.Fatal(err)
	}
	changes := Diff(c, parse1(t, strings.Replace(text, verifier, v.Text(), 1)))
	if len(changes) != 1 || changes[0].Key != "users.acc.verifier" || changes[0].Restart || changes[0].New != `"(hidden)"` {
		t.Errorf("another password is the change %+v", changes)
	}
	for _, change := range Diff(c, parse1(t, "data: "+c.Data+"\n")) {
		if change.Restart {
			t.Errorf("users that go need a restart: %+v", change)
		}
	}
	if err := parse1(t, b.String()).Check(); err == nil || !strings.Contains(err.Error(), "was hidden by a print") {
		t.Errorf("a print of a configuration is run with: %v", err)
	}
}

// TestCheckAccess looks at the files.
func TestCheckAccess(t *testing.T) {
	dir := t.TempDir()
	ca := pki.New(t, "ca")
	cert, key := ca.Issue("server", time.Now().Add(time.Hour))
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("pencil\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		mode os.FileMode
		says string
	}{
		{"users: {acc: {password_file: " + password + "}}\n", 0o644, ""},
		{"users: {acc: {password_file: " + dir + "/none}}\n", 0o600, "no such file"},
		{"users: {acc: {password_file: " + ca.File + "}}\n", 0o600, ""},
		{"users: {acc: {verifier: '" + verifier + "'}}\n", 0o600, ""},
		{"users: {acc: {verifier: '" + verifier + "'}}\n", 0o640, ""},
		{"users: {acc: {verifier: '" + verifier + "'}}\n", 0o644, "everybody may read it"},
		{"tls: {cert: " + cert + ", key: " + key + ", client_ca: " + ca.File + "}\n", 0o644, ""},
		{"tls: {cert: " + cert + ", key: " + dir + "/none}\n", 0o644, "no such file"},
		{"tls: {cert: " + cert + ", key: " + password + "}\n", 0o644, "belong together"},
	} {
		file := filepath.Join(dir, "holdfast.yaml")
		if err := os.WriteFile(file, []byte("data: "+dir+"/data\n"+c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, c.mode); err != nil {
			t.Fatal(err)
		}
		l, err := Load(file)
		if err == nil {
			err = l.Check()
		}
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want %q", c.text, err, c.says)
		}
	}
	c := parse1(t, "users: {acc: {password_file: "+password+", grants: [a]}}\ntokens: {x: {hash: '"+tokenHash+"', grants: [b]}}\n")
	p, err := c.Policy([]byte("s"))
	if err != nil {
		t.Fatal(err)
	}
	who, ok := p.Login("acc", "pencil", "")
	shop, ok2 := p.ByToken("t")
	if !ok || !ok2 || p.Allow(who, "a") != nil || p.Allow(who, "b") == nil || p.Allow(shop, "b") != nil || p.Allow(shop, "a") == nil {
		t.Error("the policy is not what the configuration says")
	}
}
