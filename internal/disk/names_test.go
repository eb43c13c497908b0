package disk

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestNewDirectoriesAreFlushed listens in on the flushes of directories: each
// new one is made durable by a flush of the one above it, which no crash of a
// process would show.
func TestNewDirectoriesAreFlushed(t *testing.T) {
	base := t.TempDir()
	var flushed []string
	flushNames = func(f *os.File) error {
		name, err := filepath.Rel(base, f.Name())
		if err != nil {
			t.Error(err)
		}
		flushed = append(flushed, name)
		return f.Sync()
	}
	defer func() { flushNames = (*os.File).Sync }()
	want := func(what string, names ...string) {
		t.Helper()
		if !reflect.DeepEqual(flushed, names) {
			t.Errorf("%s flushes %q, want %q", what, flushed, names)
		}
		flushed = nil
	}
	d, err := OpenReal(filepath.Join(base, "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	want("OpenReal", ".", "a")
	if err := d.Mkdir("c/d"); err != nil {
		t.Fatal(err)
	}
	want("Mkdir", "a/b", "a/b/c")
	if err := d.Mkdir("c/e"); err != nil {
		t.Fatal(err)
	}
	want("Mkdir beside", "a/b/c")
	if err := d.SyncDir(""); err != nil {
		t.Fatal(err)
	}
	want("SyncDir", "a/b")
}
