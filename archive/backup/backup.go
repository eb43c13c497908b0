// Package backup holds what stands for a backup against what is wanted of one,
// before an archive is made or removed: a file that is fresh and not empty, or
// a command that looks by itself.
package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"holdfast/internal/fault"
)

// Proof says what stands for a backup: one of File, Command and None.
type Proof struct {
	File    string        // a regular file, not empty, at most MaxAge old
	Command []string      // a program and its words, run without a shell; it ends with 0 where the backup is good
	Timeout time.Duration // how long Command may take; DefaultTimeout if 0
	None    bool          // there is none, and none is wanted
}

// MaxAge is how old a file may be: the nightly one will do.
const MaxAge = 24 * time.Hour

// DefaultTimeout is how long a command may take: some restore what they check.
const DefaultTimeout = 10 * time.Minute

// maxOutput is how much of what a command says is shown: its end.
const maxOutput = 2000

// Given reports whether the proof says anything.
func (p Proof) Given() bool { return p.File != "" || len(p.Command) > 0 || p.None }

// Check returns nil where there is a backup, or none is wanted.
func (p Proof) Check(ctx context.Context) error {
	switch {
	case p.None:
		return nil
	case len(p.Command) > 0:
		return p.run(ctx)
	case p.File == "":
		return fault.New(fault.InvalidParameterValue, "there is no backup").WithHint("a full backup, which was seen to restore, comes before every archive")
	}
	info, err := os.Stat(p.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.InvalidParameterValue, "backup %q is not there", p.File).WithHint("name the file, or say --no-backup")
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Size() == 0:
		return fault.New(fault.InvalidParameterValue, "backup %q is empty, or no file", p.File).WithHint("make one")
	case time.Since(info.ModTime()) > MaxAge:
		return fault.New(fault.InvalidParameterValue, "backup %q is from %s, over a day old", p.File, info.ModTime().Format(time.DateTime)).WithHint("make a new one")
	}
	return nil
}

// run runs the command for as long as it may take.
func (p Proof) run(ctx context.Context) error {
	limit := p.Timeout
	if limit <= 0 {
		limit = DefaultTimeout
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	said := &tail{}
	cmd := exec.CommandContext(within, p.Command[0], p.Command[1:]...)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = time.Second // for what it started, which may hold its output open
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case within.Err() != nil:
		return fault.New(fault.InvalidParameterValue, "%s, which checks the backup, took longer than %v and was stopped", p.Command[0], limit).WithDetail("%s", said)
	}
	return fault.New(fault.InvalidParameterValue, "%s, which checks the backup, says that it is not good", p.Command[0]).Because(err).WithDetail("%s", said).
		WithHint("it ends with exit code 0 where the backup is good")
}

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p[max(0, len(p)-maxOutput):]...)
	if len(t.text) > maxOutput {
		t.text = append(t.text[:0], t.text[len(t.text)-maxOutput:]...)
	}
	return len(p), nil
}

// String returns the end of what was written.
func (t *tail) String() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.text), "?"))
	if text == "" {
		return "it printed nothing"
	}
	return "it printed: " + text
}
