package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// diagnosis is what holdfast doctor --json prints.
type diagnosis struct {
	Findings []struct{ Severity, Check, Subject, Saw, Means, Do string }
	Places   []struct {
		Dir, Use   string
		FileSystem string  `json:"file_system"`
		FlushP50   float64 `json:"flush_p50_seconds"`
	}
	Checks []string
}

func (d diagnosis) found(severity, check, saw string) bool {
	for _, f := range d.Findings {
		if f.Severity == severity && f.Check == check && strings.Contains(f.Saw, saw) {
			return true
		}
	}
	return false
}

// diagnose runs the doctor, whatever else it finds on this machine, and holds its
// exit code against what it found.
func diagnose(t *testing.T, args ...string) diagnosis {
	t.Helper()
	r := command(t, t.TempDir(), nil, program, append([]string{"doctor", "--json"}, args...)...)
	var d diagnosis
	if err := json.Unmarshal([]byte(r.stdout), &d); err != nil {
		t.Fatalf("%v: %q %q", err, r.stdout, r.stderr)
	}
	wrong := slices.ContainsFunc(d.Findings, func(f struct{ Severity, Check, Subject, Saw, Means, Do string }) bool { return f.Severity != "note" })
	if wrong != (r.code == 1) || !wrong && r.code != 0 {
		t.Errorf("exit code %d with %+v", r.code, d.Findings)
	}
	return d
}

// TestDoctor looks at a running server, at its limits in particular, and at what
// is left of a stopped one.
func TestDoctor(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: the doctor knows Linux")
	}
	need(t, "prlimit")
	data := dataDir(t)
	s := start(t, data, options{under: []string{"prlimit", "--nofile=400"}})
	d := diagnose(t, "--data", data)
	if !d.found("warning", "limits", "400 open files") {
		t.Errorf("the limit of the running server is not found: %+v", d.Findings)
	}
	if d.found("critical", "modes", "") || d.found("critical", "lock", "") || d.found("warning", "ports", "") {
		t.Errorf("found without being planted: %+v", d.Findings)
	}
	if len(d.Places) < 3 || d.Places[0].Dir != data || d.Places[0].FlushP50 <= 0 || !slices.Contains(d.Checks, "sinks") {
		t.Errorf("places %+v, checks %q", d.Places, d.Checks)
	}
	if err := os.Chmod(data, 0o777); err != nil {
		t.Fatal(err)
	}
	if d = diagnose(t, "--no-write", "--data", data); !d.found("critical", "modes", "mode 0777") {
		t.Errorf("the open directory is not found: %+v", d.Findings)
	}
	if err := os.Chmod(data, 0o700); err != nil {
		t.Fatal(err)
	}
	s.kill()
	if d = diagnose(t, "--no-write", "--data", data); !d.found("note", "lock", "held by nobody") || d.found("warning", "limits", "400") {
		t.Errorf("of a stopped server: %+v", d.Findings)
	}
	left, err := filepath.Glob(filepath.Join(data, ".holdfast-doctor*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v, left behind are %q", err, left)
	}
}

// TestDoctorDocument runs the commands of docs/doctor.md, and holds the plan that
// it shows against the one that is printed.
func TestDoctorDocument(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"data", "spool"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "holdfast.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "data: %s/data\nlisten: {pg: '127.0.0.1:0', http: '127.0.0.1:0'}\n", dir), 0o600); err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("holdfast doctor", program+" doctor", "/etc/holdfast/holdfast.yaml", file, "/var/lib/holdfast", dir+"/data", "/var/spool/holdfast/rows", dir+"/spool")
	printed, ran := "", 0
	for _, block := range fence.FindAllStringSubmatch(documents(t)["docs/doctor.md"], -1) {
		switch {
		case block[1] == "sh":
			for line := range strings.Lines(block[2]) {
				r := command(t, dir, nil, "sh", "-c", here.Replace(line))
				if r.code > 1 || r.code == 1 && (strings.Contains(line, "plan") || !strings.Contains(r.stderr, "need")) || r.stdout == "" {
					t.Errorf("%s: exit code %d\n%s%s", strings.TrimSpace(line), r.code, r.stdout, r.stderr)
				}
				if strings.Contains(line, "doctor plan") {
					printed = r.stdout
				}
				ran++
			}
		case block[1] == "text" && strings.HasPrefix(block[2], "A partition"):
			if !strings.HasPrefix(printed, block[2]) {
				t.Errorf("the plan begins\n%s\nand the document says\n%s", printed, block[2])
			}
		case block[1] == "yaml":
			if !strings.Contains(printed, "rows==71006 MB") || !strings.Contains(block[2], "rows=71006 MB") {
				t.Errorf("the plan ends in\n%s\nand the document says\n%s", printed, block[2])
			}
		}
	}
	if ran < 6 {
		t.Errorf("ran %d commands: the document has lost its examples", ran)
	}
}
