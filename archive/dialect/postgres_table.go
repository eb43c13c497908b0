package dialect

import (
	"context"
	"fmt"
	"strings"

	"holdfast/archive"
)

// reader reads one kind of thing that belongs to a table.
type reader func(context.Context, Querier, *Table) error

// Table describes the table of that name; nil where there is none.
func (s *postgres) Table(ctx context.Context, q Querier, name string) (*Table, error) {
	return s.read(ctx, q, name, s.readColumns, s.readSequences, s.readIndexes, s.readKeys, s.readTriggers, s.readPolicies, s.readGrants,
		s.readPublications, s.readViews, s.readDependents)
}

func (s *postgres) read(ctx context.Context, q Querier, name string, readers ...reader) (*Table, error) {
	rows, err := Rows(ctx, q, `SELECT c.oid, c.oid::regclass::text, quote_ident(pg_get_userbyid(c.relowner)), c.relkind, c.relpersistence,
		c.relreplident, coalesce(obj_description(c.oid, 'pg_class'), ''), c.relrowsecurity::text, c.relforcerowsecurity::text,
		coalesce(array_to_string(c.reloptions, ', '), '') || coalesce((SELECT CASE WHEN c.reloptions IS NULL THEN '' ELSE ', ' END || string_agg('toast.' || o, ', ')
			FROM pg_catalog.pg_class x, unnest(x.reloptions) o WHERE x.oid = c.reltoastrelid), ''), coalesce(quote_ident(t.spcname), ''), coalesce(quote_ident(a.amname), ''),
		(c.relispartition OR EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)))::text
		FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
		WHERE c.oid = to_regclass($1)`, s.Quote(name))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	r := rows[0]
	t := &Table{Name: name, oid: r[0], regclass: r[1], owner: r[2], unlogged: r[4] == "u", comment: r[6]}
	t.portrait = t.postgresPortrait
	if r[3] != "r" {
		t.Unfit = append(t.Unfit, "it is not a plain table")
		return t, nil
	}
	if r[12] == "true" {
		t.Unfit = append(t.Unfit, "it inherits, is inherited from or is a partition")
	}
	switch r[5] {
	case "n":
		t.replica = "NOTHING"
	case "f":
		t.replica = "FULL"
	case "i":
		t.Unfit = append(t.Unfit, "its replica identity is an index")
	}
	if r[7] == "true" {
		t.security = append(t.security, "ENABLE ROW LEVEL SECURITY")
	}
	if r[8] == "true" {
		t.security = append(t.security, "FORCE ROW LEVEL SECURITY")
	}
	if r[11] != "" {
		t.create += " USING " + r[11]
	}
	if r[9] != "" {
		t.create += " WITH (" + r[9] + ")"
	}
	if r[10] != "" {
		t.create += " TABLESPACE " + r[10]
	}
	for _, read := range readers {
		if err := read(ctx, q, t); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (s *postgres) readColumns(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT a.attname, format_type(a.atttypid, a.atttypmod),
		CASE WHEN a.attcollation <> y.typcollation THEN a.attcollation::regcollation::text END, a.attnotnull::text, a.attidentity, a.attgenerated,
		pg_get_expr(d.adbin, d.adrelid), CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END, array_to_string(a.attoptions, ', ')
		FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
		LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, t.oid)
	if err != nil {
		return err
	}
	for _, r := range rows {
		c := archive.Column{Name: r[0], Type: r[1], Collation: r[2], NotNull: r[3] == "true"}
		if r[5] != "" {
			c.Generated = r[6]
		}
		t.Structure.Columns = append(t.Structure.Columns, c)
		t.columns = append(t.columns, column{r[0], r[4], r[5], r[6]})
		if r[7] != "" {
			t.tuning = append(t.tuning, "ALTER COLUMN "+ident(r[0])+" SET STATISTICS "+r[7])
		}
		if r[8] != "" {
			t.tuning = append(t.tuning, "ALTER COLUMN "+ident(r[0])+" SET ("+r[8]+")")
		}
	}
	return nil
}

func (s *postgres) readSequences(ctx context.Context, q Querier, t *Table) error {
	for _, c := range t.columns {
		if c.identity == "" && !strings.Contains(c.def, "nextval(") {
			continue
		}
		rows, err := Rows(ctx, q, `SELECT c.relname, q.seqcache, format('AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s %s',
			format_type(q.seqtypid, NULL), q.seqincrement, q.seqmin, q.seqmax, q.seqstart, q.seqcache, CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END), c.oid
			FROM pg_catalog.pg_class c JOIN pg_catalog.pg_sequence q ON q.seqrelid = c.oid WHERE c.oid = pg_get_serial_sequence($1, $2)::regclass`, s.Quote(t.Name), c.name)
		if err != nil {
			return err
		}
		one := sequence{column: c.name, identity: c.identity != "", owned: len(rows) > 0}
		if one.owned {
			one.name, one.options = rows[0][0], rows[0][2]
			if rows[0][1] != "1" && !one.identity {
				t.Unfit = append(t.Unfit, fmt.Sprintf("sequence %s hands out %s numbers at a time, so that sessions insert low ones late: ALTER SEQUENCE %s CACHE 1", one.name, rows[0][1], one.name))
			}
			if one.identity {
				if one.grants, err = readACL(ctx, q, `SELECT '', x.grantee, x.privilege_type, x.is_grantable FROM pg_catalog.pg_class c, aclexplode(c.relacl) x WHERE c.oid = $1::oid AND x.grantee <> c.relowner`, rows[0][3]); err != nil {
					return err
				}
			}
		}
		t.sequence = append(t.sequence, one)
	}
	return nil
}

func (s *postgres) readIndexes(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT c.relname, coalesce(pg_get_constraintdef(k.oid), ''), i.indisunique::text, pg_get_indexdef(i.indexrelid), i.indisvalid::text,
		coalesce(obj_description(c.oid, 'pg_class'), ''), i.indisclustered::text
		FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
		LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
		WHERE i.indrelid = $1::oid ORDER BY i.indisprimary DESC, c.relname`, t.oid)
	if err != nil {
		return err
	}
	for _, r := range rows {
		at := strings.Index(r[3], " USING ")
		one := index{name: r[0], constraint: r[1], rest: r[3][max(at, 0):], comment: r[5]}
		if r[2] == "true" {
			one.unique = "UNIQUE "
		}
		if r[4] != "true" || at < 0 {
			t.Unfit = append(t.Unfit, fmt.Sprintf("index %s is not valid", r[0]))
		}
		t.indexes = append(t.indexes, one)
		t.Structure.Indexes = append(t.Structure.Indexes, strings.TrimSpace(r[1]+" "+one.unique+"INDEX"+one.rest))
	}
	return nil
}

func (s *postgres) readKeys(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT conname, pg_get_constraintdef(oid), confrelid::regclass::text, convalidated::text FROM pg_catalog.pg_constraint
		WHERE conrelid = $1::oid AND contype = 'f' ORDER BY conname`, t.oid)
	if err != nil {
		return err
	}
	for _, r := range rows {
		t.keys = append(t.keys, definition{r[0], r[1], r[2]})
	}
	return nil
}

