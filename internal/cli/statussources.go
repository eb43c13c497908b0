package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"holdfast/internal/httpapi"
)

// printSources tells of the configured sources, where there are any.
func printSources(w io.Writer, all []httpapi.SourceStatus) error {
	if len(all) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nSOURCE\tTYPE\tSTATE\tROWS\tREJECTS\tBYTES\tPENDING\tAGE\tFILES\tOPEN")
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%d\t%d\n", s.Name, s.Type, s.State, s.Rows, s.Rejects,
			bytesOf(int64(s.Bytes)), bytesOf(s.PendingBytes), ago(time.Duration(s.PendingSeconds*float64(time.Second))), s.Files, s.OpenFiles)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		if s.LastError != "" {
			fmt.Fprintf(w, "source %s is %s: %s\n", s.Name, s.State, oneLine(s.LastError))
		}
		if len(s.Listen) > 0 {
			fmt.Fprintf(w, "source %s listens on %s\n", s.Name, strings.Join(s.Listen, ", "))
		}
		if s.Lost > 0 {
			fmt.Fprintf(w, "source %s has lost %d messages since the start: they came by UDP while rows could not be stored, or the server stopped\n", s.Name, s.Lost)
		}
		if s.BadFiles > 0 {
			fmt.Fprintf(w, "source %s has set %d files aside since the start: they are in its directory bad/, each with the reason beside\n", s.Name, s.BadFiles)
		}
		for _, text := range s.Notes {
			fmt.Fprintf(w, "source %s: %s\n", s.Name, oneLine(text))
		}
	}
	return nil
}
