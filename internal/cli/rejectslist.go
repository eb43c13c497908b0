package cli

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/httpapi"
)

func newRejectsList(env *Env) *cobra.Command {
	var r rejectFlags
	cmd := &cobra.Command{
		Use:   "list [--sink S] [--stream S] [--table T] [--code C] [--state open|delivered|discarded|all] [--limit N] [--json]",
		Short: "list the rejects that wait, without their values",
		Long: `list shows the rejects that wait, oldest first. With --state it shows those that
were delivered by a retry, or discarded, too, as far back as they are kept.`,
		Example: "  holdfast rejects list --sink billing\n  holdfast rejects list --state all --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.chosen(cmd, args, false); err != nil {
				return err
			}
			return r.keeper(env, func(k rejecter) error { return listRejects(env, k, r.f, r.json) })
		},
	}
	r.flags(cmd)
	cmd.Flags().StringVar(&r.f.State, "state", "", "`state`: open, delivered, discarded or all")
	return cmd
}

func listRejects(env *Env, k rejecter, f httpapi.RejectFilter, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(env.Stdout)
		return k.Rejects(env.Context, f, func(one httpapi.Reject) error { return e.Encode(one) })
	}
	n := 0
	t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	err := k.Rejects(env.Context, f, func(one httpapi.Reject) error {
		if n++; n == 1 {
			fmt.Fprintln(t, "REJECT\tSINK\tSTREAM\tSEQ\tTABLE\tSTATE\tTRIES\tAGE\tCODE\tWHY")
		}
		_, err := fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%s\t%s\t%d\t%s\t%s\t%s\n", one.ID, one.Sink, one.Stream, one.Seq, oneLine(one.Table), one.State,
			one.Attempts, ago(time.Since(one.Refused)), oneLine(one.Code), oneLine(one.Error))
		return err
	})
	if err == nil {
		err = t.Flush()
	}
	if err == nil && n == 0 {
		_, err = fmt.Fprintln(env.Stdout, "no rejects")
	}
	return err
}

func newRejectsShow(env *Env) *cobra.Command {
	var s settings
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show ID [--json]",
		Short:   "show one reject with its values",
		Example: "  holdfast rejects show 17",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := rejectID(cmd, args)
			if err != nil {
				return err
			}
			if len(args) > 1 {
				return noArgs(cmd, args[1:])
			}
			return withRejects(env, &s, func(k rejecter) error {
				one, err := k.Reject(env.Context, id)
				if err != nil {
					return err
				}
				return showReject(env, one, asJSON)
			})
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}

func showReject(env *Env, r httpapi.Reject, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(env.Stdout).Encode(r)
	}
	w := env.Stdout
	fmt.Fprintln(w, oneLine(described(r)))
	fmt.Fprintf(w, "state %s, %s, first %s, last %s\n", r.State, plural(r.Attempts, "attempt"), r.Refused.Format(time.RFC3339), r.Changed.Format(time.RFC3339))
	if r.Edits > 0 {
		fmt.Fprintf(w, "edited %s\n", plural(r.Edits, "time"))
	}
	if r.Note != "" {
		fmt.Fprintf(w, "note: %s\n", oneLine(r.Note))
	}
	if r.Lost != "" {
		fmt.Fprintf(w, "its values are lost: %s\n", oneLine(r.Lost))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, c := range r.Columns {
		text := "NULL"
		if i < len(r.Values) && r.Values[i] != nil {
			text = fmt.Sprintf("%q", *r.Values[i])
		}
		fmt.Fprintf(t, "  %s\t%s\n", oneLine(c), text)
	}
	return t.Flush()
}
