package postgres

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"holdfast/sink"
)

// described are the columns of every table that this user may insert into. A
// domain is told as the type that it is made of.
const described = `SELECT c.relname, coalesce(a.attname, ''), coalesce(format_type(
    CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE a.atttypid END, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END), ''),
  a.attnotnull OR t.typnotnull, (a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL) AND a.attgenerated = '', a.attgenerated <> '',
  coalesce(t.typnamespace = 'pg_catalog'::regnamespace OR t.typtype = 'd', false)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type t ON t.oid = a.atttypid
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'f') AND lower(c.relname) NOT LIKE 'holdfast\_%' AND has_any_column_privilege(c.oid, 'INSERT')
ORDER BY c.relname COLLATE "C", a.attnum`

const parents = `SELECT DISTINCT c.relname, p.relname COLLATE "C" FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND n.nspname = $1 AND p.relnamespace = n.oid AND p.oid <> c.oid ORDER BY 2`

// Describe returns the tables of the first schema of the search_path, over a
// connection of its own.
func (s *Sink) Describe(ctx context.Context) ([]sink.Table, error) {
	var all []sink.Table
	err := s.once(ctx, func(c *conn) error {
		args := []string{c.schema}
		results, err := c.run(ctx, statement{described, args}, statement{parents, args})
		if err != nil {
			return err
		}
		for _, v := range results[0].Rows {
			if len(all) == 0 || all[len(all)-1].Name != string(v[0]) {
				all = append(all, sink.Table{Name: string(v[0])})
			}
			if len(v[1]) == 0 {
				continue // a table without columns
			}
			t := &all[len(all)-1]
			is := func(i int) bool { return string(v[i]) == "t" }
			col := sink.Column{Name: string(v[1]), NotNull: is(3), Default: is(4), Generated: is(5)}
			if is(6) {
				col.Type = short(string(v[2]))
			}
			t.Columns = append(t.Columns, col)
		}
		for _, v := range results[1].Rows {
			at, there := slices.BinarySearchFunc(all, string(v[0]), func(t sink.Table, name string) int { return strings.Compare(t.Name, name) })
			if there {
				all[at].Parents = append(all[at].Parents, string(v[1]))
			}
		}
		return nil
	})
	if err != nil {
		return nil, s.wrap("describe", fmt.Errorf("read catalogue: %w", err))
	}
	return all, nil
}

var zoned = regexp.MustCompile(`^(timestamp|time)(\([0-9]\))? (with|without) time zone`)

// short spells a type as row.Column does: PostgreSQL's short names. What is no
// name of a type ("char", which is quoted) is not known.
func short(t string) string {
	t = zoned.ReplaceAllStringFunc(t, func(m string) string {
		p := zoned.FindStringSubmatch(m)
		if p[3] == "with" {
			return p[1] + "tz" + p[2]
		}
		return p[1] + p[2]
	})
	for long, name := range map[string]string{"character varying": "varchar", "character": "char", "bit varying": "varbit"} {
		if rest, ok := strings.CutPrefix(t, long); ok && (rest == "" || rest[0] == '(' || rest[0] == '[') {
			t = name + rest
		}
	}
	if strings.ContainsAny(t, `".`) {
		return ""
	}
	return t
}
