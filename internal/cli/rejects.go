package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
)

func newRejects(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rejects list|show|edit|export|retry|discard",
		Short: "look at the rows that sinks refused, mend them, and bring them in",
		Long: `A sink that refuses a row for what it is (a constraint, a type) costs that row
alone: it is kept aside, with its values and the database's own words, and waits
for somebody. Mend the cause in the database, or the row here with edit; then
retry. Each reject has a number, which list shows.

All but retry work without a running server too.`,
		Example: "  holdfast rejects list\n  holdfast rejects show 17\n  holdfast rejects retry --sink billing",
	}
	group(cmd)
	cmd.AddCommand(newRejectsList(env), newRejectsShow(env), newRejectsEdit(env), newRejectsExport(env), newRejectsRetry(env), newRejectsDiscard(env))
	for _, verb := range cmd.Commands() {
		verb.DisableFlagsInUseLine = true
	}
	return cmd
}

// rejecter is a Database that keeps rejects.
type rejecter interface {
	Rejects(ctx context.Context, f httpapi.RejectFilter, emit func(httpapi.Reject) error) error
	Reject(ctx context.Context, id uint64) (httpapi.Reject, error)
	EditReject(ctx context.Context, id uint64, changes map[string]*string) (httpapi.Reject, error)
	DiscardRejects(ctx context.Context, f httpapi.RejectFilter, note string) (int, error)
	RetryRejects(ctx context.Context, f httpapi.RejectFilter) (httpapi.Retried, error)
}

var _ rejecter = (*httpapi.Client)(nil)

// rejectFlags say which rejects are meant, and where they are.
type rejectFlags struct {
	settings
	f    httpapi.RejectFilter
	all  bool
	json bool
}

// flags adds those that choose rejects.
func (r *rejectFlags) flags(cmd *cobra.Command) {
	r.settings.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&r.f.Sink, "sink", "", "only those of this `sink`")
	f.StringVar(&r.f.Stream, "stream", "", "only rows of this `stream`")
	f.StringVar(&r.f.Table, "table", "", "only rows of this `table`")
	f.StringVar(&r.f.Code, "code", "", "only those refused with this error `code`")
	f.IntVar(&r.f.Limit, "limit", 0, "at most `N`; 0: all")
	f.BoolVar(&r.json, "json", false, "one JSON object per line")
}

// chosen puts the numbers in args into the filter. With must set, something has
// to say which rejects are meant, so that a slip does not mean all of them.
func (r *rejectFlags) chosen(cmd *cobra.Command, args []string, must bool) error {
	for _, arg := range args {
		id, err := strconv.ParseUint(arg, 10, 64)
		if err != nil {
			return usage("give the number that holdfast rejects list shows", "%q is not the number of a reject", arg)
		}
		r.f.IDs = append(r.f.IDs, id)
	}
	some := len(args) > 0 || r.f.Sink != "" || r.f.Stream != "" || r.f.Table != "" || r.f.Code != ""
	if must && some == r.all {
		if some {
			return usage("give one of them", "--all and a choice contradict each other")
		}
		return usage("give numbers, --sink, --stream, --table or --code; or --all", "%q does not say which rejects are meant", cmd.CommandPath())
	}
	if r.f.Limit < 0 {
		return usage("from 0", "--limit \"%d\" is out of range", r.f.Limit)
	}
	return nil
}

// keeper calls do with who keeps the rejects.
func (r *rejectFlags) keeper(env *Env, do func(rejecter) error) error {
	return withRejects(env, &r.settings, do)
}

func withRejects(env *Env, s *settings, do func(rejecter) error) error {
	return s.with(env, func(db Database) error {
		able, ok := db.(rejecter)
		if !ok {
			return fault.New(fault.FeatureNotSupported, "this database keeps no rejects")
		}
		return do(able)
	})
}

// rejectID reads the one argument of a verb about one reject.
func rejectID(cmd *cobra.Command, args []string) (uint64, error) {
	if len(args) == 0 {
		return 0, usage("see "+cmd.CommandPath()+" --help", "%q takes the number of a reject", cmd.CommandPath())
	}
	id, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return 0, usage("give the number that holdfast rejects list shows", "%q is not the number of a reject", args[0])
	}
	return id, nil
}

// described tells of a reject in one line.
func described(r httpapi.Reject) string {
	return fmt.Sprintf("%d: row %d of stream %s, table %s, refused by %s: %s (%s)", r.ID, r.Seq, r.Stream, r.Table, r.Sink, r.Error, r.Code)
}
