package dialect

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"holdfast/archive"
	"holdfast/internal/fault"
)

// Forms knows tablespaces, and what long values can be compressed with.
func (s *postgres) Forms(ctx context.Context, q Querier, form archive.Form) error {
	switch {
	case form.Engine != "":
		return fault.New(fault.FeatureNotSupported, "PostgreSQL has no engine %q to store archives with", form.Engine).WithHint("compress: lz4, or tablespace")
	case form.Compress == archive.CompressPage || form.Compress == archive.CompressRow:
		return fault.New(fault.FeatureNotSupported, "compress: %s is MariaDB's", form.Compress).WithHint("compress: lz4, or a tablespace in a file system that compresses")
	}
	if form.Tablespace != "" {
		rows, err := Rows(ctx, q, `SELECT has_tablespace_privilege(oid, 'CREATE')::text FROM pg_catalog.pg_tablespace WHERE spcname = $1`, form.Tablespace)
		switch {
		case err != nil:
			return err
		case len(rows) == 0:
			return fault.New(fault.UndefinedObject, "there is no tablespace %q", form.Tablespace).WithHint("CREATE TABLESPACE %s LOCATION '/an/empty/directory'", ident(form.Tablespace))
		case rows[0][0] != "true":
			return fault.New(fault.InsufficientPrivilege, "nothing may be made in tablespace %q", form.Tablespace).WithHint("GRANT CREATE ON TABLESPACE %s TO the role that archives", ident(form.Tablespace))
		}
	}
	if form.Compress != "" {
		rows, err := Rows(ctx, q, `SELECT ($1 = ANY (enumvals))::text FROM pg_catalog.pg_settings WHERE name = 'default_toast_compression'`, form.Compress)
		if err != nil {
			return err
		}
		if len(rows) == 0 || rows[0][0] != "true" {
			return fault.New(fault.FeatureNotSupported, "this server cannot compress with %s", form.Compress).WithHint("PostgreSQL 14 and newer can, where it was built so")
		}
	}
	return nil
}

// compressible are the columns of a table that may hold long values.
const compressible = `SELECT a.attname, a.attcompression, y.typname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
	WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attstorage IN ('x', 'm') AND a.attlen = -1 ORDER BY a.attnum`

// Formed looks where the table is, and what its columns compress with.
func (s *postgres) Formed(ctx context.Context, q Querier, archived string, form archive.Form) (bool, error) {
	rows, err := Rows(ctx, q, `SELECT coalesce(t.spcname, d.spcname) FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace,
		pg_catalog.pg_tablespace d JOIN pg_catalog.pg_database b ON b.dattablespace = d.oid WHERE c.oid = to_regclass($1) AND b.datname = current_database()`, s.Quote(archived))
	if err != nil || len(rows) == 0 || form.Tablespace != "" && rows[0][0] != form.Tablespace || form.Compress == "" {
		return err == nil && len(rows) > 0 && (form.Tablespace == "" || rows[0][0] == form.Tablespace), err
	}
	rows, err = Rows(ctx, q, strings.Replace(compressible, "$1::oid", "to_regclass($1)", 1), s.Quote(archived))
	return !slices.ContainsFunc(rows, func(r []string) bool { return r[1] != form.Compress[:1] }), err
}

// fresh are expressions for values that are stored anew: what is compressed
// already would be copied as it is.
var fresh = map[string]string{"text": "%s || ''", "varchar": "%s || ''", "bpchar": "%s || ''", "bytea": "%s || ''::bytea", "json": "(%s::text || '')::json", "jsonb": "(%s::text || '')::jsonb"}

// Filed describes the table with the names that a closing gives, its triggers
// silent, and nobody but its owner with a right to write.
func (s *postgres) Filed(t *Table, stamp int64) *Table {
	filed, suffix := *t, strings.TrimPrefix(Archived(t.Name, stamp), t.Name)
	filed.Name, filed.indexes, filed.triggers, filed.grants = Archived(t.Name, stamp), slices.Clone(t.indexes), slices.Clone(t.triggers), nil
	for i := range filed.indexes {
		filed.indexes[i].name = suffixed(filed.indexes[i].name, suffix)
	}
	for i := range filed.triggers {
		filed.triggers[i].enabled = "D"
	}
	filed.triggers = append(filed.triggers, trigger{name: readOnly, enabled: "A", text: "CREATE TRIGGER " + readOnly + " BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON " + t.regclass +
		" FOR EACH STATEMENT EXECUTE FUNCTION " + s.Quote(readOnly) + "()"})
	for _, g := range t.grants {
		if !slices.Contains(writes, g.privilege) {
			filed.grants = append(filed.grants, g)
		}
	}
	return &filed
}

