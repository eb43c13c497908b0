package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/fault"
)

func newRotate(env *Env) *cobra.Command {
	var s settings
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rotate [NAME] [--config FILE] [--data DIR] [--json]",
		Short: "close the files of flat sinks, or have those of a source rotated",
		Long: `rotate closes all files of one sink, or of every sink that keeps files open for
other programs. Each is opened again under its own name only when a row comes for
it. Move or rename the files first, then rotate: what is written until then goes
into the moved files, and nothing is lost. The signal USR1 does the same.

With the name of a source of type flatstore it renames the files that Kamailio
writes to, and tells it to open others. The renamed ones are followed on.`,
		Example: "  mv /var/log/acc/acc_1.log /var/log/acc/acc_1.log.1 && holdfast rotate files",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("see "+cmd.CommandPath()+" --help", "%q takes one sink's or source's name, not %d", cmd.CommandPath(), len(args))
			}
			return s.with(env, func(db Database) error { return rotate(env, db, first(args...), asJSON) })
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}

func rotate(env *Env, db Database, sink string, asJSON bool) error {
	able, ok := db.(operator)
	if !ok {
		return fault.New(fault.FeatureNotSupported, "this database takes no orders about sinks")
	}
	names, err := able.Rotate(env.Context, sink)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(env.Stdout).Encode(map[string][]string{"sinks": append([]string{}, names...)})
	}
	if len(names) == 0 {
		_, err = fmt.Fprintln(env.Stdout, "no sink keeps files open")
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "closed the files of %s\n", oneLine(strings.Join(names, ", ")))
	return err
}
