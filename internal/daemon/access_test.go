package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"holdfast/internal/fault"
)

// TestLoginKey holds that the key stays what it was, and that a directory in its
// place is told of with what to do.
func TestLoginKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "login.key")
	key, err := loginKey(file)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := loginKey(file); err != nil || string(again) != string(key) {
		t.Errorf("the next start has another key: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := loginKey(file); err == nil || fault.Of(err).Hint == "" {
		t.Errorf("with a directory in its place: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := loginKey(file); err != nil {
		t.Error(err)
	}
}
