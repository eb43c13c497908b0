package e2e

import (
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestInstall installs into an empty directory and looks at what is there: a
// static binary, a unit that starts it from where it is, a configuration that
// is left alone the second time.
func TestInstall(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: there is no systemd here")
	}
	dir := t.TempDir()
	install := func() {
		t.Helper()
		r := command(t, root, nil, "make", "-s", "install", "DESTDIR="+dir, "PREFIX=/opt/holdfast", "BIN="+filepath.Join(dir, "built"))
		if r.code != 0 {
			t.Fatalf("make install: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
	install()
	binary, err := elf.Open(filepath.Join(dir, "opt/holdfast/bin/holdfast"))
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	if libraries, err := binary.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("the binary is not static: it needs %q (%v)", libraries, err)
	}
	for _, trace := range []string{"internal/mutant", "HOLDFAST_MUTANT", "flushedElsewhere"} {
		if code, err := os.ReadFile(filepath.Join(dir, "built")); err != nil || strings.Contains(string(code), trace) {
			t.Errorf("the binary that is installed holds %q, of the seeded bugs (%v)", trace, err)
		}
	}
	unit, err := os.ReadFile(filepath.Join(dir, "opt/holdfast/lib/systemd/system/holdfast.service"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(unit), "ExecStart=/opt/holdfast/bin/holdfast serve --config /etc/holdfast/holdfast.yaml\n") {
		t.Errorf("the unit does not start what was installed:\n%s", unit)
	}
	config := filepath.Join(dir, "etc/holdfast/holdfast.yaml")
	if err := os.WriteFile(config, []byte("data: /elsewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	install()
	if text, err := os.ReadFile(config); err != nil || string(text) != "data: /elsewhere\n" {
		t.Errorf("the second installation changed the configuration: %q %v", text, err)
	}
}

// TestUnitFile holds the systemd unit to the exposure that hardening reaches.
func TestUnitFile(t *testing.T) {
	unit, err := filepath.Abs(root + "/contrib/systemd/holdfast.service")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Type=notify", "UMask=0077", "ExecReload=/bin/kill -HUP $MAINPID", "Restart=on-failure"} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("the unit lacks %q", line)
		}
	}
	if r := command(t, t.TempDir(), nil, "sh", "-c", "command -v systemd-analyze"); r.code != 0 {
		t.Skip("SKIPPED: systemd-analyze is missing")
	}
	r := command(t, t.TempDir(), nil, "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=15", unit)
	if r.code != 0 {
		t.Errorf("systemd-analyze: exposure above 1.5\n%s%s", r.stdout, r.stderr)
	}
}
