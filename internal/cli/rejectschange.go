package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/httpapi"
)

func newRejectsEdit(env *Env) *cobra.Command {
	var s settings
	var asJSON bool
	var nulls []string
	cmd := &cobra.Command{
		Use:   "edit ID [COLUMN=VALUE ...] [--null COLUMN] [--json]",
		Short: "change values of a reject, for the next retry",
		Long: `edit changes values of a reject that waits; the others stay. What is behind the
first = is the value, byte for byte. The row as it came stays in its own stream.`,
		Example: "  holdfast rejects edit 17 duration=42\n  holdfast rejects edit 17 --null src_ip && holdfast rejects retry 17",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := rejectID(cmd, args)
			if err != nil {
				return err
			}
			changes, err := edits(cmd, args[1:], nulls)
			if err != nil {
				return err
			}
			return withRejects(env, &s, func(k rejecter) error {
				one, err := k.EditReject(env.Context, id, changes)
				if err != nil {
					return err
				}
				return showReject(env, one, asJSON)
			})
		},
	}
	s.flags(cmd)
	cmd.Flags().StringArrayVar(&nulls, "null", nil, "`column` that becomes NULL; may be given several times")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}

// edits reads what is to be changed.
func edits(cmd *cobra.Command, args, nulls []string) (map[string]*string, error) {
	changes := map[string]*string{}
	for _, arg := range args {
		column, value, ok := strings.Cut(arg, "=")
		if !ok || column == "" {
			return nil, usage("write it like duration=42; --null duration for NULL", "%q is not a column and its value", arg)
		}
		if _, twice := changes[column]; twice {
			return nil, usage("give each column once", "column %q is changed twice", column)
		}
		changes[column] = &value
	}
	for _, column := range nulls {
		if _, twice := changes[column]; twice {
			return nil, usage("give each column once", "column %q is changed twice", column)
		}
		changes[column] = nil
	}
	if len(changes) == 0 {
		return nil, usage("see "+cmd.CommandPath()+" --help", "nothing is to be changed")
	}
	return changes, nil
}

func newRejectsExport(env *Env) *cobra.Command {
	var r rejectFlags
	var rows bool
	cmd := &cobra.Command{
		Use:   "export [ID ...] [--rows] [--sink S] [--stream S] [--table T] [--code C] [--state S] [--limit N]",
		Short: "print rejects with their values, one JSON object per line",
		Long: `export prints rejects with their values. With --rows it prints the rows alone, as
holdfast put --format ndjson takes them; name a --table then.`,
		Example: "  holdfast rejects export --sink billing > rejects.ndjson\n  holdfast rejects export --table acc --rows | holdfast put --table acc_old --format ndjson",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.chosen(cmd, args, false); err != nil {
				return err
			}
			r.f.Values = true
			return r.keeper(env, func(k rejecter) error { return exportRejects(env, k, r.f, rows) })
		},
	}
	r.flags(cmd)
	cmd.Flags().Lookup("json").Usage = "one JSON object per line; it is the only form"
	cmd.Flags().StringVar(&r.f.State, "state", "", "`state`: open, delivered, discarded or all")
	cmd.Flags().BoolVar(&rows, "rows", false, "only the rows, as objects")
	return cmd
}

func exportRejects(env *Env, k rejecter, f httpapi.RejectFilter, rows bool) error {
	e := json.NewEncoder(env.Stdout)
	e.SetEscapeHTML(false)
	return k.Rejects(env.Context, f, func(one httpapi.Reject) error {
		if !rows {
			return e.Encode(one)
		}
		if one.Lost != "" {
			return fmt.Errorf("the values of reject %d are lost: %s", one.ID, one.Lost)
		}
		object := make(map[string]*string, len(one.Columns))
		for i, c := range one.Columns {
			object[c] = one.Values[i]
		}
		return e.Encode(object)
	})
}

func newRejectsRetry(env *Env) *cobra.Command {
	var r rejectFlags
	cmd := &cobra.Command{
		Use:   "retry [ID ...] [--all] [--sink S] [--stream S] [--table T] [--code C] [--limit N] [--json]",
		Short: "bring rejects into their sinks, each exactly once",
		Long: `retry writes rejects that wait into the sinks that refused them, once the cause is
mended. Each arrives exactly once, whatever is killed meanwhile: do it again when
in doubt. It needs a running server, and exits with 1 where some are left.`,
		Example: "  holdfast rejects retry 17 18\n  holdfast rejects retry --sink billing --table acc",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.chosen(cmd, args, true); err != nil {
				return err
			}
			return r.keeper(env, func(k rejecter) error { return retryRejects(env, k, r.f, r.json) })
		},
	}
	r.flags(cmd)
	cmd.Flags().BoolVar(&r.all, "all", false, "all that wait")
	return cmd
}

func retryRejects(env *Env, k rejecter, f httpapi.RejectFilter, asJSON bool) error {
	done, err := k.RetryRejects(env.Context, f)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(env.Stdout).Encode(done)
	} else {
		_, err = fmt.Fprintf(env.Stdout, "%d delivered, %d refused again, %d not tried\n", done.Delivered, done.Refused, done.Skipped)
		for _, why := range done.Why {
			fmt.Fprintf(env.Stdout, "  %s\n", oneLine(why))
		}
	}
	if err == nil && done.Refused+done.Skipped > 0 {
		err = &exitError{code: exitFailed, err: fmt.Errorf("%s left", plural(done.Refused+done.Skipped, "reject")), hint: "holdfast rejects list shows them"}
	}
	return err
}

func newRejectsDiscard(env *Env) *cobra.Command {
	var r rejectFlags
	var note string
	var apply bool
	cmd := &cobra.Command{
		Use:   "discard [ID ...] [--all] [--sink S] [--stream S] [--table T] [--code C] [--limit N] [--note TEXT] [--apply] [--json]",
		Short: "give rejects up: they are never written to their sinks",
		Long: `discard gives up rejects that wait. Without --apply it lists what would go. They
stay in the list of --state discarded for as long as that is kept; export them
before, if anybody may ask for them.`,
		Example: "  holdfast rejects discard 17 --note 'test call' --apply",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.chosen(cmd, args, true); err != nil {
				return err
			}
			return r.keeper(env, func(k rejecter) error {
				if !apply {
					return errors.Join(listRejects(env, k, r.f, r.json), tellApply(env, r.json))
				}
				return discardRejects(env, k, r.f, note, r.json)
			})
		},
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&r.all, "all", false, "all that wait")
	f.StringVar(&note, "note", "", "`text` that says why, kept with them")
	f.BoolVar(&apply, "apply", false, "do it; without, they are only listed")
	return cmd
}

func tellApply(env *Env, asJSON bool) error {
	if asJSON {
		return nil
	}
	_, err := fmt.Fprintln(env.Stdout, "nothing was discarded; --apply does it")
	return err
}

func discardRejects(env *Env, k rejecter, f httpapi.RejectFilter, note string, asJSON bool) error {
	n, err := k.DiscardRejects(env.Context, f, note)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(env.Stdout).Encode(map[string]int{"discarded": n})
	}
	_, err = fmt.Fprintf(env.Stdout, "%s discarded\n", plural(n, "reject"))
	return err
}
