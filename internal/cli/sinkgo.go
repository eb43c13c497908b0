package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/httpapi"
)

func newSinkPause(env *Env) *cobra.Command {
	o := httpapi.Order{Do: "pause"}
	cmd := sinkVerb(env, &cobra.Command{
		Use:   "pause NAME [--stream S] [--config FILE] [--data DIR] [--json]",
		Short: "stop delivering to a sink until resume; its rows are kept",
		Long: `pause stops delivering to a sink, once a commit that is under way is finished. Its
rows are kept: watch the room that the stream has left. It stays paused over a
restart.`,
		Example: "  holdfast sink pause billing",
	}, 1, &o, nil)
	cmd.Flags().StringVar(&o.Stream, "stream", "", "only this `stream`")
	return cmd
}

func newSinkResume(env *Env) *cobra.Command {
	o := httpapi.Order{Do: "resume"}
	cmd := sinkVerb(env, &cobra.Command{
		Use:   "resume NAME [--accept-gap] [--stream S] [--config FILE] [--data DIR] [--json]",
		Short: "go on delivering to a sink that is paused or halted",
		Long: `resume ends a pause, and the halts that wait for somebody to look: a sink that was
taken over by another server (fenced), whose cursor was removed, that was put
back to an older copy, or that refuses a flood of rows. Read the sink's
last_error first: to resume says that it is right as it is now.

With --accept-gap it also goes on where rows that the sink needs are no longer
kept: it will never get those, which is written into holdfast_gap in the sink.`,
		Example: "  holdfast sink resume billing\n  holdfast sink resume billing --accept-gap",
	}, 1, &o, nil)
	cmd.Flags().BoolVar(&o.AcceptGap, "accept-gap", false, "give up the rows that are no longer kept")
	cmd.Flags().StringVar(&o.Stream, "stream", "", "only this `stream`")
	return cmd
}

func newSinkReplay(env *Env) *cobra.Command {
	o := httpapi.Order{Do: "resume", Replay: true}
	var from uint64
	cmd := sinkVerb(env, &cobra.Command{
		Use:   "replay NAME [--from SEQ --stream S] [--config FILE] [--data DIR] [--json]",
		Short: "deliver again what a sink lacks that was put back to an older copy",
		Long: `replay makes the sink's own cursor count, wherever it stands: a database that was
restored from an older copy, or emptied, gets every row since then again, each
once, as far back as rows are kept (see REPLAY in holdfast status).

With --from it moves the cursor to the row in front of SEQ first, and delivers
everything from there on again. What the sink has of those rows it then has
twice: delete it there before.`,
		Example: "  holdfast sink replay billing\n  holdfast sink replay billing --stream main --from 4711",
	}, 1, &o, func([]string) error {
		if from > 0 {
			o = httpapi.Order{Sink: o.Sink, Do: "seek", Stream: o.Stream, Seq: from - 1}
		}
		return nil
	})
	cmd.Flags().Uint64Var(&from, "from", 0, "first `seq` to deliver again")
	cmd.Flags().StringVar(&o.Stream, "stream", "", "only this `stream`")
	return cmd
}

func newSinkSeek(env *Env) *cobra.Command {
	o := httpapi.Order{Do: "seek"}
	cmd := sinkVerb(env, &cobra.Command{
		Use:   "seek NAME SEQ [--stream S] [--config FILE] [--data DIR] [--json]",
		Short: "move a sink's cursor: rows up to SEQ count as delivered, those behind it come",
		Long: `seek moves the cursor in the sink to SEQ, or to the last place before it where a
transaction ends. Forwards, the sink never gets the rows that are passed over:
they are noted in holdfast_gap there. Backwards, rows behind SEQ come again, and
are twice in the sink where they were not deleted before.`,
		Example: "  holdfast sink seek billing 4711 --stream main",
	}, 2, &o, func(words []string) (err error) {
		if o.Seq, err = strconv.ParseUint(words[0], 10, 64); err != nil {
			return usage("give the number of a row, as holdfast cat shows it", "%q is not a seq", words[0])
		}
		return nil
	})
	cmd.Flags().StringVar(&o.Stream, "stream", "", "the `stream`; needed where the sink has several")
	return cmd
}

func newSinkDrain(env *Env) *cobra.Command {
	o := httpapi.Order{Do: "drain"}
	var limit time.Duration
	cmd := sinkVerb(env, &cobra.Command{
		Use:   "drain NAME [--timeout D] [--config FILE] [--data DIR] [--json]",
		Short: "wait until a sink has everything that is durable now",
		Long: `drain waits until the sink has committed every row that was durable when it was
called. It fails where the sink is paused or halted, or when the time is up, and
says what is left. Rows that come meanwhile are not waited for.`,
		Example: "  holdfast sink drain billing --timeout 10m && holdfast sink retire billing",
	}, 1, &o, func([]string) error {
		if limit < 0 {
			return usage("like 10m; 0 waits for ever", "--timeout %q is no time to wait", limit.String())
		}
		o.Seconds = limit.Seconds()
		return nil
	})
	cmd.Flags().DurationVar(&limit, "timeout", 0, "how long to wait; 0: for ever")
	return cmd
}
