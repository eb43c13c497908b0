package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"holdfast/internal/httpapi"
)

// printDoors tells what came in by the doors, where a server runs.
func printDoors(w io.Writer, all []httpapi.DoorStatus) error {
	if len(all) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nDOOR\tADDRESS\tROWS\tREFUSED\tBYTES\tPENDING\tAGE")
	for _, d := range all {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", d.Name, d.Address, d.Rows, d.Refused, bytesOf(d.Bytes), bytesOf(d.PendingBytes),
			ago(time.Duration(d.PendingSeconds*float64(time.Second))))
	}
	return t.Flush()
}
