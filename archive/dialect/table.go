package dialect

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/archive"
)

// Table is what one table looks like, with everything that belongs to it.
type Table struct {
	Name      string
	Structure archive.Structure
	Unfit     []string // why it cannot be swapped

	oid      string
	regclass string // as definitions name it
	owner    string
	create   string // what stands behind CREATE TABLE (LIKE ...)
	unlogged bool
	replica  string   // ALTER TABLE ... REPLICA IDENTITY
	tuning   []string // ALTER TABLE ..., what the planner is told of columns
	comment  string
	security []string // ENABLE, FORCE
	columns  []column
	indexes  []index
	keys     []definition // foreign keys
	triggers []trigger
	policies []definition
	grants   []grant
	sequence []sequence
	publish  []string // publications that name it
	views    []view

	next, room int64 // the next number, and how far above it a twin's begin

	portrait func(suffix string) []string
}

type column struct{ name, identity, generated, def string }

type index struct{ name, constraint, unique, rest, comment string }

type definition struct{ name, text, target string }

type trigger struct{ name, text, enabled, definer, mode, collation string }

type grant struct{ column, grantee, privilege, option string }

// sequence numbers a column: of its own where it is an identity, else shared
// with the table that takes its place.
type sequence struct {
	column, name, options string
	identity, owned       bool
	grants                []grant
}

type view struct{ name, options, text string }

// Portrait returns all that belongs to a table in words that do not name it,
// so that a twin can be held against it. In twins, names carry what suffix
// says, and references to the family lead to the twins.
func (t *Table) Portrait(suffix string) []string {
	all := t.portrait(suffix)
	slices.Sort(all)
	return all
}

// Judge adds to each table what its place in the family speaks against: a
// foreign key that ties it to another than its parent, and columns that cannot be
// what the family takes them for.
func (s *Session) Judge(f *archive.Family, tables []*Table) {
	names := map[string]string{}
	for _, t := range tables {
		names[t.regclass] = t.Name
	}
	_, folds := s.engine.(*lite)
	for i, t := range tables {
		if folds && slices.ContainsFunc(tables[:i], func(other *Table) bool { return strings.EqualFold(other.Name, t.Name) }) {
			t.Unfit = append(t.Unfit, "the family names it twice: upper and lower case are one in this database")
		}
		t.keys = slices.DeleteFunc(t.keys, func(k definition) bool {
			from, incoming := strings.CutPrefix(k.target, "<")
			if incoming && names[from] == "" {
				t.Unfit = append(t.Unfit, k.name+", which is not of the family, refers to it")
			}
			if other := names[k.target]; !incoming && other != "" && other != f.Table(t.Name).Parent {
				t.Unfit = append(t.Unfit, fmt.Sprintf("foreign key %s ties it to %s of the family, which is not its parent", k.name, other))
			}
			return incoming
		})
		if len(t.Unfit) == 0 || len(t.columns) > 0 {
			t.Unfit = append(t.Unfit, s.Misfits(f, *f.Table(t.Name), t.Structure)...)
		}
	}
}

// Numbers reports whether the table gives the column a value by itself.
func (t *Table) Numbers(name string) bool {
	return slices.ContainsFunc(t.columns, func(c column) bool { return c.name == name && (c.identity != "" || c.def != "") })
}
