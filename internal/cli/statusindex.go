package cli

import (
	"fmt"
	"io"

	"holdfast/internal/httpapi"
)

// printIndexes writes a line for each stream with an index, and one more where
// something is wrong with it.
func printIndexes(w io.Writer, all []httpapi.StreamStatus) {
	for _, s := range all {
		x := s.Index
		if x == nil {
			continue
		}
		limit := ", no limit"
		if x.LimitBytes > 0 {
			limit = " of " + bytesOf(x.LimitBytes)
		}
		fmt.Fprintf(w, "index of %s: %s, %s%s\n", s.Name, plural(x.Slices, "slice"), bytesOf(x.Bytes), limit)
		if x.Damaged > 0 {
			fmt.Fprintf(w, "warning: index of %s: %d damaged slices were found since the start; they are made anew\n", s.Name, x.Damaged)
		}
		if x.Trouble != "" {
			fmt.Fprintf(w, "warning: no slices are made for the index of %s, so that its segments are read whole: %s\n", s.Name, oneLine(x.Trouble))
		}
	}
}
