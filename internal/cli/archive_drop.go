package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/archive"
	"holdfast/archive/closing"
	"holdfast/archive/dialect"
)

func newArchiveDrop(env *Env) *cobra.Command {
	var a archiver
	var p prover
	var id int64
	var before string
	cmd := &cobra.Command{
		Use:   "drop ([--config FILE] FAMILY | --url-file FILE --profile FAMILY) (--archive NUMBER | --before TIME) (--backup FILE | --no-backup) [--apply] [--json]",
		Short: "remove the oldest archives of a family, with their rows, for good",
		Long: `drop removes archives: their tables, their rows in the catalogue, and their part of the
views <table>_all. Only the oldest can go, so that windows still follow each other, and
the newest never does, since the next one begins where it ends. Without --apply it
prints each statement. It wants to be shown a backup that is not empty and at most a
day old, or to be told that there is none. One that was interrupted is ended by the
next drop, run or backfill.`,
		Example: "  holdfast archive drop --url-file /run/secrets/utm5 --profile utm5 --before 2020-01-01 --backup /backup/utm5.dump --apply",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			w := closing.Which{Archive: id}
			if (id == 0) == (before == "") || id < 0 {
				return usage("archive list shows the numbers", "one of --archive and --before must be given")
			}
			if before != "" {
				var err error
				if w.Before, err = instant(before); err != nil {
					return err
				}
			}
			if err := a.proof(env, p); err != nil {
				return err
			}
			return a.with(env, func(ctx context.Context, s *dialect.Session, f *archive.Family) error {
				return dropArchives(ctx, env, s, dropFlags{f, w, p.apply, a.json})
			})
		},
	}
	a.flags(cmd)
	p.flags(cmd)
	cmd.Flags().Int64Var(&id, "archive", 0, "`number` of the oldest archive")
	cmd.Flags().StringVar(&before, "before", "", "all archives that end before this `time`, UTC: 2026-10-31, \"2026-10-31 12:00:00\" or seconds since 1970")
	return cmd
}

// instant reads a moment; a day is its first second.
func instant(text string) (int64, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t.Unix(), nil
	}
	n, err := second(text)
	if err != nil {
		err = usage("2026-10-31, \"2026-10-31 12:00:00\" or seconds since 1970", "--before %q is no time", text)
	}
	return n, err
}

type dropFlags struct {
	f           *archive.Family
	which       closing.Which
	apply, json bool
}

func dropArchives(ctx context.Context, env *Env, s *dialect.Session, p dropFlags) error {
	all, err := closing.Leavings(ctx, s, p.f, p.which)
	if err == nil && p.apply {
		all, err = closing.Drop(ctx, s, p.f, p.which, closing.Options{})
	}
	if err := showLeavings(env, all, p); err != nil {
		return err
	}
	if refused := (&closing.Refusal{}); errors.As(err, &refused) {
		return refuse(env, refused.Broken, !p.json)
	}
	switch {
	case err != nil || p.json:
		return err
	case p.apply:
		_, err = fmt.Fprintf(env.Stdout, "%s removed\n", plural(len(all), "archive"))
	case len(all) == 0:
		_, err = fmt.Fprintln(env.Stdout, "no archive ends before that")
	default:
		_, err = fmt.Fprintln(env.Stdout, "nothing was done: --apply does it")
	}
	return err
}

// showLeavings prints the archives that go, and, where nothing is done yet, how.
func showLeavings(env *Env, all []closing.Leaving, p dropFlags) error {
	t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	for i, g := range all {
		if p.json {
			if err := json.NewEncoder(env.Stdout).Encode(g); err != nil {
				return err
			}
			continue
		}
		if i == 0 {
			fmt.Fprintln(t, "ARCHIVE\tTYPE\tTABLE\tROWS\tPERIOD")
		}
		for _, h := range g.Tables {
			fmt.Fprintf(t, "%d\t%d\t%s\t%d\t%s\n", g.Archive, h.Type, oneLine(h.Archive), h.Filed, g.Window)
		}
	}
	if err := t.Flush(); err != nil || p.json || p.apply {
		return err
	}
	for _, g := range all {
		if _, err := fmt.Fprintf(env.Stdout, "-- archive %d\n", g.Archive); err != nil {
			return err
		}
		for _, one := range g.Statements {
			if _, err := fmt.Fprintln(env.Stdout, oneLine(one)+";"); err != nil {
				return err
			}
		}
	}
	return nil
}
