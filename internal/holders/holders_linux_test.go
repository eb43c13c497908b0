package holders

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestBelow holds that whoever has a file of a directory open, has it as its
// own directory, or has mapped one, is found, and nobody else.
func TestBelow(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "acc", "1.tmp")
	program := filepath.Join(dir, "cat")
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(cat)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Mkdir(filepath.Dir(name), 0o700), os.WriteFile(name, nil, 0o600), os.WriteFile(program, text, 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, dir string
		what      string
		command   []string
	}{
		{"nobody", "/", "", []string{"sh", "-c", "echo up; read x"}},
		{"beside", "/", "", []string{"sh", "-c", "echo up; read x", dir}},
		{"written", "/", name, []string{"sh", "-c", "exec 7>>" + name + "; echo up; read x"}},
		{"read", "/", name, []string{"sh", "-c", "exec 7<" + name + "; echo up; read x"}},
		{"inside", filepath.Dir(name), filepath.Dir(name), []string{"sh", "-c", "echo up; read x"}},
		{"removed", "/", name + ".x (deleted)", []string{"sh", "-c", "exec 7>" + name + ".x; rm " + name + ".x; echo up; read x"}},
		{"run", "/", program, []string{"sh", "-c", "echo up; exec " + program}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(tt.command[0], tt.command[1:]...)
			cmd.Dir = tt.dir
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { in.Close(); cmd.Wait() }()
			if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			found, _ := Below(dir, 10)
			for end := time.Now().Add(time.Minute); tt.name == "run" && len(found) == 0 && time.Now().Before(end); {
				found, _ = Below(dir, 10) // until it is what it becomes
			}
			if tt.what == "" {
				if len(found) > 0 {
					t.Errorf("found %+v", found)
				}
				return
			}
			if len(found) != 1 || found[0].PID != cmd.Process.Pid || found[0].What != tt.what || found[0].Program == "" {
				t.Errorf("found %+v, want %q held by %d", found, tt.what, cmd.Process.Pid)
			}
		})
	}
}
