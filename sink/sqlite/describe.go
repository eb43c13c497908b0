package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"modernc.org/sqlite"

	"holdfast/sink"
	"holdfast/sink/prepared"
)

// describeTables returns every column of every table that rows can be written
// to. Columns of virtual tables that are hidden belong to their modules.
const describeTables = `SELECT t.name, c.name, c.type, c."notnull", c.dflt_value IS NOT NULL, c.hidden,
  c.pk = 1 AND upper(c.type) = 'INTEGER' AND NOT t.wr AND
    (SELECT count(*) FROM pragma_table_info(t.name) WHERE pk > 0) = 1,
  (SELECT m.sql LIKE '%conflict%' FROM sqlite_schema m WHERE m.type = 'table' AND m.name = t.name)
FROM pragma_table_list t JOIN pragma_table_xinfo(t.name) c
WHERE t.schema = 'main' AND t.type IN ('table', 'virtual') AND c.hidden <> 1
ORDER BY t.name, c.cid`

const describeKeys = `SELECT DISTINCT t.name, k."table" FROM pragma_table_list t JOIN pragma_foreign_key_list(t.name) k WHERE t.schema = 'main'`

// Describe tells of the tables in the file. It has a connection of its own,
// which in WAL mode waits for nobody. A file that is not there yet has no tables.
func (s *Sink) Describe(ctx context.Context) ([]sink.Table, error) {
	if _, err := os.Stat(s.path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	tables, err := s.describe(ctx)
	if err != nil {
		return nil, fmt.Errorf("read tables of database %q: %w", s.path, err)
	}
	return tables, nil
}

func (s *Sink) describe(ctx context.Context) (tables []sink.Table, err error) {
	connector, err := sqlite.NewConnector(uri(s.path) + "?mode=ro")
	if err != nil {
		return nil, err
	}
	c := &conn{}
	if c.Conn, err = connector.Connect(ctx); err != nil {
		return nil, err
	}
	c.statements = prepared.New(c.Conn, maxStatements)
	defer func() { err = errors.Join(err, c.close()) }()
	// Both queries see one state of the file.
	for _, sql := range []string{fmt.Sprintf("PRAGMA busy_timeout = %d", s.opts.Busy.Milliseconds()), "BEGIN"} {
		if _, err := c.exec(ctx, sql); err != nil {
			return nil, err
		}
	}
	columns, err := c.query(ctx, describeTables)
	if err != nil {
		return nil, err
	}
	keys, err := c.query(ctx, describeKeys)
	if err != nil {
		return nil, err
	}
	return tablesOf(columns, keys)
}

// tablesOf puts together what the two queries returned.
func tablesOf(columns, keys [][]driver.Value) ([]sink.Table, error) {
	var tables []sink.Table
	at := map[string]int{} // by folded name
	for _, v := range columns {
		name, ok1 := v[0].(string)
		column, ok2 := v[1].(string)
		decl, ok3 := v[2].(string)
		if !ok1 || !ok2 || !ok3 {
			return nil, fmt.Errorf("got column %v", v)
		}
		key := FoldName(name)
		if strings.HasPrefix(key, "sqlite_") || strings.HasPrefix(key, "holdfast_") {
			continue
		}
		i, known := at[key]
		if !known {
			i = len(tables)
			at[key], tables = i, append(tables, sink.Table{Name: name})
		}
		is := func(n int) bool { x, _ := v[n].(int64); return x != 0 }
		alias := is(6) // SQLite's own number of the row, which it fills in for NULL too
		tables[i].Columns = append(tables[i].Columns, sink.Column{
			Name: column,
			Type: described(decl),
			// ON CONFLICT may put the default in the place of a NULL.
			NotNull:   is(3) && !alias && !is(7),
			Default:   is(4) || alias,
			Generated: is(5),
		})
	}
	for _, v := range keys {
		child, _ := v[0].(string)
		parent, _ := v[1].(string)
		i, known := at[FoldName(child)]
		if !known || FoldName(child) == FoldName(parent) {
			continue
		}
		if p, known := at[FoldName(parent)]; known {
			parent = tables[p].Name // as the table is written, not as the key has it
		}
		if !slices.Contains(tables[i].Parents, parent) {
			tables[i].Parents = append(tables[i].Parents, parent)
		}
	}
	for i := range tables {
		slices.Sort(tables[i].Parents)
	}
	slices.SortFunc(tables, func(a, b sink.Table) int { return strings.Compare(a.Name, b.Name) })
	return tables, nil
}

// describedTypes maps a declared type to PostgreSQL's word for what SQLite
// takes in such a column. Lengths and precisions are left out, since SQLite
// keeps none; every integer has 64 bits, and every real number is a double.
// Types of time are missing on purpose: SQLite has none, and programs keep
// seconds since 1970 in them as often as text.
var describedTypes = map[string]string{
	"int": "bigint", "integer": "bigint", "bigint": "bigint", "smallint": "bigint", "tinyint": "bigint", "mediumint": "bigint",
	"int2": "bigint", "int4": "bigint", "int8": "bigint", "smallserial": "bigint", "serial": "bigint", "bigserial": "bigint",
	"unsigned big int": "bigint",
	"numeric":          "numeric", "decimal": "numeric",
	"real": "double precision", "float": "double precision", "float4": "double precision", "float8": "double precision",
	"double": "double precision", "double precision": "double precision",
	"text": "text", "clob": "text", "char": "text", "character": "text", "nchar": "text", "native character": "text",
	"varchar": "varchar", "character varying": "varchar", "varying character": "varchar", "nvarchar": "varchar",
	"blob": "bytea", "bytea": "bytea",
	"bool": "boolean", "boolean": "boolean",
	"uuid": "uuid", "json": "json", "jsonb": "jsonb",
}

// described returns PostgreSQL's word for a declared type, or "" where there
// is none.
func described(decl string) string {
	base, _, _ := strings.Cut(strings.ToLower(decl), "(")
	return describedTypes[strings.Join(strings.Fields(base), " ")]
}
