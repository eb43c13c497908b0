package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"holdfast/archive"
	"holdfast/archive/closing"
	"holdfast/archive/dialect"
)

func newArchiveRehearse(env *Env) *cobra.Command {
	var a archiver
	var on, onFile, until string
	cmd := &cobra.Command{
		Use:   "rehearse (--on URL | --on-file FILE) ([--config FILE] FAMILY | --profile FAMILY [--url-file FILE]) [--until TIME] [--engine NAME] [--compress HOW] [--tablespace NAME] [--json]",
		Short: "close a period on a restored copy: plan, run and verify",
		Long: `rehearse does on a copy of the database, restored from a backup, what run would do on
the database itself, and holds every rule against what came of it. It asks for no
backup: the copy is changed. Where --url names the database itself, a copy that is
reached in the same way is refused.`,
		Example: "  holdfast archive rehearse --on mysql://billing@test/utm5 --profile utm5 --until 2026-10-31",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			end, err := second(until)
			if err != nil {
				return err
			}
			if err := a.settle(env); err != nil {
				return err
			}
			copied := archiver{url: on, urlFile: onFile, profile: a.profile, json: a.json, late: a.late, form: a.form}
			if (on == "") == (onFile == "") {
				return usage("--on names a copy that may be changed, never the database itself", "one of --on and --on-file must be given")
			}
			if err := a.differs(copied); err != nil {
				return err
			}
			return copied.with(env, func(ctx context.Context, s *dialect.Session, f *archive.Family) error {
				return rehearse(ctx, env, s, planFlags{f: f, end: end, json: a.json, brief: true, late: true})
			})
		},
	}
	a.flags(cmd)
	a.formFlags(cmd)
	cmd.Flags().StringVar(&on, "on", "", "`URL` of the copy, which is changed")
	cmd.Flags().StringVar(&onFile, "on-file", "", "`file` that holds the URL of the copy")
	cmd.Flags().StringVar(&until, "until", "", untilText)
	return cmd
}

// differs refuses a copy that is the database itself.
func (a *archiver) differs(copied archiver) error {
	if a.url == "" && a.urlFile == "" {
		return nil
	}
	itself, err := a.address()
	if err != nil {
		return err
	}
	other, err := copied.address()
	if err == nil && itself == other {
		err = usage("restore a backup elsewhere, and name that", "--on names the database itself")
	}
	return err
}

func rehearse(ctx context.Context, env *Env, s *dialect.Session, p planFlags) error {
	if !p.json {
		if err := planArchive(ctx, env, s, p); err != nil {
			return err
		}
	}
	if err := runArchive(ctx, env, s, p); err != nil {
		return err
	}
	broken, entries, err := closing.Verify(ctx, s, p.f)
	switch {
	case err != nil:
		return err
	case len(broken) > 0:
		return refuse(env, broken, true)
	case len(entries) == 0:
		return errors.New("nothing is archived on the copy")
	case p.json:
		return nil
	}
	_, err = fmt.Fprintf(env.Stdout, "rehearsed: %s, every rule holds\n", plural(len(entries), "archived table"))
	return err
}
