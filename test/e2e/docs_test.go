package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
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

	// Without --data, in an empty directory, as `make run` does it; only the
	// ports differ, as another server may run on this machine.
	dir := t.TempDir()
	s := start(t, filepath.Join(dir, "holdfast-data"), options{bare: true})
	_, port, err := net.SplitHostPort(s.pg)
	if err != nil {
		t.Fatal(err)
	}
	if r := command(t, dir, nil, "sh", "-c", strings.Replace(insert, "5433", port, 1)); r.stdout != "INSERT 0 1\n" {
		t.Fatalf("psql answered %q %q, want INSERT 0 1", r.stdout, r.stderr)
	}
	eventually(t, time.Second, "the row in the sink", func() (bool, string) {
		r := command(t, dir, nil, "sh", "-c", read)
		return r.stdout == "alice|bob|42\n", r.stdout + r.stderr
	})
}

// TestDocumentedConfigurations checks each YAML example of the documents.
func TestDocumentedConfigurations(t *testing.T) {
	seen := 0
	check := func(t *testing.T, text string) {
		dir := t.TempDir()
		file := filepath.Join(dir, "holdfast.yaml")
		text = strings.ReplaceAll(text, "/var/lib/holdfast", dir)
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

var (
	verbUse = regexp.MustCompile(`(?:^|[ (])(?:bin/)?holdfast ((?:[a-z]+ ?)+)((?: ?--?[a-z][a-z-]*(?:[ =][A-Za-z0-9/_.:*-]+)?)*)`)
	flagUse = regexp.MustCompile(`--[a-z][a-z-]+`)
)

// TestDocumentedVerbs holds that each verb and each flag that the documents
// show in commands exists.
func TestDocumentedVerbs(t *testing.T) {
	help := map[string]string{}
	ask := func(verb string) string {
		if _, asked := help[verb]; !asked {
			out, err := exec.Command(program, append(strings.Fields(verb), "--help")...).CombinedOutput()
			if err != nil {
				out = nil
			}
			help[verb] = string(out)
		}
		return help[verb]
	}
	for name, text := range documents(t) {
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			if block[1] != "sh" {
				continue
			}
			for _, use := range verbUse.FindAllStringSubmatch(block[2], -1) {
				words := strings.Fields(use[1])
				verb := words[0]
				if verb == "config" && len(words) > 1 {
					verb += " " + words[1]
				}
				if ask(verb) == "" {
					t.Errorf("%s: %q: there is no verb %q", name, strings.TrimSpace(use[0]), verb)
				}
				for _, flag := range flagUse.FindAllString(use[2], -1) {
					if !strings.Contains(ask(verb), flag) {
						t.Errorf("%s: %q: %s has no %s", name, strings.TrimSpace(use[0]), verb, flag)
					}
				}
			}
		}
	}
	if len(help) < 3 {
		t.Errorf("the documents show %d verbs: the pattern that finds them is wrong", len(help))
	}
}