// Reform copies each table with all that belongs to it, and exchanges them in
// one transaction.
func (s *postgres) Reform(ctx context.Context, q Querier, c Change) (r Reform, err error) {
	r.Copy = map[string][]string{}
	news := map[string]string{}
	for _, t := range c.Filed {
		news[t.regclass] = s.Quote(Formed(t.Name))
	}
	for _, t := range c.Filed {
		if r.Copy[t.Name], err = s.copied(ctx, q, t, c.Form); err != nil {
			return r, err
		}
		old, name := s.Quote(t.Name), s.Quote(Formed(t.Name))
		for _, k := range t.keys { // checked behind it, so that a table outside can be written to
			if strings.HasPrefix(k.target, "<") {
				continue
			}
			text, never := strings.CutSuffix(k.text, " NOT VALID")
			if to, ours := news[k.target]; ours {
				text = strings.Replace(text, " REFERENCES "+k.target+"(", " REFERENCES "+to+"(", 1)
			}
			r.Fasten = append(r.Fasten, "ALTER TABLE "+name+" ADD CONSTRAINT "+ident(k.name)+" "+text+" NOT VALID")
			if !never {
				r.Fasten = append(r.Fasten, "ALTER TABLE "+name+" VALIDATE CONSTRAINT "+ident(k.name))
			}
		}
		unkeyed := *t
		unkeyed.keys = nil
		r.Fasten = append(r.Fasten, s.attached(&unkeyed, news)...)
		r.Exchange = append(r.Exchange, "ALTER TABLE "+old+" RENAME TO "+ident(Left(t.Name)), "ALTER TABLE "+name+" RENAME TO "+ident(t.Name))
	}
	for _, t := range c.Current {
		r.Exchange = append(r.Exchange, s.View(t, c.Archived[t.Name])...)
	}
	for _, t := range slices.Backward(c.Filed) {
		r.Undo = append(r.Undo, "DROP TABLE IF EXISTS "+s.Quote(Formed(t.Name)))
		r.Exchange = append(r.Exchange, "DROP TABLE "+s.Quote(Left(t.Name)))
		for _, i := range t.indexes {
			r.Exchange = append(r.Exchange, "ALTER INDEX "+s.Quote(suffixed(i.name, "_new"))+" RENAME TO "+ident(i.name))
		}
	}
	return r, nil
}

// copied makes the new table, packed as tightly as can be, and its indexes once
// it is filled.
func (s *postgres) copied(ctx context.Context, q Querier, t *Table, form archive.Form) ([]string, error) {
	old, name := s.Quote(t.Name), s.Quote(Formed(t.Name))
	long, err := Rows(ctx, q, compressible, t.oid)
	if err != nil {
		return nil, err
	}
	kind := ""
	if t.unlogged {
		kind = "UNLOGGED "
	}
	create, space := t.create, ""
	if form.Tablespace != "" {
		space = " TABLESPACE " + ident(form.Tablespace)
		if at := strings.Index(create, " TABLESPACE "); at >= 0 {
			create = create[:at]
		}
	}
	all := []string{"CREATE " + kind + "TABLE " + name + " (LIKE " + old + " INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)" + create + space}
	anew := map[string]string{}
	for _, l := range long {
		if form.Compress != "" {
			all = append(all, "ALTER TABLE "+name+" ALTER COLUMN "+ident(l[0])+" SET COMPRESSION "+form.Compress)
			anew[l[0]] = fresh[l[2]]
		}
	}
	var columns, values []string
	for _, col := range t.columns {
		if col.generated == "" {
			value := ident(col.name)
			if how := anew[col.name]; how != "" {
				value = fmt.Sprintf(how, value)
			}
			columns, values = append(columns, ident(col.name)), append(values, value)
		}
	}
	all = append(all, "ALTER TABLE "+name+" SET (fillfactor = 100)",
		fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s", name, strings.Join(columns, ", "), strings.Join(values, ", "), old))
	for _, i := range t.indexes {
		if index := ident(suffixed(i.name, "_new")); i.constraint != "" {
			where := ""
			if space != "" && !strings.HasPrefix(i.constraint, "EXCLUDE") {
				where = " USING INDEX" + space
			}
			all = append(all, "ALTER TABLE "+name+" ADD CONSTRAINT "+index+" "+i.constraint+where)
		} else {
			all = append(all, "CREATE "+i.unique+"INDEX "+index+" ON "+name+inSpace(i.rest, space))
		}
		if i.comment != "" {
			all = append(all, "COMMENT ON INDEX "+s.Quote(suffixed(i.name, "_new"))+" IS "+s.Text(i.comment))
		}
	}
	if t.comment != "" {
		all = append(all, "COMMENT ON TABLE "+name+" IS "+s.Text(t.comment))
	}
	if t.replica != "" {
		all = append(all, "ALTER TABLE "+name+" REPLICA IDENTITY "+t.replica)
	}
	return append(append(all, granted(name, t.grants)...), "ALTER TABLE "+name+" OWNER TO "+t.owner, "ANALYZE "+name), nil
}

// inSpace writes a tablespace into the end of the definition of an index: before
// its condition, where it has one.
func inSpace(rest, space string) string {
	if at := strings.LastIndex(rest, " WHERE "); at >= 0 {
		return rest[:at] + space + rest[at:]
	}
	return rest + space
}
