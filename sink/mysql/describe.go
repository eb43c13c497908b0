package mysql

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/sink"
)

// Describe returns the tables of the database, but for Holdfast's own. It uses
// a connection of its own, and reads nothing that an Apply locks.
func (s *Sink) Describe(ctx context.Context) ([]sink.Table, error) {
	var all []sink.Table
	err := s.briefly(ctx, func(c *conn) (err error) {
		all, err = c.describeAll(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", s.where, err)
	}
	return all, nil
}

func (c *conn) describeAll(ctx context.Context) ([]sink.Table, error) {
	names, err := c.query(ctx, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'")
	if err != nil {
		return nil, err
	}
	columns, err := c.columns(ctx, "")
	if err != nil {
		return nil, err
	}
	parents, err := c.parents(ctx, "")
	if err != nil {
		return nil, err
	}
	var all []sink.Table
	for _, r := range names {
		name := r[0].text
		if strings.HasPrefix(strings.ToLower(name), "holdfast_") {
			continue
		}
		t := sink.Table{Name: name}
		for _, p := range parents[c.foldTable(name)] {
			if p != name {
				t.Parents = append(t.Parents, p)
			}
		}
		slices.Sort(t.Parents)
		t.Parents = slices.Compact(t.Parents)
		for _, col := range columns[c.foldTable(name)] {
			t.Columns = append(t.Columns, sink.Column{Name: col.name, Type: col.words(), NotNull: col.notNull, Default: col.byDefault, Generated: col.generated})
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b sink.Table) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// columns reads the columns of the tables that match where, by the folded name
// of their table, in order.
func (c *conn) columns(ctx context.Context, where string, args ...any) (map[string][]*column, error) {
	rows, err := c.query(ctx, "SELECT table_name, column_name, data_type, column_type, numeric_scale, is_nullable, column_default, extra, column_comment"+
		" FROM information_schema.columns WHERE table_schema = DATABASE()"+where+" ORDER BY table_name, ordinal_position", args...)
	all := map[string][]*column{}
	for _, r := range rows {
		scale, _ := strconv.Atoi(r[4].text) // NULL where there is none
		extra := strings.ToLower(r[7].text)
		key := c.foldTable(r[0].text)
		all[key] = append(all[key], &column{
			name: r[1].text, data: strings.ToLower(r[2].text), full: strings.ToLower(r[3].text), scale: scale,
			notNull: r[5].text == "NO",
			// MariaDB says NULL in words where that is the default.
			byDefault: !r[6].null && r[6].text != "NULL" || strings.Contains(extra, "auto_increment"),
			// MySQL has DEFAULT_GENERATED too, which is a default.
			generated: strings.Contains(extra, "virtual") || strings.Contains(extra, "stored") || strings.Contains(extra, "persistent"),
			comment:   r[8].text,
		})
	}
	return all, err
}

// parents reads which tables the foreign keys of tables refer to.
func (c *conn) parents(ctx context.Context, where string, args ...any) (map[string][]string, error) {
	rows, err := c.query(ctx, "SELECT table_name, referenced_table_name FROM information_schema.key_column_usage"+
		" WHERE table_schema = DATABASE() AND referenced_table_schema = DATABASE() AND referenced_table_name IS NOT NULL"+where, args...)
	all := map[string][]string{}
	for _, r := range rows {
		key := c.foldTable(r[0].text)
		all[key] = append(all[key], r[1].text)
	}
	return all, err
}

// plainWords are types whose words in PostgreSQL do not depend on anything.
var plainWords = map[string]string{
	"float": "real", "double": "double precision", "year": "smallint",
	"tinytext": "text", "text": "text", "mediumtext": "text", "longtext": "text", "enum": "text", "set": "text",
	"binary": "bytea", "varbinary": "bytea", "tinyblob": "bytea", "blob": "bytea", "mediumblob": "bytea", "longblob": "bytea",
	"date": "date", "time": "time", "timestamp": "timestamptz", "json": "json", "uuid": "uuid", "inet4": "inet", "inet6": "inet",
}

// words returns the column's type as PostgreSQL would call it, "" where there
// is no counterpart. An unsigned number gets the next larger type.
func (c *column) words() string {
	unsigned := strings.Contains(c.full, "unsigned")
	pick := func(signed, larger string) string {
		if unsigned {
			return larger
		}
		return signed
	}
	_, args := split(c.full)
	switch c.data {
	case "tinyint":
		if args == "1" {
			return "boolean"
		}
		return "smallint"
	case "smallint":
		return pick("smallint", "integer")
	case "mediumint":
		return "integer"
	case "int":
		return pick("integer", "bigint")
	case "bigint":
		return pick("bigint", "numeric(20,0)")
	case "decimal":
		return "numeric(" + args + ")"
	case "char", "varchar":
		return c.data + "(" + args + ")"
	case "bit":
		if args == "1" {
			return "boolean"
		}
		return "bit(" + args + ")"
	case "datetime":
		if c.comment == withZone {
			return "timestamptz"
		}
		return "timestamp"
	}
	return plainWords[c.data]
}
