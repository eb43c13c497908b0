package archive

import (
	"fmt"
	"strings"
)

// A Rule is one thing that must hold of a family and its archives. The names
// are fixed: scripts may look for them.
type Rule string

// The rules. Each says in its comment what must hold.
const (
	// RuleMirror: a row that has a twin agrees with it, and no twin is alone.
	RuleMirror Rule = "mirror"
	// RuleCatalogue: what the catalogue lists is there, with a type of the
	// family and an archive_id that is not 0; archived tables are listed.
	RuleCatalogue Rule = "catalogue"
	// RuleStructure: an archived table has the columns and the indexes of the
	// current one.
	RuleStructure Rule = "structure"
	// RuleWindow: an archive holds only rows of its window, and windows follow
	// each other without overlap and without a hole.
	RuleWindow Rule = "window"
	// RuleComplete: an archive holds all rows of its window.
	RuleComplete Rule = "complete"
	// RuleTogether: an archive has every table of the family, all with one
	// window.
	RuleTogether Rule = "together"
	// RuleIDOrder: keys in the current table are above all archived ones.
	RuleIDOrder Rule = "id-order"
	// RuleParent: a child row is where its parent is.
	RuleParent Rule = "parent"
	// RuleFinal: rows that may still change are not archived.
	RuleFinal Rule = "final"
	// RuleDate: each row has a date.
	RuleDate Rule = "date"
	// RuleReadOnly: nobody can write to an archived table.
	RuleReadOnly Rule = "read-only"
	// RuleDigest: an archived table holds the rows that it held when it was
	// closed.
	RuleDigest Rule = "digest"
	// RuleHold: an archive that is on hold stays as it is.
	RuleHold Rule = "hold"
	// RuleTables: the family's tables are there, and are tables that can be
	// swapped without losing anything.
	RuleTables Rule = "tables"
)

// Broken is a rule that does not hold.
type Broken struct {
	Rule  Rule     `json:"rule"`
	Table string   `json:"table,omitempty"` // "" where it is no one table's
	What  string   `json:"what"`
	Keys  []string `json:"keys,omitempty"` // of offending rows, a few of them
}

// String returns the rule, the table, what is wrong, and the keys, in one line.
func (b Broken) String() string {
	s := string(b.Rule) + ": "
	if b.Table != "" {
		s += b.Table + ": "
	}
	s += b.What
	if len(b.Keys) > 0 {
		s += " (keys " + strings.Join(b.Keys, ", ") + ")"
	}
	return s
}

func broken(rule Rule, table, what string, args ...any) Broken {
	return Broken{Rule: rule, Table: table, What: fmt.Sprintf(what, args...)}
}
