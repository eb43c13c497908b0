package dialect

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Kinds of MariaDB, the narrowest first.
var (
	mariadbIntegers = []string{"tinyint", "smallint", "mediumint", "int", "bigint"}
	mariadbTexts    = []string{"tinytext", "text", "mediumtext", "longtext"}
	mariadbBlobs    = []string{"tinyblob", "blob", "mediumblob", "longblob"}
	mariadbRoom     = map[string]int{"tinytext": 1<<8 - 1, "text": 1<<16 - 1, "mediumtext": 1<<24 - 1, "longtext": 1<<32 - 1}
)

// Widens knows integers, decimals, floats, texts, times and enums. How many
// digits of an integer are shown is no part of its values.
func (*mariadb) Widens(from, to string) bool {
	f, t := kindOf(from), kindOf(to)
	switch {
	case slices.Contains(mariadbIntegers, f.base):
		up := wider(mariadbIntegers, f.base, t.base)
		return f.rest == t.rest && (up || f.base == t.base) || up && f.rest == " unsigned" && t.rest == ""
	case f.rest != t.rest:
		return false
	case f.base == "float" && t.base == "double":
		return f.numbers == 0 && t.numbers == 0
	case f.base == "decimal" && t.base == "decimal":
		return roomier(f, t)
	case f.base == "varchar" && mariadbRoom[t.base] > 0:
		return 4*f.n[0] <= mariadbRoom[t.base]
	case f.base == t.base && slices.Contains([]string{"varchar", "varbinary", "datetime", "timestamp", "time"}, f.base):
		return t.n[0] >= f.n[0]
	case strings.HasPrefix(from, "enum("):
		return strings.HasPrefix(to, strings.TrimSuffix(from, ")")+",")
	}
	return wider(mariadbTexts, f.base, t.base) || wider(mariadbBlobs, f.base, t.base)
}

// Hinders says that the type of a column cannot change where a foreign key
// holds it.
func (m *mariadb) Hinders(ctx context.Context, q Querier, g Migrant) ([]string, error) {
	all := g.valueless()
	schema, table := m.split(g.Filed.Name)
	rows, err := Rows(ctx, q, `SELECT COLUMN_NAME, CONSTRAINT_NAME, TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA = ? AND TABLE_NAME = ?
		UNION SELECT REFERENCED_COLUMN_NAME, CONSTRAINT_NAME, TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_SCHEMA = ? AND REFERENCED_TABLE_NAME = ?`, schema, table, schema, table)
	if err != nil {
		return nil, err
	}
	for _, c := range g.Drift.Changed {
		for _, r := range rows {
			if strings.EqualFold(r[0], c.To.Name) {
				all = append(all, fmt.Sprintf("foreign key %s of %s holds column %q, which keeps MariaDB from changing it: ALTER TABLE %s DROP FOREIGN KEY %s", r[1], r[2], r[0], m.Column(r[2]), m.Column(r[1])))
			}
		}
	}
	more, err := g.empty(ctx, q, m)
	return append(all, more...), err
}

// Migrate changes each table by one statement, which a crash leaves done or not
// done. No trigger sees it.
func (m *mariadb) Migrate(set []Migrant) (all []string) {
	for _, g := range set {
		if g.Drift.None() {
			continue
		}
		var parts []string
		each(g.Filed, g.Drift.Excess, func(i index) {
			if i.name == "PRIMARY" {
				parts = append(parts, "DROP PRIMARY KEY")
			} else {
				parts = append(parts, "DROP INDEX "+m.Column(i.name))
			}
		})
		for _, c := range g.Drift.Changed {
			text := "MODIFY COLUMN " + m.Column(c.To.Name) + " " + m.typed(c.To.Type, c.To.Collation, c.To.NotNull)
			if numbered(g.Filed, c.To.Name) {
				text += " AUTO_INCREMENT"
			}
			parts = append(parts, text)
		}
		for _, a := range g.Drift.Added {
			text := "ADD COLUMN " + m.Column(a.Name) + " "
			if a.Generated != "" {
				text += a.Type + " AS (" + a.Generated + ") " + strings.Fields(generated(g.Current, a.Name) + " VIRTUAL")[0]
			} else {
				text += m.typed(a.Type, a.Collation, a.NotNull)
				if value, ok := g.Current.given(a.Name); ok {
					text += " DEFAULT " + value
				}
			}
			if a.After == "" {
				text += " FIRST"
			} else {
				text += " AFTER " + m.Column(a.After)
			}
			parts = append(parts, text)
		}
		each(g.Current, g.Drift.Missing, func(i index) {
			switch i.unique {
			case "PRIMARY KEY":
				parts = append(parts, "ADD PRIMARY KEY "+i.rest)
			case "INDEX":
				parts = append(parts, "ADD INDEX "+m.Column(i.name)+" "+i.rest)
			default:
				parts = append(parts, "ADD "+i.unique+" INDEX "+m.Column(i.name)+" "+i.rest)
			}
		})
		all = append(all, "ALTER TABLE "+m.Quote(g.Filed.Name)+" "+strings.Join(parts, ", "))
	}
	return all
}

// each finds the indexes of a table that texts name.
func each(t *Table, texts []string, do func(index)) {
	left := slices.Clone(texts)
	for i, text := range t.Structure.Indexes {
		if at := slices.Index(left, text); at >= 0 {
			left = slices.Delete(left, at, at+1)
			do(t.indexes[i])
		}
	}
}

func numbered(t *Table, name string) bool {
	return slices.ContainsFunc(t.columns, func(c column) bool { return c.name == name && c.identity != "" })
}

func generated(t *Table, name string) string {
	for _, c := range t.columns {
		if c.name == name {
			return c.generated
		}
	}
	return ""
}

// typed writes a type; NULL is said, since a timestamp would be NOT NULL.
func (*mariadb) typed(kind, collation string, notNull bool) string {
	if collation != "" {
		kind += " COLLATE " + collation
	}
	if notNull {
		return kind + " NOT NULL"
	}
	return kind + " NULL"
}

// Views leaves the view as it is until all archives are changed: it names its
// columns, which are there before and after.
func (m *mariadb) Views(t *Table, archived []string, _ bool) (first, last []string) {
	return nil, m.View(t, archived)
}
