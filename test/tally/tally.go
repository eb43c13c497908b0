// Package tally counts what the fault tests did, so that a run which did less
// than it should is red instead of green. The amounts wanted stand in
// amounts.txt; HOLDFAST_AMOUNT chooses the column (quick where it is unset).
//
// A test asks Want how much to do, and tells Done how much it did. Where
// HOLDFAST_TALLY names a file, Done adds a line to it; the command in
// test/tally/check prints them as a table and fails where one is missing.
package tally

import (
	_ "embed"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

//go:embed amounts.txt
var amounts string

// An Amount is one line of amounts.txt.
type Amount struct {
	Name               string
	Quick, CI, Nightly int
}

// Column returns the number that how names: quick, ci or nightly.
func (a Amount) Column(how string) (int, error) {
	switch how {
	case "", "quick":
		return a.Quick, nil
	case "ci":
		return a.CI, nil
	case "nightly":
		return a.Nightly, nil
	}
	return 0, fmt.Errorf("HOLDFAST_AMOUNT is %q: want quick, ci or nightly", how)
}

// Amounts returns every line of amounts.txt.
func Amounts() ([]Amount, error) {
	var all []Amount
	for line := range strings.Lines(amounts) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		if len(fields) < 4 {
			return nil, fmt.Errorf("amounts.txt: %q: want a name and three numbers", line)
		}
		var n [3]int
		for i := range n {
			v, err := strconv.Atoi(fields[len(fields)-3+i])
			if err != nil {
				return nil, fmt.Errorf("amounts.txt: %q: %w", line, err)
			}
			n[i] = v
		}
		all = append(all, Amount{strings.Join(fields[:len(fields)-3], " "), n[0], n[1], n[2]})
	}
	return all, nil
}

// Want returns how much of name is to be done. A name that amounts.txt lacks
// fails the test.
func Want(t testing.TB, name string) int {
	t.Helper()
	all, err := Amounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if a.Name == name {
			n, err := a.Column(os.Getenv("HOLDFAST_AMOUNT"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("amounts.txt has no line %q", name)
	return 0
}

// Done notes that n of name were done, and how they are replayed. It fails the
// test where that is less than Want.
func Done(t testing.TB, name string, n int, replay string) {
	t.Helper()
	t.Logf("%d %s (%s)", n, name, replay)
	if want := Want(t, name); n < want {
		t.Errorf("did %d %s, should do %d", n, name, want)
	}
	file := os.Getenv("HOLDFAST_TALLY")
	if file == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintf(f, "%s\t%d\t%s\n", name, n, strings.NewReplacer("\t", " ", "\n", " ").Replace(replay))
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		t.Errorf("note what was done: %v", err)
	}
}
