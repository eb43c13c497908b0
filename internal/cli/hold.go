package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/httpapi"
)

func newHold(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hold",
		Short: "keep rows from every limit and every roll, until the hold is removed",
		Long: `hold keeps segments, whatever limit or roll would let them go: those that have a
row in all of the ranges given. Held bytes count; what is younger goes on without
them. Every path that removes rows asks for holds.

With --family, or --profile and --url, it keeps archives of a family: they stay as they
are, and "archive drop", "migrate", "backfill" and the rest refuse. Such a hold stands in
the database of the family.`,
		Example: "  holdfast hold add case-7 --stream session,meta --from 2026-01-01 --to 2026-02-01 --note 'letter of 3 March'\n  holdfast hold add case-7 --family utm5 --archive 3\n  holdfast hold list",
	}
	group(cmd)
	cmd.AddCommand(newHoldAdd(env), newHoldList(env), newHoldRemove(env))
	for _, verb := range cmd.Commands() {
		verb.DisableFlagsInUseLine = true
	}
	return cmd
}

func newHoldAdd(env *Env) *cobra.Command {
	var s settings
	var streams, seqs, links, from, to string
	var of heldFamily
	h := httpapi.Hold{By: operatorName()}
	cmd := &cobra.Command{
		Use:     "add NAME ([--stream A,B] [--seq FROM-TO] [--link FROM-TO] | --family FAMILY [--archive NUMBER]) [--from TIME] [--to TIME] [--note TEXT] [--config FILE] [--data DIR]",
		Short:   "put a hold into force",
		Example: "  holdfast hold add case-7 --link 100-200 --note 'letter of 3 March'",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) != 1 {
				return usage("see "+cmd.CommandPath()+" --help", "%q takes one name, not %d", cmd.CommandPath(), len(args))
			}
			h.Name = args[0]
			if streams != "" {
				h.Streams = strings.Split(streams, ",")
			}
			if h.Seqs, err = ends("seq", seqs); err != nil {
				return err
			}
			if h.Links, err = ends("link", links); err != nil {
				return err
			}
			if h.From, err = moment("from", from); err != nil {
				return err
			}
			if h.To, err = until("to", to); err != nil {
				return err
			}
			if !h.To.IsZero() && h.To.Before(h.From) {
				return usage("give the earlier one as --from", "--from %q is later than --to %q", from, to)
			}
			if cmd.Flags().Changed("archive") && of.archive < 1 {
				return usage("archive list shows the numbers; leave it out for all archives", "--archive %d is no archive's number", of.archive)
			}
			if of.meant() {
				if streams+seqs+links != "" {
					return usage("--archive, --from and --to say which of its archives", "--stream, --seq and --link are not for a family")
				}
				return of.add(env, &s, h)
			}
			if of.archive != 0 {
				return usage("--family utm5 --archive 3", "--archive is of a family, and none is named")
			}
			return withRoller(env, &s, func(able httpapi.Roller) error {
				if err := able.AddHold(env.Context, h); err != nil {
					return err
				}
				_, err := fmt.Fprintf(env.Stdout, "hold %s is in force%s\n", h.Name, wholly(&h))
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&streams, "stream", "", "`streams` that it is on; without it all")
	f.StringVar(&seqs, "seq", "", "rows of these `seqs`, as FROM-TO")
	f.StringVar(&links, "link", "", "rows of these `links`, as FROM-TO")
	f.StringVar(&from, "from", "", "rows received at this `time` or later, in UTC; archives that have it, or later ones")
	f.StringVar(&to, "to", "", "rows received up to this `time`, in UTC, a day to its end; archives that have it, or earlier ones")
	f.Int64Var(&of.archive, "archive", 0, "`number` of the archive of the family; without it all that --from and --to name")
	of.flags(cmd)
	f.StringVar(&h.Note, "note", "", "why, in your `words`")
	s.flags(cmd)
	return cmd
}

// withRoller connects and calls do.
func withRoller(env *Env, s *settings, do func(httpapi.Roller) error) error {
	return s.with(env, func(db Database) error {
		able, err := rollerOf(db)
		if err != nil {
			return err
		}
		return do(able)
	})
}

// ends reads FROM-TO; nil for nothing.
func ends(flag, text string) (*[2]int64, error) {
	if text == "" {
		return nil, nil
	}
	from, to := text, text
	if at := strings.IndexByte(text[1:], '-') + 1; at > 0 {
		from, to = text[:at], text[at+1:]
	}
	first, ferr := strconv.ParseInt(from, 10, 64)
	last, lerr := strconv.ParseInt(to, 10, 64)
	if ferr != nil || lerr != nil || first > last {
		return nil, usage("write it like 4711 or 100-200", "--%s %q is no range", flag, text)
	}
	return &[2]int64{first, last}, nil
}

// moment reads a time; zero for nothing.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.DateOnly, time.DateTime, time.RFC3339} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage(`write 2026-01-31 or "2026-01-31 12:00:00"`, "--%s %q is no time", flag, text)
}

