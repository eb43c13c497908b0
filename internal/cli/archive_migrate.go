package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"holdfast/archive"
	"holdfast/archive/closing"
	"holdfast/archive/dialect"
)

func newArchiveMigrate(env *Env) *cobra.Command {
	var a archiver
	var p prover
	cmd := &cobra.Command{
		Use:   "migrate ([--config FILE] FAMILY | --url-file FILE --profile FAMILY) (--backup FILE | --no-backup) [--apply] [--json]",
		Short: "have archived tables take over the structure of the current ones",
		Long: `migrate changes archived tables that do not look like the current ones any more: columns
that were added since are added, with their constant default or NULL, wider types are
followed, and indexes. Without --apply it prints each statement. Where a value could be
lost it changes nothing, says why and exits with 3. One that was interrupted is gone on
with by the next.`,
		Example: "  holdfast archive migrate --url-file /run/secrets/utm5 --profile utm5 --backup /backup/utm5.dump --apply",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := a.proof(env, p); err != nil {
				return err
			}
			return a.with(env, func(ctx context.Context, s *dialect.Session, f *archive.Family) error {
				return migrateArchives(ctx, env, s, backfillFlags{f, p.apply, a.json})
			})
		},
	}
	a.flags(cmd)
	p.flags(cmd)
	return cmd
}

func migrateArchives(ctx context.Context, env *Env, s *dialect.Session, p backfillFlags) error {
	do := closing.Migrations
	if p.apply {
		do = func(ctx context.Context, s *dialect.Session, f *archive.Family) (*closing.Migration, error) {
			return closing.Migrate(ctx, s, f, closing.Options{})
		}
	}
	m, err := do(ctx, s, p.f)
	if refused := (&closing.Refusal{}); errors.As(err, &refused) {
		return unmigrated(env, refused.Broken, true)
	}
	if err != nil {
		return err
	}
	if p.json {
		return json.NewEncoder(env.Stdout).Encode(m)
	}
	if err := showMigration(env, m, !p.apply); err != nil {
		return err
	}
	switch {
	case len(m.Tables) == 0:
		_, err = fmt.Fprintln(env.Stdout, "each archived table looks like the current one")
	case p.apply:
		_, err = fmt.Fprintf(env.Stdout, "%s migrated\n", plural(len(m.Tables), "archived table"))
	default:
		_, err = fmt.Fprintln(env.Stdout, "nothing was done: --apply does it")
	}
	return err
}

// showMigration prints the tables that change, and, where nothing is done yet,
// how.
func showMigration(env *Env, m *closing.Migration, statements bool) error {
	t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	for i, one := range m.Tables {
		if i == 0 {
			fmt.Fprintln(t, "ARCHIVE\tTYPE\tTABLE\tROWS\tWHY")
		}
		fmt.Fprintf(t, "%d\t%d\t%s\t%d\t%s\n", one.Archive, one.Type, oneLine(one.Table), one.Rows, oneLine(strings.Join(one.Why, "; ")))
	}
	if err := t.Flush(); err != nil || !statements {
		return err
	}
	for _, one := range m.Statements {
		if _, err := fmt.Fprintln(env.Stdout, oneLine(one)+";"); err != nil {
			return err
		}
	}
	return nil
}
