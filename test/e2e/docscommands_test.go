package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	fenced   = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")
	indented = regexp.MustCompile("(?m)^    (.+)$")
	inline   = regexp.MustCompile("`([^`\n]+)`")
)

// scripts returns a document's blocks that are a shell's, or say of no language.
func scripts(text string) (all []string) {
	for _, b := range fenced.FindAllStringSubmatch(text, -1) {
		if b[1] == "sh" || b[1] == "" {
			all = append(all, b[2])
		}
	}
	return all
}

// commands returns what a document shows as commands: the lines of its scripts,
// and in its prose what is indented or stands between backquotes.
func commands(text string) (lines []string) {
	for _, s := range scripts(text) {
		lines = append(lines, strings.Split(strings.TrimSpace(s), "\n")...)
	}
	prose := fenced.ReplaceAllString(text, "")
	for _, way := range []*regexp.Regexp{indented, inline} {
		for _, m := range way.FindAllStringSubmatch(prose, -1) {
			lines = append(lines, m[1])
		}
	}
	return lines
}

// TestDocumentedCommands runs examples of writing and looking one by one beside
// a server with nothing but defaults, as somebody does who copies them.
func TestDocumentedCommands(t *testing.T) {
	for _, tool := range []string{"curl", "psql", "zstd"} {
		need(t, tool)
	}
	dir := t.TempDir()
	at := bareServer(t, dir)
	for name, text := range map[string]string{
		"calls.csv":   "caller,callee,seconds\nerin,frank,3\n",
		"rows.ndjson": `{"caller":"grace","callee":"heidi"}` + "\n",
		"acc.ndjson":  `{"method":"INVITE","src_ip":"192.0.2.7","seconds":3601}` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(line string) string {
		t.Helper()
		r := at(line)
		if r.code != 0 || strings.Contains(r.stdout, `"error"`) {
			t.Errorf("%s: exit code %d\n%s%s", line, r.code, r.stdout, r.stderr)
		}
		return r.stdout
	}
	run(`psql -h 127.0.0.1 -p 5433 -c "INSERT INTO calls(caller, callee, seconds) VALUES ('alice','bob',42)"`)
	run("bin/holdfast put --table acc --format ndjson < acc.ndjson")
	texts := documents(t)
	for _, c := range []struct {
		document string
		begin    []string // of the commands that are run
		least    int
	}{
		{"README.md", []string{"curl ", "bin/holdfast put", "bin/holdfast cat", "bin/holdfast status", "bin/holdfast verify", "holdfast cat"}, 6},
		{"docs/http.md", []string{"curl ", "zstd "}, 3},
		{"docs/console.md", []string{"psql "}, 1},
		{"docs/index.md", []string{"holdfast cat "}, 2},
	} {
		ran := 0
		for _, line := range commands(texts[c.document]) {
			if !slices.ContainsFunc(c.begin, func(begin string) bool { return strings.HasPrefix(line, begin) }) {
				continue
			}
			ran++
			if strings.HasPrefix(line, "holdfast ") {
				line = "bin/" + line
			}
			if out := run(line); strings.Contains(line, "--where") && out == "" {
				t.Errorf("%s: %s finds nothing", c.document, line)
			}
		}
		if ran < c.least {
			t.Errorf("%s: ran %d commands, not %d: it has lost its examples", c.document, ran, c.least)
		}
	}
	rows := run("bin/holdfast cat --table calls")
	for _, caller := range []string{"carol", "erin", "grace"} {
		if !strings.Contains(rows, caller) {
			t.Errorf("the row of %s, which an example writes, is not there:\n%s", caller, rows)
		}
	}
}

// TestDocumentedDrop drops a file into a spool directory as docs/spool.md shows.
func TestDocumentedDrop(t *testing.T) {
	dir := t.TempDir()
	spool, config := filepath.Join(dir, "spool"), filepath.Join(dir, "holdfast.yaml")
	var example string
	for _, s := range scripts(documents(t)["docs/spool.md"]) {
		if strings.Contains(s, "mv ") {
			example = strings.ReplaceAll(s, "/var/spool/holdfast", spool)
		}
	}
	if example == "" {
		t.Fatal("docs/spool.md does not show how a file is written")
	}
	if err := os.MkdirAll(filepath.Join(spool, "acc"), 0o700); err != nil {
		t.Fatal(err)
	}
	yaml := "tables: {auto: true}\nsources: {drop: {type: spool, url: \"spool:" + spool + "\"}}\n"
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, filepath.Join(dir, "data"), options{config: config})
	if r := command(t, dir, nil, "sh", "-c", example); r.code != 0 {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	eventually(t, time.Minute, "the row of the file", func() (bool, string) {
		rows := holdfast(t, 0, "cat", "--table", "acc", "--data", s.data).stdout
		return strings.Contains(rows, "alice"), rows
	})
}

var (
	verbUse = regexp.MustCompile(`(?:^|[ (])(?:bin/)?holdfast ((?:[a-z]+ ?)+)(.*)`)
	quoted  = regexp.MustCompile(`'[^']*'|"[^"]*"`)
	flagUse = regexp.MustCompile(`--[a-z][a-z-]+`)
)

// TestDocumentedVerbs holds that each verb and each flag exists that the
// documents show in commands.
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
		for _, line := range commands(text) {
			use := verbUse.FindStringSubmatch(quoted.ReplaceAllString(line, "X"))
			if use == nil {
				continue
			}
			words := strings.Fields(use[1])
			verb := words[0]
			if strings.Contains(ask(verb), "Available Commands:") && len(words) > 1 {
				verb += " " + words[1]
			}
			if ask(verb) == "" {
				t.Errorf("%s: %q: there is no verb %q", name, line, verb)
			}
			for _, flag := range flagUse.FindAllString(use[2], -1) {
				if !strings.Contains(ask(verb), flag) {
					t.Errorf("%s: %q: %s has no %s", name, line, verb, flag)
				}
			}
		}
	}
	if len(help) < 20 {
		t.Errorf("the documents show %d verbs: the pattern that finds them is wrong", len(help))
	}
}
