//go:build mutants

package mutant

import (
	"os"
	"strconv"
	"sync"
)

// Variable names the environment variable that chooses a bug by its number.
const Variable = "HOLDFAST_MUTANT"

// chosen returns the bug that this process has; 0: none. It looks when it is
// first asked, because go test takes a result from its cache without regard to
// what was read before the tests began.
var chosen = sync.OnceValue(func() int { return choose(os.Getenv(Variable)) })

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
func On(n int) bool { return n == chosen() }
