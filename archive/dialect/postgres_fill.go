package dialect

import (
	"fmt"
	"strings"
)

// Blank makes a table in one transaction. It has no default, so that no
// sequence belongs to it, and no foreign key, so that nothing holds the current
// rows. Where policies hide rows, nobody but the owner may read it.
func (s *postgres) Blank(t *Table, name string, _ map[string]string) []string {
	quoted, suffix := s.Quote(name), strings.TrimPrefix(name, t.Name)
	all := []string{"CREATE TABLE " + quoted + " (LIKE " + s.Quote(t.Name) + " INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY EXCLUDING DEFAULTS)" + t.create}
	for _, i := range t.indexes {
		if i.constraint != "" {
			all = append(all, "ALTER TABLE "+quoted+" ADD CONSTRAINT "+ident(suffixed(i.name, suffix))+" "+i.constraint)
		} else {
			all = append(all, "CREATE "+i.unique+"INDEX "+ident(suffixed(i.name, suffix))+" ON "+quoted+i.rest)
		}
	}
	for _, g := range t.grants {
		if g.privilege == "SELECT" && len(t.security) == 0 {
			all = append(all, granted(quoted, []grant{g})...)
		}
	}
	return append(all, "ALTER TABLE "+quoted+" OWNER TO "+t.owner)
}

// View waits no longer than a swap does: who reads the view waits behind it.
func (s *postgres) View(t *Table, archived []string) []string {
	return append([]string{fmt.Sprintf("SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds())}, s.allView(t, archived)...)
}

// Quiet returns nothing: Still keeps triggers silent under the lock.
func (*postgres) Quiet(*Table) []string { return nil }
