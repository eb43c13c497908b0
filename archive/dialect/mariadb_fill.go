package dialect

import (
	"strings"
)

// Blank makes a table like another. LIKE copies no foreign keys and no
// triggers, so that nothing holds the current rows.
func (m *mariadb) Blank(t *Table, name string, _ map[string]string) []string {
	all := []string{"CREATE TABLE IF NOT EXISTS " + m.Quote(name) + " LIKE " + m.Quote(t.Name)}
	for _, g := range t.grants {
		all = append(all, "GRANT "+g.privilege+" ON "+m.Quote(name)+" TO "+g.grantee)
	}
	return all
}

// View changes the view in place.
func (m *mariadb) View(t *Table, archived []string) []string {
	var columns []string
	for _, c := range t.columns {
		columns = append(columns, m.Column(c.name))
	}
	list, name := strings.Join(columns, ", "), m.Quote(AllName(t.Name))
	text := "CREATE OR REPLACE SQL SECURITY INVOKER VIEW " + name + " AS SELECT " + list + " FROM " + m.Quote(t.Name)
	for _, a := range archived {
		text += " UNION ALL SELECT " + list + " FROM " + m.Quote(a)
	}
	all := []string{text}
	for _, g := range t.grants { // who may read single columns may not read a view of all of them
		if g.column == "" {
			all = append(all, "GRANT SELECT ON "+name+" TO "+g.grantee)
		}
	}
	return all
}

// Quiet puts the guard around the triggers that see a row go.
func (m *mariadb) Quiet(t *Table) (all []string) {
	for _, g := range t.triggers {
		if strings.HasSuffix(g.enabled, " DELETE") && unguarded(g.text) == g.text {
			all = append(all, m.inMode(g, "CREATE OR REPLACE", g.name, m.Quote(t.Name), guarded(g.text)))
		}
	}
	return all
}
