package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"

	"github.com/spf13/cobra"

	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
	"holdfast/internal/mcache"
)

func newImport(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "import",
		Short:   "take in what another program has queued on disk",
		Example: "  holdfast import mcache /var/lib/xdasd/cache",
	}
	group(cmd)
	cmd.AddCommand(newImportMcache(env))
	for _, verb := range cmd.Commands() {
		verb.DisableFlagsInUseLine = true
	}
	return cmd
}

type importOptions struct {
	settings
	http, table, source string
	json                bool
}

func newImportMcache(env *Env) *cobra.Command {
	o := &importOptions{}
	cmd := &cobra.Command{
		Use:   "mcache DIR [--config FILE] [--data DIR] [--http ADDR] [--table xdas] [--source NAME] [--json]",
		Short: "drain a message cache of OpenXDAS into a table",
		Long: `mcache stores every message of an OpenXDAS message cache as a row, each once, and
removes what is stored from the cache; in the end no file of it is left. It may
be interrupted at any moment and run again: nothing is stored twice, nothing is
left out. The program that fills the cache must not run meanwhile, and not
between an import that was interrupted and the next one.

Rows have the columns flags and msg, the 33 fields of the message (hdr_0 to
hdr_9, org_0 to org_6, int_0 to int_3, tgt_0 to tgt_6, src_0, src_1, evt_0,
evt_1, end_0), and raw, in hex, where a message is not text.`,
		Example: "  holdfast import mcache /var/lib/xdasd/cache",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("see "+cmd.CommandPath()+" --help", "%q takes one directory, not %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return o.local(env, o.http, func(db Database) error { return importMcache(env, db, args[0], o) })
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.http, "http", "", "`address` of the HTTP door of a server on this machine")
	f.StringVar(&o.table, "table", "xdas", "`table` that the rows go to")
	f.StringVar(&o.source, "source", "", "`name` under which the position is remembered; without, the directory's path")
	f.BoolVar(&o.json, "json", false, "one JSON object")
	return cmd
}

// mover is a Database that remembers how far sources were read.
type mover interface {
	Position(ctx context.Context, source string) (string, error)
	Move(ctx context.Context, m httpapi.Move, table string, body io.Reader) error
}

var _ mover = (*httpapi.Client)(nil)

// cacheStore is a Database as a cache is drained into it.
type cacheStore struct {
	mover
	source, table string
}

var _ mcache.Store = cacheStore{}

// Position implements mcache.Store.
func (s cacheStore) Position(ctx context.Context) (string, error) {
	return s.mover.Position(ctx, s.source)
}

// Move implements mcache.Store.
func (s cacheStore) Move(ctx context.Context, from, to string, lines []byte) error {
	table := s.table
	if lines == nil {
		table = ""
	}
	err := s.mover.Move(ctx, httpapi.Move{Source: s.source, From: from, To: to}, table, bytes.NewReader(lines))
	if fault.Code(err) == fault.SerializationFailure {
		return fmt.Errorf("%w: %w", mcache.ErrElsewhere, err)
	}
	return err
}

func importMcache(env *Env, db Database, dir string, o *importOptions) (err error) {
	able, ok := db.(mover)
	if !ok {
		return fault.New(fault.FeatureNotSupported, "this database remembers no sources")
	}
	path, err := filepath.EvalSymlinks(dir)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return fmt.Errorf("look at message cache %q: %w", dir, err)
	}
	q, err := mcache.Open(path, mcache.Options{})
	if err != nil {
		return damagedCache(err)
	}
	defer func() {
		if e := q.Close(); err == nil {
			err = e
		}
	}()
	var stored atomic.Int64
	bar := startProgress(env, func() string { return fmt.Sprintf("%d messages stored", stored.Load()) })
	s := cacheStore{mover: able, source: first(o.source, "mcache:"+path), table: o.table}
	d, err := q.Drain(env.Context, s, func(d mcache.Drained) { stored.Store(int64(d.Records)) })
	bar.stop()
	if err != nil {
		return stoppedImport(d, err)
	}
	if o.json {
		return json.NewEncoder(env.Stdout).Encode(map[string]int{"stored": d.Records, "stored_before": d.Repeats})
	}
	_, err = fmt.Fprintf(env.Stdout, "%d messages stored, and %d that an interrupted import had stored were acked; the cache is empty\n", d.Records, d.Repeats)
	return err
}

// stoppedImport says what an import that stopped has done, and how to go on.
func stoppedImport(d mcache.Drained, err error) error {
	if errors.As(err, new(*mcache.DamageError)) {
		return damagedCache(fmt.Errorf("%d messages are stored: %w", d.Records, err))
	}
	hint := "run it again when that is mended: nothing is stored twice"
	var f *fault.Error
	if errors.As(err, &f) && f.Hint != "" {
		hint = f.Hint + "; then run it again: nothing is stored twice"
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	return &exitError{code: exitFailed, err: fmt.Errorf("%d messages are stored, and then: %w", d.Records, err), hint: hint}
}

// damagedCache gives damage its own exit code.
func damagedCache(err error) error {
	if errors.As(err, new(*mcache.DamageError)) {
		return &exitError{code: exitDamage, err: err, hint: "keep the file: what is in it is not stored"}
	}
	if errors.Is(err, mcache.ErrHeld) {
		return &exitError{code: exitFailed, err: err, hint: "wait for it: an import, or a server whose sink fills it"}
	}
	return err
}
