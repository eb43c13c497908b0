package e2e

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/test/pki"
)

// documents returns the text of each document by its path from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all[strings.TrimPrefix(file, root+"/")] = string(text)
		}
	}
	if all["README.md"] == "" {
		t.Fatal("README.md is missing")
	}
	return all
}

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// TestQuickStart does what the README's five-minute start says: the program
// that `make run` starts, then the two commands word for word.
func TestQuickStart(t *testing.T) {
	need(t, "psql")
	need(t, "sqlite3")
	readme := documents(t)["README.md"]
	makefile, err := os.ReadFile(root + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(makefile), "\nrun: build\n\t@exec $(BIN) serve\n") {
		t.Fatal("`make run` no longer starts `holdfast serve`, so this test tries something else than the README says")
	}
	const insert = `psql -h 127.0.0.1 -p 5433 -c "INSERT INTO calls(caller, callee, seconds) VALUES ('alice','bob',42)"`
	const read = `sqlite3 holdfast-data/holdfast.db 'select * from calls'`
	for _, line := range []string{"make run", insert, "INSERT 0 1", read, "alice|bob|42"} {
		if !strings.Contains(readme, line+"\n") {
			t.Fatalf("the README does not have the line %q", line)
		}
	}

	dir := t.TempDir()
	shell := bareServer(t, dir)
	if r := shell(insert); r.stdout != "INSERT 0 1\n" {
		t.Fatalf("psql answered %q %q, want INSERT 0 1", r.stdout, r.stderr)
	}
	eventually(t, time.Second, "the row in the sink", func() (bool, string) {
		r := shell(read)
		return r.stdout == "alice|bob|42\n", r.stdout + r.stderr
	})
}

// bareServer starts a server as `make run` does, without --data in an empty
// directory, and returns what runs a command of the README beside it. Only the
// ports differ, as another server may run on this machine.
func bareServer(t *testing.T, dir string) (shell func(string) result) {
	t.Helper()
	s := start(t, filepath.Join(dir, "holdfast-data"), options{bare: true})
	var ports []string
	for given, address := range map[string]string{"5433": s.pg, "8433": s.http} {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, given, port)
	}
	here := strings.NewReplacer(append(ports, "bin/holdfast ", program+" ")...)
	return func(line string) result {
		t.Helper()
		return command(t, dir, nil, "sh", "-c", here.Replace(line))
	}
}

// TestDocumentedConfigurations checks each YAML example of the documents.
func TestDocumentedConfigurations(t *testing.T) {
	seen := 0
	cert, key := pki.New(t, "the test's authority").Issue("localhost", time.Now().Add(time.Hour))
	check := func(t *testing.T, text string) {
		dir := t.TempDir()
		file, logs, old := filepath.Join(dir, "holdfast.yaml"), filepath.Join(dir, "logs"), filepath.Join(dir, "old")
		out, keys := filepath.Join(dir, "out"), filepath.Join(dir, "keys")
		if err := errors.Join(os.Mkdir(logs, 0o700), os.Mkdir(old, 0o700), os.Mkdir(out, 0o700), os.WriteFile(keys, []byte("aws_access_key_id = x\naws_secret_access_key = y\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
		text = strings.NewReplacer("/var/lib/holdfast", dir, "/var/spool/holdfast", logs, "/var/log/acc", dir, "/var/log/kamailio/acc", logs, "/var/log/kamailio/old", old,
			"/var/lib/xdasd/cache", dir, "/mnt/big/main", logs, "/mnt/big2/main", old, "/mnt/out", out, "/hdd/index", logs, "/run/secrets/s3", keys, "/etc/holdfast/cert.pem", cert, "/etc/holdfast/key.pem", key).Replace(text)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		holdfast(t, 0, "config", "check", "--config", file)
		seen++
	}
	for name, text := range documents(t) {
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			if block[1] == "yaml" {
				t.Run(name, func(t *testing.T) { check(t, block[2]) })
			}
		}
	}
	packaged, err := os.ReadFile(root + "/contrib/holdfast.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("contrib/holdfast.yaml", func(t *testing.T) { check(t, string(packaged)) })
	if seen < 2 {
		t.Errorf("checked %d examples: the README has lost its own", seen)
	}
}
