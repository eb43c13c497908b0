package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"holdfast/internal/config"
	"holdfast/internal/httpapi"
)

func newStatus(env *Env) *cobra.Command {
	var s settings
	var addr string
	var asJSON bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "status [--http ADDR | --data DIR] [--watch[=INTERVAL]] [--json]",
		Short: "show streams and sinks, and how far each sink is behind",
		Long: `status shows the server's streams and sinks. Without a running server it shows
how the data directory was left. With --json it prints what GET /v1/status
answers, with --watch again and again.`,
		Example: "  holdfast status --data /var/lib/holdfast\n  holdfast status --watch=5s --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if addr != "" && s.data != "" {
				return usage("give one of them", "--http and --data name two servers")
			}
			show := func(db Database) error { return showStatus(env, db, asJSON, every) }
			if addr == "" {
				return s.with(env, show)
			}
			c := httpapi.NewTCP(addr)
			defer c.Close()
			return show(c)
		},
	}
	s.reads = true
	s.flags(cmd)
	cmd.Flags().StringVar(&addr, "http", "", "`address` of the server's HTTP door")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	cmd.Flags().DurationVar(&every, "watch", 0, "show it again each `interval`, until interrupted")
	cmd.Flags().Lookup("watch").NoOptDefVal = "2s"
	return cmd
}

func showStatus(env *Env, db Database, asJSON bool, every time.Duration) error {
	terminal := false
	if f, ok := env.Stdout.(*os.File); ok {
		terminal = term.IsTerminal(int(f.Fd()))
	}
	for {
		st, err := db.Status(env.Context)
		if err != nil && every > 0 && env.Context.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if every > 0 && terminal && !asJSON {
			fmt.Fprint(env.Stdout, "\x1b[H\x1b[2J")
		}
		if asJSON {
			err = json.NewEncoder(env.Stdout).Encode(st)
		} else {
			err = printStatus(env.Stdout, st, time.Now())
		}
		if err != nil || every <= 0 {
			return err
		}
		if !wait(env.Context, every) {
			return nil
		}
	}
}

// wait waits for d and returns whether ctx still goes on.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// printStatus writes st as tables for people.
func printStatus(w io.Writer, st httpapi.Status, now time.Time) error {
	if st.Started.IsZero() {
		fmt.Fprintf(w, "no server runs on %s\n", st.Data)
	} else {
		fmt.Fprintf(w, "holdfast %s on %s, up %s; pg %s, http %s\n", st.Version, st.Data, ago(now.Sub(st.Started)),
			first(st.Listen.PG, "closed"), first(st.Listen.HTTP, "closed"))
		if st.Listen.MySQL != "" {
			fmt.Fprintf(w, "mysql %s\n", st.Listen.MySQL)
		}
		fmt.Fprintf(w, "%s, %s resident, at most %s\n", plural(st.Connections, "connection"), bytesOf(st.ResidentBytes), bytesOf(st.PeakResidentBytes))
	}
	if err := printNumbers(w, st, now); err != nil {
		return err
	}
	if err := printRolling(w, st.Streams, now); err != nil {
		return err
	}
	printIndexes(w, st.Streams)
	printTroubles(w, st.Streams, now)
	printDedupe(w, st.Dedupe, now)
	for _, text := range st.Warnings {
		fmt.Fprintf(w, "warning: %s\n", oneLine(text))
	}
	if err := printDoors(w, st.Doors); err != nil {
		return err
	}
	if err := printSources(w, st.Sources); err != nil {
		return err
	}
	if err := printFamilies(w, st.Families); err != nil {
		return err
	}
	return printAdvice(w, st.Sinks)
}

// printNumbers writes a line per stream, and one per sink of each.
func printNumbers(w io.Writer, st httpapi.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nSTREAM\tSTATE\tFIRST SEQ\tEND SEQ\tSEGMENTS\tSIZE\tLIMIT\tFREE\tREPLAY\tDAMAGE")
	for _, s := range st.Streams {
		limit, replay := "none", "-"
		if s.LimitBytes > 0 {
			limit = bytesOf(s.LimitBytes)
		}
		if !s.ReplaySince.IsZero() {
			replay = ago(now.Sub(s.ReplaySince))
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%d\n", s.Name, s.State, s.FirstSeq, s.EndSeq, s.Segments,
			bytesOf(s.Bytes), limit, bytesOf(s.FreeBytes), replay, len(s.Damage))
	}
	fmt.Fprintln(t, "\nSINK\tSTREAM\tTYPE\tSTATE\tSEQ\tBEHIND\tBYTES\tAGE\tROWS/S\tDONE IN\tREJECTS\tRETRIES\tSIZE")
	for _, k := range st.Sinks {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", k.Name, k.Stream, k.Type, k.State, k.Seq, k.LagRows,
			bytesOf(k.LagBytes), ago(time.Duration(k.LagSeconds*float64(time.Second))), rate(k), doneIn(k), k.RejectsOpen, k.Retries, bytesOf(k.SizeBytes))
	}
	return t.Flush()
}

// printTroubles tells what is wrong with streams, and when each was last read
// again whole.
func printTroubles(w io.Writer, all []httpapi.StreamStatus, now time.Time) {
	for _, s := range all {
		if s.Error != "" {
			fmt.Fprintf(w, "stream %s is %s: %s\n", s.Name, s.State, oneLine(s.Error))
		}
		for _, d := range s.Damage {
			fmt.Fprintf(w, "damage: %s\n", oneLine(describe(d)))
		}
		for _, d := range s.Gaps {
			fmt.Fprintf(w, "gap: %s\n", oneLine(describe(d)))
		}
		if !s.Scrub.Ended.IsZero() {
			fmt.Fprintf(w, "scrub of %s: the last full round ended %s ago\n", s.Name, ago(now.Sub(s.Scrub.Ended)))
		}
	}
}

// bytesOf tells a size for people.
func bytesOf(n int64) string { return config.Size(n).Short() }
