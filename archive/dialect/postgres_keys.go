package dialect

import (
	"context"
	"fmt"
	"strings"
)

// released takes the foreign keys among the tables of a family off those that
// are archived: each row that is taken out of a parent would have all of its
// child read, under the lock, where no index leads from the one to the other.
func released(t *Table, twins map[string]string) (all []string) {
	for _, k := range t.keys {
		if twins[k.target] != "" {
			all = append(all, "ALTER TABLE "+t.regclass+" DROP CONSTRAINT "+ident(k.name))
		}
	}
	return all
}

// Behind gives the archived tables their foreign keys back, once all rows are
// where they belong. They come into force at once, and are held against the
// rows by statements that keep nobody from reading.
func (s *postgres) Behind(ctx context.Context, q Querier, tables []*Table, stamp int64) (first, last []string, err error) {
	archived := map[string]string{}
	for _, t := range tables {
		archived[t.regclass] = s.Quote(Archived(t.Name, stamp))
	}
	for _, t := range tables {
		for _, k := range t.keys {
			to, name := archived[k.target], archived[t.regclass]
			if to == "" {
				continue
			}
			rows, err := Rows(ctx, q, "SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = to_regclass($1) AND conname = $2", name, k.name)
			if err != nil {
				return nil, nil, err
			}
			text, never := strings.CutSuffix(strings.Replace(k.text, " REFERENCES "+k.target+"(", " REFERENCES "+to+"(", 1), " NOT VALID")
			if len(rows) == 0 {
				last = append(last, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s NOT VALID", name, ident(k.name), text))
			}
			if !never && (len(rows) == 0 || rows[0][0] == "false") {
				last = append(last, "ALTER TABLE "+name+" VALIDATE CONSTRAINT "+ident(k.name))
			}
		}
	}
	return nil, last, nil
}
