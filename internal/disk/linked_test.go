package disk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLinkedOut holds that a file which is a symbolic link to another disk is
// refused by name, with what to do, for reading and for writing; and that a
// missing file is not called one.
func TestLinkedOut(t *testing.T) {
	dir, far := t.TempDir(), filepath.Join(t.TempDir(), "far.seg")
	if err := os.WriteFile(far, make([]byte, Align), 0o600); err != nil {
		t.Fatal(err)
	}
	const name = "0000000000000002.seg"
	if err := os.Symlink(far, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	d, err := OpenExisting(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, write := range []bool{false, true} {
		_, err := d.Open(name, write)
		for _, want := range []string{filepath.Join(dir, name), "symbolic link", "move the file itself back", "warm:"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("write %v: %v, want %q in it", write, err, want)
			}
		}
	}
	if _, err := d.Open("none", false); !os.IsNotExist(err) || strings.Contains(err.Error(), "symbolic") {
		t.Errorf("a missing file: %v", err)
	}
}
