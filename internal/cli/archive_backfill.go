package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"holdfast/archive"
	"holdfast/archive/closing"
	"holdfast/archive/dialect"
)

func newArchiveBackfill(env *Env) *cobra.Command {
	var a archiver
	var p prover
	cmd := &cobra.Command{
		Use:   "backfill ([--config FILE] FAMILY | --url-file FILE --profile FAMILY) (--backup FILE | --no-backup) [--apply] [--json]",
		Short: "complete archives that lack tables of the family",
		Long: `backfill completes archives that were made when the family had fewer tables, as UTM5
before 5.2.1-007 made them: each table that an archive lacks is made, with the rows of
the archive's period, and listed with the archive's number and dates. Without --apply
it only prints what it would do. Where a rule would be broken behind it, it moves
nothing, names the rule and exits with 3. One that was interrupted is gone on with.`,
		Example: "  holdfast archive backfill --url-file /run/secrets/utm5 --profile utm5 --backup /backup/utm5.dump --apply",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := a.proof(env, p); err != nil {
				return err
			}
			return a.with(env, func(ctx context.Context, s *dialect.Session, f *archive.Family) error {
				return backfill(ctx, env, s, backfillFlags{f, p.apply, a.json})
			})
		},
	}
	a.flags(cmd)
	p.flags(cmd)
	return cmd
}

// prover is the flags of a verb that changes what is archived.
type prover struct {
	backup      string
	none, apply bool
}

func (p *prover) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.backup, "backup", "", "`file` with a backup of the database, made within a day")
	cmd.Flags().BoolVar(&p.none, "no-backup", false, "there is no backup, and none is wanted")
	cmd.Flags().BoolVar(&p.apply, "apply", false, "do it")
}

type backfillFlags struct {
	f           *archive.Family
	apply, json bool
}

func backfill(ctx context.Context, env *Env, s *dialect.Session, p backfillFlags) error {
	gaps, err := closing.Gaps(ctx, s, p.f)
	if err == nil && p.apply && len(gaps) > 0 {
		gaps, err = closing.Backfill(ctx, s, p.f, closing.Options{})
	}
	if err := showGaps(env, gaps, p.json); err != nil {
		return err
	}
	if refused := (&closing.Refusal{}); errors.As(err, &refused) {
		return refuse(env, refused.Broken, !p.json)
	}
	switch {
	case err != nil || p.json:
		return err
	case len(gaps) == 0:
		_, err = fmt.Fprintln(env.Stdout, "no archive lacks a table")
	case p.apply:
		_, err = fmt.Fprintf(env.Stdout, "%s completed\n", plural(len(gaps), "archive"))
	default:
		_, err = fmt.Fprintln(env.Stdout, "nothing was done: --apply does it")
	}
	return err
}

func showGaps(env *Env, gaps []closing.Gap, asJSON bool) error {
	t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	for i, g := range gaps {
		if asJSON {
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
	return t.Flush()
}
