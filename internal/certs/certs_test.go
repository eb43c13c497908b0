package certs

import (
	"bytes"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/test/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.pem")
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoad(t *testing.T) {
	ca := pki.New(t, "test")
	tomorrow := time.Now().Add(time.Hour)
	cert, key := ca.Issue("server", tomorrow)
	_, other := ca.Issue("other", tomorrow)
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		files Files
		says  string // "": it is fine
	}{
		{Files{cert, key, ""}, ""},
		{Files{cert, key, ca.File}, ""},
		{Files{"missing", key, ""}, `"missing"`},
		{Files{cert, "missing", ""}, `"missing"`},
		{Files{t.TempDir(), key, ""}, "not a file"},
		{Files{cert, other, ""}, "belong together"},
		{Files{key, key, ""}, "belong together"},
		{Files{cert, write(t, string(text), 0o644), ""}, "everybody may read the key (mode 0644)"},
		{Files{cert, write(t, string(text), 0o640), ""}, ""},
		{Files{cert, key, key}, "holds no certificate"},
		{Files{cert, key, write(t, strings.Repeat("x", maxFile+1), 0o600)}, "not a file of up to"},
	} {
		m, err := Load(c.files)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%+v: %v", c.files, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%+v: %v, want %q", c.files, err, c.says)
		case err != nil && strings.Contains(err.Error(), "PRIVATE"):
			t.Errorf("the error tells the key: %v", err)
		}
		if err == nil && (len(m.Binding()) != 32 || m.Config().MinVersion != tls.VersionTLS12 || m.Expires().IsZero()) {
			t.Errorf("%+v gave the binding %x", c.files, m.Binding())
		}
	}
}

// TestReload replaces the files under a Keeper: half of them, rubbish, and a
// new pair.
func TestReload(t *testing.T) {
	ca := pki.New(t, "test")
	cert, key := ca.Issue("server", time.Now().Add(time.Hour))
	troubles := 0
	k, err := Open(Files{Cert: cert, Key: key}, func(error) { troubles++ })
	if err != nil {
		t.Fatal(err)
	}
	first := k.Current()
	look := func() *Material { // as if the pause were over
		k.looked.Store(0)
		return k.Current()
	}
	if look() != first || troubles != 0 {
		t.Error("files that have not changed are read again")
	}
	if err := os.WriteFile(cert, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if k.Current() != first {
		t.Error("the files are looked at without a pause")
	}
	if look() != first || troubles != 1 {
		t.Errorf("rubbish is in force, or was not told: %d troubles", troubles)
	}
	if look() != first || troubles != 1 {
		t.Errorf("the same trouble is told again: %d", troubles)
	}
	if err := k.Reload(); err == nil || k.Current() != first {
		t.Errorf("a reload of rubbish: %v", err)
	}
	ca.Issue("server", time.Now().Add(2*time.Hour))
	second := look()
	if second == first || bytes.Equal(second.Binding(), first.Binding()) || troubles > 2 {
		t.Error("the new certificate is not in force")
	}
	ca.Issue("server", time.Now().Add(3*time.Hour))
	if err := k.Reload(); err != nil || k.Current() == second {
		t.Errorf("Reload kept the old certificate: %v", err)
	}
	if _, err := Open(Files{Cert: "missing"}, nil); err == nil {
		t.Error("Open takes a file that is missing")
	}
}
