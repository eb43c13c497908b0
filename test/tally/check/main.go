// Command check prints what the fault tests did, from the file that
// HOLDFAST_TALLY named for them, and fails where that is less than
// HOLDFAST_AMOUNT asks for.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"holdfast/test/tally"
)

func main() {
	short, err := check(os.Getenv("HOLDFAST_TALLY"), os.Getenv("HOLDFAST_AMOUNT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
	if short > 0 {
		fmt.Fprintf(os.Stderr, "tally: %d of these are fewer than they should be\n", short)
		os.Exit(1)
	}
}

// check prints the table of file and returns how many lines of it fall short.
func check(file, how string) (short int, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	did, replay := map[string]int{}, map[string]string{}
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
		if len(f) != 3 {
			return 0, fmt.Errorf("%s: line %q", file, line)
		}
		n, err := strconv.Atoi(f[1])
		if err != nil {
			return 0, fmt.Errorf("%s: line %q: %w", file, line, err)
		}
		did[f[0]] += n
		replay[f[0]] = f[2]
	}
	all, err := tally.Amounts()
	if err != nil {
		return 0, err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "done\tof\twhat\treplay")
	for _, a := range all {
		want, err := a.Column(how)
		if err != nil {
			return 0, err
		}
		mark := ""
		if did[a.Name] < want {
			short++
			mark = "  <-- FEWER"
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%s%s\n", did[a.Name], want, a.Name, replay[a.Name], mark)
	}
	return short, w.Flush()
}
