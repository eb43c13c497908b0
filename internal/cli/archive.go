package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/archive"
	"holdfast/archive/backup"
	"holdfast/archive/closing"
	"holdfast/archive/dialect"
	"holdfast/internal/fault"
)

func newArchive(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive plan|run|verify|list|backfill|rehearse|drop|migrate",
		Short: "file families of linked SQL tables away by period",
		Long: `archive works on the tables of a database, PostgreSQL, MariaDB or SQLite, with or
without a server of Holdfast. The tables of a family are swapped for empty ones of the same
kind in one step; the rows of the period stay behind in <table>_<time>, which the
catalogue lists once every rule holds.`,
		Example: "  holdfast archive plan --url postgres://billing@db/utm5 --profile utm5\n  holdfast archive verify --url postgres://billing@db/utm5 --profile utm5",
	}
	group(cmd)
	cmd.AddCommand(newArchivePlan(env), newArchiveRun(env), newArchiveVerify(env), newArchiveList(env), newArchiveBackfill(env), newArchiveRehearse(env), newArchiveDrop(env), newArchiveMigrate(env))
	for _, verb := range cmd.Commands() {
		verb.DisableFlagsInUseLine = true
	}
	return cmd
}

// archiver is the flags that every verb of archive has.
type archiver struct {
	url, urlFile, profile string
	json                  bool

	config, name string       // of the configuration, and of a family in it
	backup       backup.Proof // that the configuration names
	late         string       // as it says
	form         archive.Form // as the flags say, or else as it says
}

func (a *archiver) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.url, "url", "", "`URL` of the database: postgres://, mysql:// or sqlite:FILE")
	cmd.Flags().StringVar(&a.urlFile, "url-file", "", "`file` that holds the URL, so that no password shows in the list of processes")
	cmd.Flags().StringVar(&a.profile, "profile", "", "`family`: "+strings.Join(archive.Profiles(), ", ")+", or a file that ends in .json")
	cmd.Flags().BoolVar(&a.json, "json", false, "JSON")
	a.takesFamily(cmd)
}

// family returns the family that is named.
func (a *archiver) family() (*archive.Family, error) {
	if a.profile == "" {
		return nil, usage("--profile utm5, or a file that ends in .json", "--profile is missing")
	}
	f, err := archive.Load(a.profile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = usage("name a ready one, or a file that ends in .json; docs/archive.md tells what a family is", "%w", err)
	}
	if err == nil {
		f.Late = first(a.late, f.Late)
		f.Archives = f.Archives.Over(a.form)
	}
	return f, err
}

// with opens the database and hands it over with the family.
func (a *archiver) with(env *Env, do func(ctx context.Context, s *dialect.Session, f *archive.Family) error) error {
	if err := a.settle(env); err != nil {
		return err
	}
	f, err := a.family()
	if err != nil {
		return err
	}
	url, err := a.address()
	if err != nil {
		return err
	}
	s, err := dialect.Open(env.Context, url)
	if err == nil {
		err = errors.Join(at(s, do(env.Context, s, f)), s.Close())
	}
	return interrupted(env, err)
}

// interrupted says what an operator who ended a verb is left with, in place of
// the statement that he met.
func interrupted(env *Env, err error) error {
	said := (*exitError)(nil)
	if err == nil || env.Context.Err() == nil || errors.As(err, &said) || errors.As(err, new(*closing.Refusal)) {
		return err
	}
	return &exitError{code: exitFailed, err: errors.New("interrupted"), hint: "run it again: what was begun is finished or undone first; nothing that was archived is lost"}
}

// at says in which database an error was met that tells nothing but itself.
func at(s *dialect.Session, err error) error {
	if e, f := (*exitError)(nil), (*fault.Error)(nil); err == nil || errors.As(err, &e) || errors.As(err, &f) {
		return err
	}
	return &exitError{code: exitFailed, err: fmt.Errorf("the database at %s: %w", s.Where, err), hint: dialect.Hint(err)}
}

// address returns the URL of the database.
func (a *archiver) address() (string, error) {
	if (a.url == "") == (a.urlFile == "") {
		return "", usage("--url postgres://USER@HOST/DATABASE, mysql://USER@HOST/DATABASE or sqlite:FILE", "one of --url and --url-file must be given")
	}
	if a.urlFile == "" {
		return a.url, nil
	}
	text, err := os.ReadFile(a.urlFile)
	return strings.TrimSpace(string(text)), err
}

