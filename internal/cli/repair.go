package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
)

func newRepair(env *Env) *cobra.Command {
	var s settings
	var o repairOptions
	var addr string
	cmd := &cobra.Command{
		Use:   "repair [--http ADDR | --data DIR] [--stream S] [--json] [--apply]",
		Short: "make gaps of what cannot be read, so that sinks go on behind it",
		Long: `repair reads every stored byte, as verify does, and prints for each damage what
there is to do: which rows are lost, where they stood, and where their bytes are
kept. With --apply it does that: it copies the damaged bytes to the directory
quarantine of the stream, and then makes the rows a gap. Readers and sinks pass
over a gap, and log which rows are missing. A segment's file that has the name of
another is given its own one, and nothing in it is given up. A gap is for ever: look for another
copy of the rows first. Nothing is changed without --apply, and no segment is
ever rewritten. Beside a running server, sinks that were halted go on at once.

It exits with 3 where there is something left to do.`,
		Example: "  holdfast repair --data /var/lib/holdfast\n  holdfast repair --data /var/lib/holdfast --apply --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			s.reads = !o.apply
			return s.local(env, addr, func(db Database) error { return repair(env, db, o) })
		},
	}
	s.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&addr, "http", "", "`address` of the HTTP door of a server on this machine")
	f.StringVar(&o.stream, "stream", "", "only this `stream`")
	f.BoolVar(&o.json, "json", false, "one JSON object per damaged place")
	f.BoolVar(&o.apply, "apply", false, "do it; without, only the plan is printed")
	return cmd
}

type repairOptions struct {
	stream      string
	json, apply bool
}

// repairer is a Database that can repair.
type repairer interface {
	Repair(ctx context.Context, stream string, apply bool, report func(httpapi.Repair) error) (httpapi.Verified, error)
}

var _ repairer = (*httpapi.Client)(nil)

func repair(env *Env, db Database, o repairOptions) error {
	able, ok := db.(repairer)
	if !ok {
		return fault.New(fault.FeatureNotSupported, "this database cannot be repaired")
	}
	started := time.Now()
	bar := startProgress(env, func() string { return "reading for " + ago(time.Since(started)) })
	left, done, misplaced, rows := 0, 0, 0, uint64(0)
	v, err := able.Repair(env.Context, o.stream, o.apply, func(r httpapi.Repair) error {
		if r.Do == "rename" && !r.Done {
			misplaced++
		}
		switch {
		case r.Done:
			done++
		case r.Do != "leave":
			left++
		}
		if r.Do == "gap" {
			rows += r.Last + 1 - r.First
		}
		if o.json {
			return json.NewEncoder(env.Stdout).Encode(r)
		}
		_, err := fmt.Fprintf(env.Stdout, "%s\n  %s\n", oneLine(describe(r.Damage)), oneLine(remedy(r)))
		return err
	})
	bar.stop()
	if err != nil {
		return err
	}
	if !o.json {
		if _, err := fmt.Fprintf(env.Stdout, "%s, %s read: %s\n", plural(v.Streams, "stream"), bytesOf(v.Bytes), outcome(left, done, rows)); err != nil {
			return err
		}
	}
	if left > 0 {
		hint := "repair --apply does what is listed"
		if o.apply && misplaced > 0 {
			hint = "stop the server and give the misplaced files their names by hand; nothing in them is lost"
		}
		return &exitError{code: exitDamage, err: fmt.Errorf("%s found", plural(left, "damaged place")), hint: hint}
	}
	return nil
}

func outcome(left, done int, rows uint64) string {
	switch {
	case left == 0 && done == 0:
		return "nothing to do"
	case left == 0:
		return fmt.Sprintf("%s repaired, %s given up", plural(done, "place"), plural(int(rows), "row"))
	}
	if done > 0 {
		return fmt.Sprintf("%s repaired, %s given up, %s left to do", plural(done, "place"), plural(int(rows), "row"), plural(left, "place"))
	}
	return fmt.Sprintf("%s to repair, %s to give up; nothing was changed", plural(left, "place"), plural(int(rows), "row"))
}

// remedy tells what is, or would be, done about a damage.
func remedy(r httpapi.Repair) string {
	would := "to do: "
	if r.Done {
		would = "done: "
	}
	switch r.Do {
	case "gap":
		if r.Quarantine == "" {
			return would + "make the rows a gap; no bytes of them are there to keep"
		}
		return would + "keep the bytes in " + r.Quarantine + ", and make the rows a gap"
	case "set aside":
		return would + "move the file to " + r.Quarantine
	case "rename":
		if r.To == "" {
			return "to do by hand, with the server stopped: move " + r.From + " back to its stream's directory, and this stream's file here; nothing is lost. " +
				"Where that file is nowhere, move only the first away: the next repair gives its rows up"
		}
		return would + "rename " + r.From + " to " + r.To + "; nothing is lost"
	case "renew":
		return would + "write the MANIFEST anew"
	}
	return "left as it is: no row is lost"
}
