package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"holdfast/internal/httpapi"
)

// printFamilies tells of the families that the server closes, where there are
// any.
func printFamilies(w io.Writer, all []httpapi.FamilyStatus) error {
	if len(all) == 0 {
		return nil
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(time.DateTime)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nFAMILY\tSTATE\tARCHIVE\tUNTIL\tCLOSED\tNEXT\tCLOSINGS\tREFUSALS\tFAILURES")
	for _, f := range all {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%d\t%d\t%d\n", f.Name, f.State, f.Archive, at(f.Until), at(f.Closed), at(f.Next), f.Closings, f.Refusals, f.Failures)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, f := range all {
		if f.LastError != "" {
			fmt.Fprintf(w, "family %s is %s: %s\n", f.Name, f.State, oneLine(f.LastError))
		}
	}
	return nil
}