func newArchivePlan(env *Env) *cobra.Command {
	var a archiver
	var until string
	cmd := &cobra.Command{
		Use:   "plan ([--config FILE] FAMILY | --url-file FILE --profile FAMILY) [--until TIME] [--engine NAME] [--compress HOW] [--tablespace NAME] [--json]",
		Short: "print what run would do, each statement, and what stands against it",
		Long: `plan changes nothing. It prints the window, how many rows go and stay, and each
statement that run would run, and exits with 3 where a rule is broken.`,
		Example: "  holdfast archive plan --url postgres://billing@db/utm5 --profile utm5 --until 2026-10-31",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			end, err := second(until)
			if err != nil {
				return err
			}
			return a.with(env, func(ctx context.Context, s *dialect.Session, f *archive.Family) error {
				return planArchive(ctx, env, s, planFlags{f: f, end: end, json: a.json})
			})
		},
	}
	a.flags(cmd)
	a.formFlags(cmd)
	cmd.Flags().StringVar(&until, "until", "", untilText)
	return cmd
}

const untilText = "the last `time` of the period, UTC: 2026-10-31 (all of that day), \"2026-10-31 12:00:00\" or seconds since 1970; as late as can be if not given"

// second reads the end of a period; 0 where none is given.
func second(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
		return n, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t.Unix() + 24*60*60 - 1, nil
	}
	t, err := time.Parse(time.DateTime, strings.TrimSuffix(strings.Replace(text, "T", " ", 1), "Z"))
	if err != nil || t.Unix() <= 0 {
		return 0, usage("2026-10-31, \"2026-10-31 12:00:00\" or seconds since 1970", "--until %q is no time", text)
	}
	return t.Unix(), nil
}

type planFlags struct {
	f     *archive.Family
	end   int64
	json  bool
	brief bool // without the statements
	late  bool // but those that move late rows
}

func planArchive(ctx context.Context, env *Env, s *dialect.Session, p planFlags) error {
	plan, err := closing.Preview(ctx, s, p.f, p.end)
	if refused := (&closing.Refusal{}); errors.As(err, &refused) && plan != nil {
		if p.json {
			if err := json.NewEncoder(env.Stdout).Encode(plan); err != nil {
				return err
			}
			return refuse(env, refused.Broken, false)
		}
		return errors.Join(showLate(env, plan.Late, p.brief && !p.late), refuse(env, refused.Broken, true))
	}
	if err != nil {
		return err
	}
	if p.json {
		return json.NewEncoder(env.Stdout).Encode(plan)
	}
	w := env.Stdout
	if err := showLate(env, plan.Late, p.brief && !p.late); err != nil {
		return err
	}
	fmt.Fprintf(w, "archive of %s, %s UTC (%d to %d)\n", plan.Family, plan.Decision.Window, plan.Decision.Window.Start, plan.Decision.Window.End)
	for _, why := range plan.Decision.Why {
		fmt.Fprintf(w, "the end was pulled back: %s\n", oneLine(why))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TYPE\tTABLE\tROWS THAT GO\tROWS THAT STAY\tARCHIVE")
	for _, h := range plan.Shares {
		fmt.Fprintf(t, "%d\t%s\t%d\t%d\t%s\n", h.Type, h.Table, h.Filed, h.Staying, h.Archive)
	}
	if err := t.Flush(); err != nil || p.brief {
		return err
	}
	where := "under the lock"
	if !plan.InSwap {
		where = "behind the swap, in steps; until then the current tables lack them, and <table>_all shows them"
	}
	fmt.Fprintf(w, "rows that stay are put back %s\n", where)
	for _, part := range []struct {
		title string
		all   []string
	}{{"-- first", plan.Prepare}, {"-- the swap, in one step, under a lock", plan.Swap}, {"-- once every rule holds", plan.After}, {"-- once it is closed; archives that have another form are stored in it too", plan.Form}} {
		if len(part.all) == 0 {
			continue
		}
		fmt.Fprintln(w, part.title)
		for _, one := range part.all {
			fmt.Fprintln(w, one+";")
		}
	}
	return nil
}

func newArchiveRun(env *Env) *cobra.Command {
	var a archiver
	var until string
	var p prover
	cmd := &cobra.Command{
		Use:   "run ([--config FILE] FAMILY | --url-file FILE --profile FAMILY) [--until TIME] [--engine NAME] [--compress HOW] [--tablespace NAME] (--backup FILE | --no-backup) [--apply] [--json]",
		Short: "close a period of a family, or finish a run that was interrupted",
		Long: `run closes the period since the last archive. Without --apply it only prints the
plan. It wants to be shown a backup that is not empty and at most a day old, or to
be told that there is none. A run that was interrupted is finished or undone first.
With --engine, --compress or --tablespace, archives are stored in that form once the
period is closed.`,
		Example: "  holdfast archive run --url-file /run/secrets/utm5 --profile utm5 --until 2026-10-31 --backup /backup/utm5.dump --apply",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			end, err := second(until)
			if err != nil {
				return err
			}
			if err := a.proof(env, p); err != nil {
				return err
			}
			return a.with(env, func(ctx context.Context, s *dialect.Session, f *archive.Family) error {
				if p.apply {
					return runArchive(ctx, env, s, planFlags{f: f, end: end, json: a.json})
				}
				if err := planArchive(ctx, env, s, planFlags{f: f, end: end, json: a.json, brief: true}); err != nil || a.json {
					return err
				}
				_, err := fmt.Fprintln(env.Stdout, "nothing was done: --apply does it")
				return err
			})
		},
	}
	a.flags(cmd)
	a.formFlags(cmd)
	cmd.Flags().StringVar(&until, "until", "", untilText)
	p.flags(cmd)
	return cmd
}