func (s *postgres) readTriggers(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT tgname, pg_get_triggerdef(oid), tgenabled FROM pg_catalog.pg_trigger
		WHERE tgrelid = $1::oid AND NOT tgisinternal ORDER BY tgname`, t.oid)
	for _, r := range rows {
		t.triggers = append(t.triggers, trigger{name: r[0], text: r[1], enabled: r[2]})
	}
	return err
}

func (s *postgres) readPolicies(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT p.polname, format('AS %s FOR %s TO %s', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
		CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
		(SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ' ORDER BY r) FROM unnest(p.polroles) r))
		|| coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '') || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', ''),
		(p.polqual::text || coalesce(p.polwithcheck::text, '') LIKE '%:subselect {%')::text
		FROM pg_catalog.pg_policy p WHERE p.polrelid = $1::oid ORDER BY 1`, t.oid)
	for _, r := range rows {
		if r[2] == "true" {
			t.Unfit = append(t.Unfit, fmt.Sprintf("policy %s reads other tables", r[0]))
		}
		t.policies = append(t.policies, definition{name: r[0], text: r[1]})
	}
	return err
}

func readACL(ctx context.Context, q Querier, query, oid string) ([]grant, error) {
	rows, err := Rows(ctx, q, `SELECT g.n, CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END, g.p, g.o::text
		FROM (`+query+`) g(n, grantee, p, o) ORDER BY 1, 2, 3`, oid)
	var all []grant
	for _, r := range rows {
		all = append(all, grant{r[0], r[1], r[2], r[3]})
	}
	return all, err
}

