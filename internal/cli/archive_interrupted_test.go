package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInterruptedArchive holds that whoever ends a verb is told what he is left
// with, and not which statement it was at.
func TestInterruptedArchive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "utm5.db")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, verb := range []string{"plan", "verify", "run --no-backup --apply"} {
		args := append(append([]string{"archive"}, strings.Fields(verb)...), "--profile", "utm5", "--url", "sqlite:"+file)
		r := runWith(&Env{Context: ctx, Getenv: lookup(nil)}, args...)
		if r.code != exitFailed || r.errors != "holdfast: interrupted\nhint: run it again: what was begun is finished or undone first; nothing that was archived is lost\n" {
			t.Errorf("%q: %+v", verb, r)
		}
	}
}
