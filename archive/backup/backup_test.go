package backup_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/archive/backup"
	"holdfast/internal/fault"
)

// TestCheck shows files and commands that stand for a backup, and some that do
// not.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	old := write("old", "a dump", 0o600)
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	bad := write("bad", "#!/bin/sh\necho \"$1 is $2\"; head -c 100000 /dev/zero | tr '\\0' x; echo the end >&2; exit 7\n", 0o700)
	slow := write("slow", "#!/bin/sh\necho waiting; exec sleep 600\n", 0o700)
	for name, test := range map[string]struct {
		p    backup.Proof
		want string // "": good
	}{
		"none":            {backup.Proof{None: true}, ""},
		"nothing":         {backup.Proof{}, "there is no backup"},
		"file":            {backup.Proof{File: write("new", "a dump", 0o600)}, ""},
		"empty":           {backup.Proof{File: write("empty", "", 0o600)}, "is empty"},
		"directory":       {backup.Proof{File: dir}, "no file"},
		"missing":         {backup.Proof{File: filepath.Join(dir, "missing")}, "is not there"},
		"old":             {backup.Proof{File: old}, "over a day old"},
		"good":            {backup.Proof{Command: []string{write("good", "#!/bin/sh\ntest \"$1\" = '$HOME; x'\n", 0o700), "$HOME; x"}}, ""},
		"bad":             {backup.Proof{Command: []string{bad, "it", "bad"}}, "the end"},
		"slow":            {backup.Proof{Command: []string{slow}, Timeout: 300 * time.Millisecond}, "was stopped"},
		"no such program": {backup.Proof{Command: []string{filepath.Join(dir, "nothing")}}, "no such file"},
	} {
		err := test.p.Check(context.Background())
		text := ""
		if err != nil {
			text = err.Error() + fault.Of(err).Detail
		}
		if (err == nil) != (test.want == "") || !strings.Contains(text, test.want) || len(text) > 5000 {
			t.Errorf("%s: got %d bytes, %.300q, want %q", name, len(text), text, test.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := (backup.Proof{Command: []string{slow}}).Check(ctx); err != context.Canceled {
		t.Errorf("a run that is given up: %v", err)
	}
}