func (s *postgres) readGrants(ctx context.Context, q Querier, t *Table) (err error) {
	t.grants, err = readACL(ctx, q, `SELECT '', x.grantee, x.privilege_type, x.is_grantable FROM pg_catalog.pg_class c, aclexplode(c.relacl) x WHERE c.oid = $1::oid AND x.grantee <> c.relowner
		UNION ALL SELECT a.attname, x.grantee, x.privilege_type, x.is_grantable FROM pg_catalog.pg_attribute a, aclexplode(a.attacl) x WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped`, t.oid)
	return err
}

func (s *postgres) readPublications(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT quote_ident(p.pubname), (to_jsonb(r)->>'prqual' IS NOT NULL OR to_jsonb(r)->>'prattrs' IS NOT NULL)::text
		FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = $1::oid ORDER BY 1`, t.oid)
	for _, r := range rows {
		if r[1] == "true" {
			t.Unfit = append(t.Unfit, fmt.Sprintf("publication %s sends some of its rows or columns only", r[0]))
		}
		t.publish = append(t.publish, r[0])
	}
	return err
}

// allMark is the comment by which a view of ours is known.
const allMark = "holdfast: every row of the table and of its archives, once"

func (s *postgres) readViews(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT DISTINCT c.oid::regclass::text, c.relkind, coalesce(array_to_string(c.reloptions, ', '), ''),
		CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END, coalesce(obj_description(c.oid, 'pg_class'), '')
		FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid JOIN pg_catalog.pg_class c ON c.oid = w.ev_class
		WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = $1::oid AND w.ev_class <> $1::oid ORDER BY 1`, t.oid)
	for _, r := range rows {
		switch {
		case r[4] == allMark:
		case r[1] == "v":
			t.views = append(t.views, view{r[0], r[2], strings.TrimSuffix(strings.TrimSpace(r[3]), ";")})
		default:
			t.Unfit = append(t.Unfit, fmt.Sprintf("%s is a materialised view or a rule over it, and would follow the archive", r[0]))
		}
	}
	return err
}

// readDependents finds what would follow the archive and cannot be taken back.
func (s *postgres) readDependents(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT 'foreign key ' || conname || ' of ' || conrelid::regclass::text, conrelid::regclass::text FROM pg_catalog.pg_constraint WHERE confrelid = $1::oid AND contype = 'f'
		UNION SELECT 'function ' || d.objid::regprocedure::text, '' FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = $1::oid
		UNION SELECT 'column ' || a.attname || ' of ' || a.attrelid::regclass::text, '' FROM pg_catalog.pg_attribute a, pg_catalog.pg_type y
			WHERE y.typrelid = $1::oid AND a.atttypid IN (y.oid, y.typarray) AND NOT a.attisdropped
		UNION SELECT 'rule ' || rulename, '' FROM pg_catalog.pg_rewrite WHERE ev_class = $1::oid ORDER BY 1`, t.oid)
	for _, r := range rows {
		if r[1] == "" {
			t.Unfit = append(t.Unfit, r[0]+" would follow the archive")
			continue
		}
		t.keys = append(t.keys, definition{name: r[0], target: "<" + r[1]}) // judged where the family is known
	}
	return err
}
