package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
)

func newSink(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sink list|pause|resume|seek|replay|drain|retire|rename",
		Short: "look after sinks: stop and go on, begin elsewhere, end or rename them",
		Long: `sink tells and changes how rows get to one sink. Writers notice none of it, and
neither do other sinks. What is said of a sink is kept over a restart.

list, pause, resume, retire and rename also work without a running server;
seek, replay and drain need one, since only a server reaches sinks.`,
		Example: "  holdfast sink list --data /var/lib/holdfast\n  holdfast sink pause billing",
	}
	group(cmd)
	cmd.AddCommand(newSinkList(env), newSinkPause(env), newSinkResume(env), newSinkSeek(env), newSinkReplay(env),
		newSinkDrain(env), newSinkRetire(env), newSinkRename(env))
	for _, verb := range cmd.Commands() {
		verb.DisableFlagsInUseLine = true
	}
	return cmd
}

func newSinkList(env *Env) *cobra.Command {
	var s settings
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list [--config FILE] [--data DIR] [--json]",
		Short:   "list sinks, with what keeps each from delivering",
		Example: "  holdfast sink list --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return s.with(env, func(db Database) error { return listSinks(env, db, asJSON) })
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per sink and stream")
	return cmd
}

func listSinks(env *Env, db Database, asJSON bool) error {
	st, err := db.Status(env.Context)
	if err != nil {
		return err
	}
	if asJSON {
		for _, k := range st.Sinks {
			if err := json.NewEncoder(env.Stdout).Encode(k); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SINK\tSTREAM\tTYPE\tSTATE\tSEQ\tBEHIND\tAGE\tROWS/S\tDONE IN\tREJECTS\tWHY")
	for _, k := range st.Sinks {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%d\t%s\n", k.Name, k.Stream, k.Type, k.State, k.Seq, k.LagRows,
			ago(time.Duration(k.LagSeconds*float64(time.Second))), rate(k), doneIn(k), k.RejectsOpen, oneLine(first(k.Reason, "-")))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return printAdvice(env.Stdout, st.Sinks)
}

// rate tells how fast a sink takes rows; "-" where it takes none.
func rate(k httpapi.SinkStatus) string {
	if k.RowsPerSecond < 0.05 {
		return "-"
	}
	return fmt.Sprintf("%.1f", k.RowsPerSecond)
}

// doneIn tells when a sink will have everything; "-" where it has, or where
// nobody can tell.
func doneIn(k httpapi.SinkStatus) string {
	if k.LagRows == 0 || k.DoneSeconds <= 0 {
		return "-"
	}
	return ago(time.Duration(k.DoneSeconds * float64(time.Second)))
}

// operator is a Database that takes orders about sinks.
type operator interface {
	Operate(ctx context.Context, o httpapi.Order) (httpapi.Done, error)
	Rotate(ctx context.Context, sink string) ([]string, error)
}

var _ operator = (*httpapi.Client)(nil)

// sinkVerb makes a verb that gives an order about the sink that it is named.
// finish gets the flags that only some orders have, and the words behind the
// sink's name.
func sinkVerb(env *Env, cmd *cobra.Command, words int, o *httpapi.Order, finish func(words []string) error) *cobra.Command {
	var s settings
	var asJSON bool
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != words {
			return usage("see "+cmd.CommandPath()+" --help", "%q takes %s, not %d", cmd.CommandPath(), plural(words, "name"), len(args))
		}
		o.Sink = args[0]
		if finish != nil {
			if err := finish(args[1:]); err != nil {
				return err
			}
		}
		return s.with(env, func(db Database) error { return order(env, db, *o, asJSON) })
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}

// order gives an order and tells what became of it.
func order(env *Env, db Database, o httpapi.Order, asJSON bool) error {
	able, ok := db.(operator)
	if !ok {
		return fault.New(fault.FeatureNotSupported, "this database takes no orders about sinks")
	}
	done, err := able.Operate(env.Context, o)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(env.Stdout).Encode(done)
	}
	var at []string
	for _, p := range done.Streams {
		at = append(at, fmt.Sprintf("%s at seq %d", p.Stream, p.Seq))
	}
	line := fmt.Sprintf("sink %s: %s", done.Sink, done.Done)
	if len(at) > 0 {
		line += " (" + strings.Join(at, ", ") + ")"
	}
	if done.Note != "" {
		line += "; " + done.Note
	}
	_, err = fmt.Fprintln(env.Stdout, oneLine(line))
	return err
}

// printAdvice tells, for each sink that needs somebody, why and what to do.
func printAdvice(w io.Writer, all []httpapi.SinkStatus) error {
	for _, k := range all {
		if k.LastError == "" && k.Do == "" {
			continue
		}
		line := fmt.Sprintf("sink %s is %s", k.Name, k.State)
		if k.LastError != "" {
			line += ": " + k.LastError
		} else if k.RejectsOpen > 0 {
			line += ", with " + plural(k.RejectsOpen, "reject") + " to look at"
		}
		if _, err := fmt.Fprintln(w, oneLine(line)); err != nil {
			return err
		}
		if k.Do != "" {
			if _, err := fmt.Fprintln(w, "  do: "+oneLine(k.Do)); err != nil {
				return err
			}
		}
	}
	return nil
}