// until reads the end of a time: a day lasts to its end, a second too; zero for
// nothing.
func until(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	_, last, err := moments(flag, text)
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMicro(last).UTC(), nil
}

// wholly says what a hold without a range is on, since nothing rolls there until
// it is lifted.
func wholly(h *httpapi.Hold) string {
	if h.Seqs != nil || h.Links != nil || !h.From.IsZero() || !h.To.IsZero() {
		return ""
	}
	if len(h.Streams) == 0 {
		return ", on all rows of all streams: nothing can leave until it is removed"
	}
	return ", on all rows of " + strings.Join(h.Streams, ", ") + ": none of them can leave until it is removed"
}

func newHoldList(env *Env) *cobra.Command {
	var s settings
	var asJSON bool
	var of heldFamily
	cmd := &cobra.Command{
		Use:     "list [--family FAMILY] [--json] [--config FILE] [--data DIR]",
		Short:   "list holds",
		Example: "  holdfast hold list --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if of.meant() {
				return of.list(env, &s, asJSON)
			}
			return withRoller(env, &s, func(able httpapi.Roller) error {
				all, err := able.Holds(env.Context)
				if err != nil {
					return err
				}
				return printHolds(env, all, asJSON)
			})
		},
	}
	s.flags(cmd)
	of.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per hold")
	return cmd
}

func printHolds(env *Env, all []httpapi.Hold, asJSON bool) error {
	if asJSON {
		for _, h := range all {
			if err := json.NewEncoder(env.Stdout).Encode(h); err != nil {
				return err
			}
		}
		return nil
	}
	span := func(e *[2]int64) string {
		if e == nil {
			return "-"
		}
		return fmt.Sprintf("%d-%d", e[0], e[1])
	}
	when := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(time.DateTime)
	}
	t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "HOLD\tSTREAMS\tSEQS\tLINKS\tFROM\tTO\tMADE\tBY\tNOTE")
	for _, h := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, first(strings.Join(h.Streams, ","), "all"), span(h.Seqs), span(h.Links),
			when(h.From), when(h.To), when(h.Made), oneLine(first(h.By, "-")), oneLine(h.Note))
	}
	return t.Flush()
}

func newHoldRemove(env *Env) *cobra.Command {
	var s settings
	var of heldFamily
	cmd := &cobra.Command{
		Use:     "remove NAME [--family FAMILY] [--config FILE] [--data DIR]",
		Short:   "lift a hold",
		Example: "  holdfast hold remove case-7",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("see "+cmd.CommandPath()+" --help", "%q takes one name, not %d", cmd.CommandPath(), len(args))
			}
			if of.meant() {
				return of.remove(env, &s, args[0])
			}
			return withRoller(env, &s, func(able httpapi.Roller) error {
				if err := able.RemoveHold(env.Context, args[0]); err != nil {
					return err
				}
				_, err := fmt.Fprintf(env.Stdout, "hold %s is lifted\n", args[0])
				return err
			})
		},
	}
	s.flags(cmd)
	of.flags(cmd)
	return cmd
}
