//go:build mutants

package mutant

import (
	"os"
	"strconv"
)

// Variable names the environment variable that chooses a bug by its number.
const Variable = "HOLDFAST_MUTANT"

// chosen is the bug that this process has; 0: none.
var chosen = choose(os.Getenv(Variable))

func choose(s string) int {
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > Last {
		panic(Variable + " is " + strconv.Quote(s) + ": want a number from 0, for none, to " + strconv.Itoa(Last))
	}
	return n
}

// On tells whether bug n was asked for.
func On(n int) bool { return n == chosen }
