package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/archive/closing"
)

// formFlags has a verb say how archived tables are stored.
func (a *archiver) formFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.form.Engine, "engine", "", "`engine` that archives are stored with, MariaDB: innodb or aria; as the current tables if not given")
	cmd.Flags().StringVar(&a.form.Compress, "compress", "", "`how` archives are compressed: page or row (MariaDB), lz4 or pglz (PostgreSQL: long values)")
	cmd.Flags().StringVar(&a.form.Tablespace, "tablespace", "", "`tablespace` that archives are put into, PostgreSQL")
}

// unformed is the error of a run that closed a period whose archives are not all
// stored as was asked.
func unformed(r *closing.Result) error {
	if len(r.Unformed) == 0 {
		return nil
	}
	return fmt.Errorf("the period is closed; %s; the next run tries again", strings.Join(r.Unformed, "; "))
}
