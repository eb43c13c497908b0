package dialect

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"holdfast/archive"
)

// A Migrant is an archived table beside the current one, whose structure it is
// to take over.
type Migrant struct {
	Current  *Table
	Filed    *Table // as it is; its name is that in the catalogue
	Drift    archive.Drift
	ReadOnly bool // it was made so, and must be again
}

// migrator makes the statements that have archived tables follow the current
// ones.
type migrator interface {
	// Widens reports whether a column of type to holds each value of type from as
	// it is.
	Widens(from, to string) bool
	// Hinders says what of a drift the engine cannot follow.
	Hinders(ctx context.Context, q Querier, m Migrant) ([]string, error)
	// Migrate returns the statements that change the tables of one archive, parents
	// first, each statement whole by itself where the engine commits by itself.
	// Tables without drift are among them.
	Migrate(set []Migrant) []string
	// Views returns the statements that take the view over a table away before
	// archives change, and those that make it behind them.
	Views(t *Table, archived []string, retyped bool) (first, last []string)
}

// Retyped reports whether the type of a column changes.
func (m Migrant) Retyped() bool {
	return slices.ContainsFunc(m.Drift.Changed, func(c archive.Changed) bool { return c.From.Type != c.To.Type })
}

// constant is a default that is the same for each row: rows that were archived
// before there was the column get it, as those in the current table did.
var constant = regexp.MustCompile(`(?i)^\(?(NULL|TRUE|FALSE|[-+]?[0-9][0-9.]*|'([^']|'')*')\)?(::[a-z "_.]+(\([0-9, ]+\))?(\[\])?)?$`)

// given returns the default of a column, where it is constant.
func (t *Table) given(name string) (text string, ok bool) {
	for _, c := range t.columns {
		if c.name == name && c.identity == "" && c.generated == "" && constant.MatchString(c.def) {
			return c.def, true
		}
	}
	return "", false
}

// valueless says which added columns no archived row has a value for.
func (m Migrant) valueless() (all []string) {
	for _, a := range m.Drift.Added {
		if value, ok := m.Current.given(a.Name); a.NotNull && a.Generated == "" && (!ok || strings.HasPrefix(strings.ToUpper(value), "NULL")) {
			all = append(all, fmt.Sprintf("column %q is NOT NULL and has no constant default: archived rows have no value for it", a.Name))
		}
	}
	return all
}

// empty says which columns that may hold no NULL any more hold some.
func (m Migrant) empty(ctx context.Context, q Querier, e words) (all []string, err error) {
	for _, c := range m.Drift.Changed {
		if !c.To.NotNull || c.From.NotNull {
			continue
		}
		rows, err := Rows(ctx, q, "SELECT 1 FROM "+e.Quote(m.Filed.Name)+" WHERE "+e.Column(c.To.Name)+" IS NULL LIMIT 1")
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			all = append(all, fmt.Sprintf("column %q is NOT NULL in the current table, and archived rows hold NULL in it", c.To.Name))
		}
	}
	return all, nil
}

// kind is a type in parts: its name, up to two numbers, and what stands behind.
type kind struct {
	base, rest string
	n          [2]int
	numbers    int
}

var kindForm = regexp.MustCompile(`^([a-z ]+?) ?(?:\(([0-9]{1,9})(?:, ?([0-9]{1,9}))?\))?( unsigned)?( zerofill)?$`)

func kindOf(text string) (k kind) {
	part := kindForm.FindStringSubmatch(strings.ToLower(text))
	if part == nil {
		return kind{base: text}
	}
	k.base, k.rest = part[1], part[4]+part[5]
	for i, digits := range part[2:4] {
		if digits != "" {
			k.n[i], _ = strconv.Atoi(digits) // nine digits at most, as the pattern says
			k.numbers++
		}
	}
	return k
}

// wider reports whether to takes what from does, where both are of a kind whose
// names stand in order, the narrowest first.
func wider(order []string, from, to string) bool {
	f, t := slices.Index(order, from), slices.Index(order, to)
	return f >= 0 && t > f
}

// roomier reports whether a decimal has at least the digits of another on both
// sides of the point.
func roomier(from, to kind) bool {
	return to.n[1] >= from.n[1] && to.n[0]-to.n[1] >= from.n[0]-from.n[1]
}
