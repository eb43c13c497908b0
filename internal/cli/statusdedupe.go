package cli

import (
	"fmt"
	"io"
	"time"

	"holdfast/internal/httpapi"
)

// printDedupe writes a line for each table whose repeats are dropped, and one
// more where they may not all be found.
func printDedupe(w io.Writer, all []httpapi.DedupeStatus, now time.Time) {
	for _, d := range all {
		window := time.Duration(d.WindowSeconds * float64(time.Second))
		fmt.Fprintf(w, "repeats of table %s: %d dropped since the start; %d of %d keys known, window %s\n", d.Table, d.Repeats, d.Keys, d.Limit, window)
		if d.Forgotten > 0 && !d.Since.IsZero() && now.Sub(d.Since) < window {
			fmt.Fprintf(w, "warning: repeats of table %s are found for %s only, not for %s: raise keys in tables.dedupe.%s\n", d.Table, ago(now.Sub(d.Since)), window, d.Table)
		}
		if d.Unknown != "" {
			fmt.Fprintf(w, "warning: repeats of table %s may be stored twice, of rows from before the start: %s\n", d.Table, oneLine(d.Unknown))
		}
	}
}
