package cli

import (
	"github.com/spf13/cobra"
)

func newDoctor(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "doctor plan",
		Short:   "plan a partition for a spool directory or a stream",
		Example: "  holdfast doctor plan --rows-per-second 100 --row-size 200 --outage 6h",
	}
	group(cmd)
	cmd.AddCommand(newDoctorPlan(env))
	return cmd
}
