package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSecurityInTenLines does what docs/security.md says, word for word but for
// the directory and the port, and is let in.
func TestSecurityInTenLines(t *testing.T) {
	for _, program := range []string{"psql", "openssl"} {
		need(t, program)
	}
	blocks := fence.FindAllStringSubmatch(documents(t)["docs/security.md"], 2)
	if len(blocks) < 2 || !strings.Contains(blocks[0][2], "config verifier") || !strings.Contains(blocks[1][2], "channel_binding=require") {
		t.Fatal("docs/security.md has lost its first two examples")
	}
	if lines := strings.Count(blocks[0][2], "\n"); lines > 10 {
		t.Errorf("ten lines have become %d", lines)
	}
	dir := t.TempDir()
	etc, data := filepath.Join(dir, "etc"), filepath.Join(dir, "data")
	here := strings.NewReplacer("/etc/holdfast", etc, "holdfast config", program+" config", "0.0.0.0", "127.0.0.1")
	if r := command(t, dir, nil, "sh", "-ec", here.Replace(blocks[0][2])); r.code != 0 {
		t.Fatalf("the example ends with %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	s := start(t, data, options{config: filepath.Join(etc, "holdfast.yaml")})
	_, port, err := net.SplitHostPort(s.pg)
	if err != nil {
		t.Fatal(err)
	}
	client := strings.ReplaceAll(blocks[1][2], "port=5433", "port="+port)
	if r := command(t, etc, nil, "sh", "-ec", client); r.stdout != "INSERT 0 1\n" {
		t.Fatalf("psql said %q %q", r.stdout, r.stderr)
	}
	if err := os.WriteFile(filepath.Join(etc, "acc.password"), []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := command(t, etc, nil, "sh", "-ec", client); !strings.Contains(r.stderr, "password authentication failed") {
		t.Errorf("with another password psql said %q %q", r.stdout, r.stderr)
	}
	(&secured{server: s}).stored("acc", 1)
	s.logged(10*time.Second, "login refused", `"user":"acc"`)
}
