package cli

import (
	"errors"
	"fmt"

	"holdfast/archive"
)

// remedies are the verbs that put a rule right which is broken where nobody did
// anything wrong.
var remedies = []struct {
	rule archive.Rule
	hint string
}{
	{archive.RuleTogether, "archives that lack tables: holdfast archive backfill completes them"},
	{archive.RuleStructure, "tables that have changed since: holdfast archive migrate prints how their archives would follow, and does it with --apply"},
	{archive.RuleComplete, "rows that came late: docs/archive.md, Rows that come late, tells what can become of them"},
}

// refuse prints each broken rule, and ends with the exit code for them.
func refuse(env *Env, broken []archive.Broken, print bool) error {
	hint := ""
	for _, b := range broken {
		if print {
			if _, err := fmt.Fprintln(env.Stdout, oneLine(b.String())); err != nil {
				return err
			}
		}
		for _, r := range remedies {
			if r.rule == b.Rule && hint == "" {
				hint = r.hint
			}
		}
	}
	return &exitError{code: exitDamage, err: fmt.Errorf("%s found", plural(len(broken), "broken rule")), hint: hint}
}

// unmigrated is refuse for what no migration can follow.
func unmigrated(env *Env, broken []archive.Broken, print bool) error {
	err := refuse(env, broken, print)
	if e := (*exitError)(nil); errors.As(err, &e) {
		e.hint = "nothing was changed; docs/archive.md, Tables that have changed since, tells what can be done by hand"
	}
	return err
}
