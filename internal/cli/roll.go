package cli

import (
	"encoding/json"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
	"holdfast/internal/roll"
)

func newRoll(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "roll",
		Short: "let the oldest rows leave by size or by age, and take that back",
		Long: `roll lets the oldest segments leave, of several streams at one link, so that no
half of what belongs together stays. What a sink still needs stays, and so does
what a hold or keep_at_least keeps. The plan is printed; --apply carries it out.

size and time send the messages sizeRoll and timeRoll of the NetWitness Core
database; docs/roll.md has their grammar. What was rolled can be undone for as
long as the configuration says (roll: {undo: 6h}), unless its room was needed.`,
		Example: "  holdfast roll size --type meta,session,packet --max-size 25TB\n  holdfast roll time --days 400 --apply",
	}
	group(cmd)
	cmd.AddCommand(newRollVerb(env, "size"), newRollVerb(env, "time"), newRollUndo(env))
	for _, verb := range cmd.Commands() {
		verb.DisableFlagsInUseLine = true
	}
	return cmd
}

// rollFlags are a verb's flags, and what the message calls them.
var rollFlags = map[string][][3]string{
	"size": {
		{"max-size", "maxSize", "let go until the streams take less than this `size`, all together"},
		{"max-percent", "maxPercent", "let go until they take less than this `percentage` of their volumes"},
		{"min-free", "minFree", "let go until each of their volumes has this `size` free"},
		{"max-size-warm", "maxSizeWarm", "let the oldest leave the warm tier, until it takes less than this `size`"},
	},
	"time": {
		{"days", "days", "older than so many `days`; days, hours and minutes add up"},
		{"hours", "hours", "older than so many `hours`"},
		{"minutes", "minutes", "older than so many `minutes`"},
		{"date", "date", "from before this `date`, in UTC"},
		{"by", "by", "what counts: `file-time`, when a segment was sealed, or row-time, its newest row's receipt"},
	},
}

func newRollVerb(env *Env, what string) *cobra.Command {
	var s settings
	var asJSON bool
	o := httpapi.RollOrder{Message: what + "Roll", By: operatorName()}
	short, usual := "let the oldest leave until a size is reached", "--max-size SIZE | --max-percent P | --min-free SIZE"
	if what == "time" {
		short, usual = "let leave what is older than an age", "--days N | --hours N | --minutes N | --date D"
	}
	cmd := &cobra.Command{
		Use:     what + " [--type A,B] " + usual + " [--apply] [--json] [--config FILE] [--data DIR]",
		Short:   short,
		Example: map[string]string{"size": "  holdfast roll size --type meta,session --max-size 2TB --apply", "time": "  holdfast roll time --days 7 --by row-time"}[what],
		Args:    noArgs,
	}
	var types []string
	cmd.Flags().StringArrayVar(&types, "type", nil, "`streams` that are counted and rolled together; without it all")
	for _, f := range rollFlags[what] {
		cmd.Flags().String(f[0], "", f[2])
	}
	cmd.Flags().StringVar(&o.Node, "node", string(roll.Database), "`node` that the message is sent to: /database or /index")
	cmd.Flags().BoolVar(&o.Apply, "apply", false, "carry the plan out")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	s.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var params []string
		if cmd.Flags().Changed("type") {
			params = append(params, roll.Param("type", strings.Join(types, ",")))
		}
		for _, f := range rollFlags[what] {
			if value, _ := cmd.Flags().GetString(f[0]); cmd.Flags().Changed(f[0]) {
				params = append(params, roll.Param(f[1], value))
			}
		}
		o.Params = strings.Join(params, " ")
		if _, err := roll.ParseMessage(o.Node, o.Message, o.Params); err != nil {
			f := fault.Of(err)
			return usage(f.Hint, "%s", f.Message)
		}
		return s.with(env, func(db Database) error { return doRoll(env, db, o, asJSON) })
	}
	return cmd
}

func doRoll(env *Env, db Database, o httpapi.RollOrder, asJSON bool) error {
	able, err := rollerOf(db)
	if err != nil {
		return err
	}
	a, err := able.Roll(env.Context, o)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(env.Stdout).Encode(a)
	} else {
		err = tellRoll(env, a)
	}
	if err == nil && o.Apply && !a.Met {
		err = fault.New(fault.CannotConnectNow, "not all that was asked for holds").WithHint("the plan says what stands in the way")
	}
	return err
}

// tellRoll prints a plan, and what became of it, for people.
func tellRoll(env *Env, a httpapi.RollAnswer) error {
	_, err := fmt.Fprint(env.Stdout, a.Text)
	switch {
	case err != nil:
	case a.Serial != 0 && !a.Until.IsZero():
		_, err = fmt.Fprintf(env.Stdout, "done: roll %d; until %s: holdfast roll undo %d\n", a.Serial, a.Until.Format(time.DateTime), a.Serial)
	case a.Serial != 0:
		_, err = fmt.Fprintf(env.Stdout, "done: roll %d\n", a.Serial)
	case a.Steps > 0:
		_, err = fmt.Fprintln(env.Stdout, "nothing was done; --apply carries it out")
	default:
		_, err = fmt.Fprintln(env.Stdout, "nothing is to be done")
	}
	return err
}

func rollerOf(db Database) (httpapi.Roller, error) {
	if able, ok := db.(httpapi.Roller); ok {
		return able, nil
	}
	return nil, fault.New(fault.FeatureNotSupported, "this database does not roll")
}

// operatorName returns who is at the keyboard, for the ledger.
func operatorName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

func newRollUndo(env *Env) *cobra.Command {
	var s settings
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "undo [ROLL] [--json] [--config FILE] [--data DIR]",
		Short:   "bring back what a roll by message took, within its time",
		Example: "  holdfast roll undo",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			o := httpapi.RollUndo{By: operatorName()}
			if len(args) > 0 {
				n, err := strconv.ParseUint(args[0], 10, 64)
				if err != nil {
					return usage("holdfast roll prints it", "%q is no roll's number", args[0])
				}
				o.Serial = n
			}
			return s.with(env, func(db Database) error {
				able, err := rollerOf(db)
				if err != nil {
					return err
				}
				serial, err := able.UndoRoll(env.Context, o)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(env.Stdout).Encode(httpapi.RollUndo{Serial: serial})
				}
				_, err = fmt.Fprintf(env.Stdout, "roll %d is undone\n", serial)
				return err
			})
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}
