package dialect

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// digits are how many an integer may need.
var digits = map[string]int{"smallint": 5, "integer": 10, "bigint": 19}

// Widens knows integers, numerics, floats and texts.
func (*postgres) Widens(from, to string) bool {
	f, t := kindOf(from), kindOf(to)
	switch {
	case wider([]string{"smallint", "integer", "bigint"}, f.base, t.base), wider([]string{"real", "double precision"}, f.base, t.base):
		return true
	case digits[f.base] > 0 && t.base == "numeric":
		return t.numbers == 0 || t.n[0]-t.n[1] >= digits[f.base]
	case f.base == "numeric" && t.base == "numeric":
		return t.numbers == 0 || f.numbers > 0 && roomier(f, t)
	case f.base == "character varying" || f.base == "text":
		return t.base == "text" || t.base == "character varying" && (t.numbers == 0 || f.numbers > 0 && t.n[0] >= f.n[0])
	}
	return false
}

// Hinders says that columns cannot be added before others, and that views hold
// types.
func (s *postgres) Hinders(ctx context.Context, q Querier, m Migrant) ([]string, error) {
	all := m.valueless()
	for _, a := range m.Drift.Added {
		if a.Inner {
			all = append(all, fmt.Sprintf("column %q stands before others in the current table, and PostgreSQL adds columns behind all others only", a.Name))
		}
	}
	for _, v := range m.Filed.views {
		if m.Retyped() {
			all = append(all, fmt.Sprintf("view %s reads it, which keeps PostgreSQL from changing types: drop the view, and make it again behind the migration", v.name))
		}
	}
	more, err := m.empty(ctx, q, s)
	return append(all, more...), err
}

// Migrate changes each table by one ALTER TABLE, and its indexes. The trigger
// that keeps it from being written to sees none of it.
func (s *postgres) Migrate(set []Migrant) (all []string) {
	for _, m := range set {
		if !m.Drift.None() {
			all = append(all, s.migrate(m)...)
		}
	}
	return all
}

func (s *postgres) migrate(m Migrant) (all []string) {
	name, suffix := s.Quote(m.Filed.Name), strings.TrimPrefix(m.Filed.Name[strings.Index(m.Filed.Name, ".")+1:], m.Current.Name)
	excess := slices.Clone(m.Drift.Excess)
	for i, text := range m.Filed.Structure.Indexes {
		at := slices.Index(excess, text)
		if at < 0 {
			continue
		}
		excess = slices.Delete(excess, at, at+1)
		if one := m.Filed.indexes[i]; one.constraint != "" {
			all = append(all, "ALTER TABLE "+name+" DROP CONSTRAINT "+ident(one.name))
		} else {
			all = append(all, "DROP INDEX "+s.sibling(m.Filed.Name, one.name))
		}
	}
	if changes := s.changes(m); len(changes) > 0 {
		all = append(all, "ALTER TABLE "+name+" "+strings.Join(changes, ", "))
	}
	missing := slices.Clone(m.Drift.Missing)
	for i, text := range m.Current.Structure.Indexes {
		at := slices.Index(missing, text)
		if at < 0 {
			continue
		}
		missing = slices.Delete(missing, at, at+1)
		if one := m.Current.indexes[i]; one.constraint != "" {
			all = append(all, "ALTER TABLE "+name+" ADD CONSTRAINT "+ident(suffixed(one.name, suffix))+" "+one.constraint)
		} else {
			all = append(all, "CREATE "+one.unique+"INDEX "+ident(suffixed(one.name, suffix))+" ON "+name+one.rest)
		}
	}
	return all
}

// sibling writes a name in the schema of a table.
func (s *postgres) sibling(table, name string) string {
	if schema, _, found := strings.Cut(table, "."); found {
		return ident(schema) + "." + ident(name)
	}
	return ident(s.schema) + "." + ident(name)
}

// changes are the parts of one ALTER TABLE.
func (s *postgres) changes(m Migrant) (all []string) {
	for _, c := range m.Drift.Changed {
		column := "ALTER COLUMN " + ident(c.To.Name)
		if c.From.Type != c.To.Type {
			all = append(all, column+" TYPE "+c.To.Type)
		}
		switch {
		case c.From.NotNull && !c.To.NotNull:
			all = append(all, column+" DROP NOT NULL")
		case !c.From.NotNull && c.To.NotNull:
			all = append(all, column+" SET NOT NULL")
		}
	}
	for _, a := range m.Drift.Added {
		text := "ADD COLUMN " + ident(a.Name) + " " + a.Type
		if a.Collation != "" {
			text += " COLLATE " + a.Collation
		}
		if a.Generated != "" {
			text += " GENERATED ALWAYS AS (" + a.Generated + ") STORED"
		} else if value, ok := m.Current.given(a.Name); ok {
			text += " DEFAULT " + value
		}
		if a.NotNull {
			text += " NOT NULL"
		}
		all = append(all, text)
	}
	return all
}

// Views drops the view where a type changes, which it would forbid. What is
// done in between may read whole archives.
func (s *postgres) Views(t *Table, archived []string, retyped bool) (first, last []string) {
	first = []string{"SET LOCAL enable_seqscan = on"}
	if retyped {
		first = append(first, "DROP VIEW IF EXISTS "+s.Quote(AllName(t.Name)))
	}
	return first, s.allView(t, archived)
}
