package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdfast/row"
)

func newVerify(env *Env) *cobra.Command {
	var s settings
	var stream string
	var asJSON bool
	var addr string
	cmd := &cobra.Command{
		Use:   "verify [--http ADDR | --data DIR] [--stream S] [--json]",
		Short: "read every stored byte and list what is damaged",
		Long: `verify reads every segment and checks every checksum. It lists each damaged place
with stream, segment, offset, length and seqs, with --json as one object each, and
exits with 3 where there is any. It changes nothing, and works beside a running
server, and on a read-only file system. Gaps, which repair has made of damage, are listed too, but are none.`,
		Example: "  holdfast verify --data /var/lib/holdfast\n  holdfast verify --stream main --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return s.local(env, addr, func(db Database) error { return verify(env, db, stream, asJSON) })
		},
	}
	s.reads = true
	s.flags(cmd)
	cmd.Flags().StringVar(&addr, "http", "", "`address` of the HTTP door of a server on this machine")
	cmd.Flags().StringVar(&stream, "stream", "", "only this `stream`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per damaged place")
	return cmd
}

func verify(env *Env, db Database, stream string, asJSON bool) error {
	started := time.Now()
	bar := startProgress(env, func() string { return "verifying for " + ago(time.Since(started)) })
	damaged := 0
	v, err := db.Verify(env.Context, stream, func(d row.Damage) error {
		if !d.Gap {
			damaged++
		}
		if asJSON {
			return json.NewEncoder(env.Stdout).Encode(d)
		}
		_, err := fmt.Fprintln(env.Stdout, oneLine(describe(d)))
		return err
	})
	bar.stop()
	if err != nil {
		return err
	}
	if !asJSON {
		verdict := "all is as it was written"
		if damaged > 0 {
			verdict = plural(damaged, "damaged place")
		}
		if v.Gaps > 0 {
			verdict += ", " + plural(v.Gaps, "gap")
		}
		if _, err := fmt.Fprintf(env.Stdout, "%s, %s, %s, %s read: %s\n", plural(v.Streams, "stream"), plural(v.Segments, "segment"),
			plural(int(v.Rows), "row"), bytesOf(v.Bytes), verdict); err != nil {
			return err
		}
	}
	return found(damaged)
}
