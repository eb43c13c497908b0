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
		limit := func(bytes int64) string {
			if bytes > 0 {
				return " of " + bytesOf(bytes)
			}
			return ", no limit"
		}
		fmt.Fprintf(w, "index of %s: %s, %s%s\n", s.Name, plural(x.Slices, "slice"), bytesOf(x.Bytes), limit(x.LimitBytes))
		if m := x.Warm; m != nil {
			fmt.Fprintf(w, "index of %s: %s of them warm, %s%s\n", s.Name, plural(m.Slices, "slice"), bytesOf(m.Bytes), limit(m.LimitBytes))
		}
		if x.Damaged > 0 {
			fmt.Fprintf(w, "warning: index of %s: %d damaged slices were found since the start; they are made anew\n", s.Name, x.Damaged)
		}
		if x.Trouble != "" {
			fmt.Fprintf(w, "warning: no slices are made for the index of %s, so that its segments are read whole: %s\n", s.Name, oneLine(x.Trouble))
		}
	}
}
