// Package cli is the command line: one file per verb. A verb gets its streams,
// its environment and its way to the database in an Env, so that a test can
// run it as a user does, without a process of its own.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
	"holdfast/row"
)

// Exit codes of every verb.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitDamage = 3 // damage or a broken rule was found
)

// Database is what verbs ask: a running server, or a data directory that no
// server has open. *httpapi.Client is one.
type Database interface {
	// Put stores the rows in body, whole or not at all, and returns how many.
	Put(ctx context.Context, table, contentType string, body io.Reader) (int, error)
	// Rows calls emit for each row that q asks for and damage for each place on
	// the way that cannot be read, in seq order.
	Rows(ctx context.Context, q httpapi.RowsQuery, emit func(*httpapi.RowLine) error, damage func(row.Damage) error) error
	// Verify calls report for each damaged place of a stream, "" for all.
	Verify(ctx context.Context, stream string, report func(row.Damage) error) (httpapi.Verified, error)
	// Status returns how the database is.
	Status(ctx context.Context) (httpapi.Status, error)
	// Close gives it up.
	Close() error
}

var _ Database = (*httpapi.Client)(nil)

// Env is what surrounds a run.
type Env struct {
	Context context.Context // ends when the run should; verbs that wait return then
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Getenv  func(string) string

	// Offline opens the data directory of a configuration in this process,
	// where no server answers; if nil, verbs need a server.
	Offline func(context.Context, *config.Config) (Database, error)

	// Reading does so for verbs that change nothing, where the file system is
	// read-only, and writes nothing; if nil, they are refused there.
	Reading func(context.Context, *config.Config) (Database, error)
}

// Main runs the program and returns its exit code. TERM and INT end the run's
// context; a second one ends the process, where a server does not take it.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return Run(&Env{Context: ctx, Stdin: stdin, Stdout: stdout, Stderr: stderr, Getenv: os.Getenv, Offline: offline, Reading: reading}, args)
}

// Run runs one verb and returns its exit code. An error goes to env.Stderr as
// one line, and its hint as another.
func Run(env *Env, args []string) int {
	root := newRoot(env)
	root.SetArgs(args)
	err := root.ExecuteContext(env.Context)
	if err == nil {
		return exitDone
	}
	report(env.Stderr, err)
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitFailed
}

// exitError is an error that asks for an exit code of its own.
type exitError struct {
	code int
	err  error
	hint string
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage is an error in how the program was called; args are formatted into
// message.
func usage(hint, message string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(message, args...), hint: hint}
}

// notBelow refuses a number below 0.
func notBelow(flag string, n int) error {
	if n < 0 {
		return usage("0 is all", "--%s %d is below 0", flag, n)
	}
	return nil
}

// report tells of err. Configurations can have several problems at once; each
// gets its lines.
func report(w io.Writer, err error) {
	say := func(message, hint string) {
		fmt.Fprintf(w, "holdfast: %s\n", oneLine(message))
		if hint != "" {
			fmt.Fprintf(w, "hint: %s\n", oneLine(hint))
		}
	}
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			say(p.Where()+p.Message, p.Hint)
		}
		return
	}
	var e *exitError
	var f *fault.Error
	switch {
	case errors.As(err, &e) && e.hint != "":
		say(err.Error(), e.hint)
	case errors.As(err, &f) && f.Hint != "":
		// The hint stands at the end of the text; it gets a line of its own.
		say(strings.TrimSuffix(err.Error(), " (hint: "+f.Hint+")"), f.Hint)
	default:
		say(err.Error(), "")
	}
}

// oneLine keeps what a server or a file says from spreading over the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