func runArchive(ctx context.Context, env *Env, s *dialect.Session, p planFlags) error {
	result, err := closing.Run(ctx, s, p.f, closing.Options{End: p.end})
	if refused := (&closing.Refusal{}); errors.As(err, &refused) {
		return refuse(env, refused.Broken, true)
	}
	if err != nil {
		return err
	}
	if p.json {
		return errors.Join(json.NewEncoder(env.Stdout).Encode(result), unformed(result))
	}
	if err := showRouted(env, result.Late); err != nil {
		return err
	}
	rows := int64(0)
	for _, h := range result.Tables {
		rows += h.Filed
	}
	line := fmt.Sprintf("archive %d: %s UTC, %s, %s", result.Archive, result.Window, plural(len(result.Tables), "table"), plural(int(rows), "row"))
	if result.Resumed {
		line += "; it was begun by a run that was interrupted: run again for the time since"
	} else {
		line += fmt.Sprintf("; the tables were locked for %s", result.Held.Round(time.Millisecond))
	}
	_, err = fmt.Fprintln(env.Stdout, line)
	return errors.Join(err, unformed(result))
}

func newArchiveVerify(env *Env) *cobra.Command {
	var a archiver
	cmd := &cobra.Command{
		Use:   "verify ([--config FILE] FAMILY | --url-file FILE --profile FAMILY) [--json]",
		Short: "hold the family and its archives against every rule",
		Long: `verify reads every archive. It prints a line for each broken rule, with keys of rows
that break it, and exits with 3 where there is any. It changes nothing.`,
		Example: "  holdfast archive verify --url postgres://billing@db/utm5 --profile utm5",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.with(env, func(ctx context.Context, s *dialect.Session, f *archive.Family) error {
				broken, entries, err := closing.Verify(ctx, s, f)
				if err != nil {
					return err
				}
				for _, b := range broken {
					if a.json {
						if err := json.NewEncoder(env.Stdout).Encode(b); err != nil {
							return err
						}
					}
				}
				if len(broken) > 0 {
					return refuse(env, broken, !a.json)
				}
				if a.json {
					return nil
				}
				late, err := closing.Late(ctx, s, f)
				if err != nil {
					return err
				}
				text := plural(len(entries), "archived table") + ": every rule holds"
				if late > 0 {
					text += fmt.Sprintf("; late: current, and %s dated within closed windows", plural(int(late), "row"))
				}
				_, err = fmt.Fprintln(env.Stdout, text)
				return err
			})
		},
	}
	a.flags(cmd)
	return cmd
}

func newArchiveList(env *Env) *cobra.Command {
	var a archiver
	cmd := &cobra.Command{
		Use:     "list ([--config FILE] FAMILY | --url-file FILE --profile FAMILY) [--json]",
		Short:   "list the archived tables of a family",
		Example: "  holdfast archive list --url postgres://billing@db/utm5 --profile utm5 --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.with(env, func(ctx context.Context, s *dialect.Session, f *archive.Family) error {
				entries, err := closing.List(ctx, s, f)
				if err != nil {
					return err
				}
				t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
				for i, e := range entries {
					if a.json {
						if err := json.NewEncoder(env.Stdout).Encode(e); err != nil {
							return err
						}
						continue
					}
					if i == 0 {
						fmt.Fprintln(t, "ARCHIVE\tTYPE\tTABLE\tFROM\tTO")
					}
					from, to, _ := strings.Cut(e.Window.String(), " to ")
					fmt.Fprintf(t, "%d\t%d\t%s\t%s\t%s\n", e.ArchiveID, e.Type, oneLine(e.Name), from, to)
				}
				if len(entries) == 0 && !a.json {
					fmt.Fprintln(t, "no archives")
				}
				return t.Flush()
			})
		},
	}
	a.flags(cmd)
	return cmd
}
