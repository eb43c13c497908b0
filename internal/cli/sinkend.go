package cli

import (
	"github.com/spf13/cobra"

	"holdfast/internal/httpapi"
)

func newSinkRetire(env *Env) *cobra.Command {
	o := httpapi.Order{Do: "retire"}
	cmd := sinkVerb(env, &cobra.Command{
		Use:   "retire NAME [--force] [--config FILE] [--data DIR] [--json]",
		Short: "end a sink's registration: no row is kept for it any more",
		Long: `retire ends the registration of a sink. That alone does: a sink that is merely
taken out of the configuration keeps its rows for ever, and is listed as
detached. Rows that are in the sink stay there; its cursor is removed where it
can be reached. Where rows are not delivered it needs --force, and they are then
no longer kept for this sink.

Take the sink out of the configuration too: under this name it is not used again,
until a server has once been started without it.`,
		Example: "  holdfast sink drain old && holdfast sink retire old\n  holdfast sink retire gone --force",
	}, 1, &o, nil)
	cmd.Flags().BoolVar(&o.Force, "force", false, "although rows are not delivered")
	return cmd
}

func newSinkRename(env *Env) *cobra.Command {
	o := httpapi.Order{Do: "rename"}
	return sinkVerb(env, &cobra.Command{
		Use:   "rename OLD NEW [--config FILE] [--data DIR] [--json]",
		Short: "give a sink another name, with its cursor and all that is kept for it",
		Long: `rename gives a sink another name. To change it in the configuration alone would
make another sink of it, which gets every row again. Rename it first, then
change the configuration; until then its old name there means the new one.
The cursor in the sink follows before anything more is delivered.`,
		Example: "  holdfast sink rename default billing",
	}, 2, &o, func(words []string) error {
		o.To = words[0]
		return nil
	})
}
