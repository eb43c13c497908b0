package dialect

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Widens compares affinities: SQLite bounds neither lengths nor digits.
func (*lite) Widens(from, to string) bool { return affinity(from) == affinity(to) }

// affinity is how SQLite takes the type of a column.
func affinity(kind string) string {
	kind = strings.ToUpper(kind)
	for _, rule := range []struct{ part, is string }{{"INT", "INTEGER"}, {"CHAR", "TEXT"}, {"CLOB", "TEXT"}, {"TEXT", "TEXT"}, {"BLOB", "BLOB"}, {"REAL", "REAL"}, {"FLOA", "REAL"}, {"DOUB", "REAL"}} {
		if strings.Contains(kind, rule.part) {
			return rule.is
		}
	}
	if kind == "" {
		return "BLOB"
	}
	return "NUMERIC"
}

// Hinders says that triggers of others would be lost.
func (l *lite) Hinders(ctx context.Context, q Querier, m Migrant) ([]string, error) {
	all := m.valueless()
	for _, g := range m.Filed.triggers {
		if !slices.Contains(keepers(m.Filed.Name), g.name) {
			all = append(all, fmt.Sprintf("trigger %s on it would be lost: drop it, and make it again behind the migration", g.name))
		}
	}
	more, err := m.empty(ctx, q, l)
	return append(all, more...), err
}

// Migrate makes all tables of the archive anew, with their rows: SQLite can
// change neither a type nor where a column stands, and a parent cannot go while
// its children refer to it.
func (l *lite) Migrate(set []Migrant) (all []string) {
	soon := map[string]string{}
	for _, m := range set {
		soon[m.Current.Name] = m.Filed.Name + "_new"
	}
	for _, m := range set {
		all = append(all, l.Blank(m.Current, soon[m.Current.Name], soon)[0])
	}
	for _, m := range set {
		var into, from []string
		for _, c := range m.Current.columns {
			added := !slices.ContainsFunc(m.Filed.columns, func(f column) bool { return f.name == c.name })
			if _, constant := m.Current.given(c.name); c.generated != "" || added && constant {
				continue // it has its value by itself
			}
			value := l.Column(c.name)
			if added {
				value = "NULL"
			}
			into, from = append(into, l.Column(c.name)), append(from, value)
		}
		all = append(all, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s", l.Quote(soon[m.Current.Name]), strings.Join(into, ", "), strings.Join(from, ", "), l.Quote(m.Filed.Name)))
	}
	for _, m := range slices.Backward(set) {
		all = append(all, "DROP TABLE "+l.Quote(m.Filed.Name))
	}
	for _, m := range set {
		all = append(all, "ALTER TABLE "+l.Quote(soon[m.Current.Name])+" RENAME TO "+l.Quote(m.Filed.Name))
	}
	for _, m := range set {
		all = append(all, l.Blank(m.Current, m.Filed.Name, nil)[1:]...)
		if m.ReadOnly {
			all = append(all, l.ReadOnly(m.Current, m.Filed.Name)...)
		}
	}
	return all
}

// Views makes the view anew, in the transaction.
func (l *lite) Views(t *Table, archived []string, _ bool) (first, last []string) {
	return nil, l.allView(t, archived)
}
