package dialect

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"holdfast/archive"
	"holdfast/internal/mutant"
)

// Table describes a table of the database.
func (m *mariadb) Table(ctx context.Context, q Querier, name string) (*Table, error) {
	t, err := m.read(ctx, q, name)
	if err != nil || t == nil || len(t.Unfit) > 0 && t.create == "" {
		return t, err
	}
	for _, read := range []reader{m.readKeys, m.readTriggers, m.readGrants} {
		if err := read(ctx, q, t); err != nil {
			return nil, err
		}
	}
	t.portrait = t.mariadbPortrait
	return t, nil
}

// Shape returns the structure of an archived table.
func (m *mariadb) Shape(ctx context.Context, q Querier, name string) (archive.Structure, bool, error) {
	t, err := m.read(ctx, q, name)
	if err != nil || t == nil || t.create == "" {
		return archive.Structure{}, false, err
	}
	return t.Structure, true, nil
}

// read reads the table itself, its columns and its indexes.
func (m *mariadb) read(ctx context.Context, q Querier, name string) (*Table, error) {
	schema, table := m.split(name)
	rows, err := Rows(ctx, q, "SELECT TABLE_TYPE, COALESCE(ENGINE, ''), COALESCE(AUTO_INCREMENT, 0), CREATE_OPTIONS FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?", schema, table)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	r := rows[0]
	t := &Table{Name: name, regclass: table, portrait: func(string) []string { return nil }}
	if r[0] != "BASE TABLE" {
		t.Unfit = append(t.Unfit, "it is not a plain table: "+strings.ToLower(r[0]))
		return t, nil
	}
	if r[1] != "InnoDB" {
		t.Unfit = append(t.Unfit, fmt.Sprintf("its engine, %s, has no transactions: ALTER TABLE %s ENGINE=InnoDB", r[1], m.Column(name)))
	}
	if strings.Contains(r[3], "partitioned") {
		t.Unfit = append(t.Unfit, "it is partitioned")
	}
	if t.next, err = strconv.ParseInt(r[2], 10, 64); err != nil {
		t.Unfit = append(t.Unfit, "its numbers are at "+r[2]+", too high to go on")
	}
	made, err := Rows(ctx, q, "SHOW CREATE TABLE "+m.Quote(name))
	if err != nil {
		return nil, err
	}
	t.create = made[0][1]
	if err := m.readColumns(ctx, q, t); err != nil {
		return nil, err
	}
	return t, m.readIndexes(ctx, q, t)
}

func (m *mariadb) readColumns(ctx context.Context, q Querier, t *Table) error {
	schema, table := m.split(t.Name)
	rows, err := Rows(ctx, q, `SELECT COLUMN_NAME, COLUMN_TYPE, COALESCE(COLLATION_NAME, ''), IS_NULLABLE, EXTRA, COALESCE(GENERATION_EXPRESSION, ''), COALESCE(COLUMN_DEFAULT, '')
		FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`, schema, table)
	for _, r := range rows {
		one := column{name: r[0], def: r[6]}
		if strings.Contains(r[4], "auto_increment") {
			one.identity = "d"
			if room := headroom(r[1]); t.next > 0 && t.next > most(r[1])-room {
				t.Unfit = append(t.Unfit, fmt.Sprintf("the numbers of column %s run out: %d is next, and an %s ends at %d", r[0], t.next, r[1], most(r[1])))
			} else {
				t.room = room
			}
		}
		if strings.Contains(r[4], "GENERATED") {
			one.generated = r[4]
		}
		if strings.Contains(r[4], "INVISIBLE") {
			t.Unfit = append(t.Unfit, fmt.Sprintf("column %s is invisible", r[0]))
		}
		t.columns = append(t.columns, one)
		t.Structure.Columns = append(t.Structure.Columns, archive.Column{Name: r[0], Type: r[1], Collation: r[2], NotNull: r[3] == "NO", Generated: r[5]})
	}
	return err
}

// most returns the highest number of a type.
func most(kind string) int64 {
	bits := map[string]int{"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}[strings.ToLower(strings.FieldsFunc(kind, func(r rune) bool { return r == '(' || r == ' ' })[0])]
	if bits == 0 || bits == 64 {
		return 1<<63 - 1
	}
	if strings.Contains(kind, "unsigned") {
		return 1<<bits - 1
	}
	return 1<<(bits-1) - 1
}

// headroom returns how far above the next number those of a twin begin: rows
// may come between the moment it is made and the swap, and no number can be
// read under the lock.
func headroom(kind string) int64 { return max(min(most(kind)/2000, 1_000_000), 1) }

// Ahead reports whether the numbers of a twin begin safely above those of its
// table.
func (t *Table) Ahead(of *Table) bool {
	return t.room == 0 || mutant.On(38) || t.next > of.next+of.room/2
}

func (m *mariadb) readIndexes(ctx context.Context, q Querier, t *Table) error {
	schema, table := m.split(t.Name)
	rows, err := Rows(ctx, q, `SELECT INDEX_NAME, MAX(NON_UNIQUE), MAX(INDEX_TYPE), GROUP_CONCAT(CONCAT(COLUMN_NAME, COALESCE(CONCAT('(', SUB_PART, ')'), ''), IF(COLLATION = 'D', ' DESC', '')) ORDER BY SEQ_IN_INDEX SEPARATOR ', '),
		GROUP_CONCAT(CONCAT(CHAR(96), REPLACE(COLUMN_NAME, CHAR(96), REPEAT(CHAR(96), 2)), CHAR(96), COALESCE(CONCAT('(', SUB_PART, ')'), ''), IF(COLLATION = 'D', ' DESC', '')) ORDER BY SEQ_IN_INDEX SEPARATOR ', ')
		FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? GROUP BY INDEX_NAME ORDER BY INDEX_NAME`, schema, table)
	for _, r := range rows {
		kind := "INDEX"
		switch {
		case r[0] == "PRIMARY":
			kind = "PRIMARY KEY"
		case r[1] == "0":
			kind = "UNIQUE"
		case r[2] != "BTREE":
			kind = r[2]
		}
		t.indexes = append(t.indexes, index{name: r[0], unique: kind, rest: "(" + r[4] + ")"})
		t.Structure.Indexes = append(t.Structure.Indexes, kind+" ("+r[3]+")")
	}
	return err
}

// foreign is a line of a definition.
var foreign = regexp.MustCompile("(?m)^  CONSTRAINT `((?:[^`]|``)+)` (FOREIGN KEY \\(.*\\) REFERENCES ((?:`(?:[^`]|``)+`\\.)?`(?:[^`]|``)+`) \\(.*?)(,?)$")

func (m *mariadb) readKeys(ctx context.Context, q Querier, t *Table) error {
	for _, k := range foreign.FindAllStringSubmatch(t.create, -1) {
		t.keys = append(t.keys, definition{name: strings.ReplaceAll(k[1], "``", "`"), text: k[2], target: strings.ReplaceAll(strings.Trim(k[3], "`"), "``", "`")})
	}
	rows, err := Rows(ctx, q, "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE UNIQUE_CONSTRAINT_SCHEMA = ? AND REFERENCED_TABLE_NAME = ?", m.schema, t.Name)
	for _, r := range rows {
		from := r[1]
		if r[0] != m.schema {
			from = r[0] + "." + r[1]
		}
		t.keys = append(t.keys, definition{name: "foreign key " + r[2] + " of " + from, target: "<" + from})
	}
	return err
}

func (m *mariadb) readTriggers(ctx context.Context, q Querier, t *Table) error {
	schema, table := m.split(t.Name)
	rows, err := Rows(ctx, q, `SELECT TRIGGER_NAME, CONCAT(ACTION_TIMING, ' ', EVENT_MANIPULATION), ACTION_STATEMENT, DEFINER, SQL_MODE, COLLATION_CONNECTION FROM information_schema.TRIGGERS
		WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ? ORDER BY ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER`, schema, table)
	for _, r := range rows {
		user, host := r[3], ""
		if at := strings.LastIndex(user, "@"); at >= 0 {
			user, host = user[:at], "@"+m.Column(user[at+1:])
		}
		t.triggers = append(t.triggers, trigger{name: r[0], enabled: r[1], text: r[2], definer: m.Column(user) + host, mode: r[4], collation: r[5]})
	}
	return err
}

// readGrants reads who may read the table, or columns of it, and it alone: whoever
// may read the whole database may read its archives too. Other rights go by the
// name.
func (m *mariadb) readGrants(ctx context.Context, q Querier, t *Table) error {
	rows, err := Rows(ctx, q, `SELECT GRANTEE, '' FROM information_schema.TABLE_PRIVILEGES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND PRIVILEGE_TYPE = 'SELECT'
		UNION ALL SELECT GRANTEE, COLUMN_NAME FROM information_schema.COLUMN_PRIVILEGES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND PRIVILEGE_TYPE = 'SELECT' ORDER BY 1, 2`,
		m.schema, t.Name, m.schema, t.Name)
	for _, r := range rows {
		one := grant{column: r[1], grantee: r[0], privilege: "SELECT"}
		if one.column != "" {
			one.privilege += " (" + m.Column(one.column) + ")"
		}
		t.grants = append(t.grants, one)
	}
	return err
}

// counter is where numbers stand, in a definition.
var counter = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

// mariadbPortrait is Portrait: the lines of the definition, without what a
// twin has of its own.
func (t *Table) mariadbPortrait(suffix string) (all []string) {
	lines := strings.Split(foreign.ReplaceAllString(counter.ReplaceAllString(t.create, ""), ""), "\n")
	for _, line := range lines[1:] {
		if line = strings.TrimRight(line, ","); line != "" {
			all = append(all, line)
		}
	}
	for _, k := range t.keys {
		if !strings.HasPrefix(k.target, "<") {
			all = append(all, strings.ReplaceAll(k.text, suffix+"`", "`"))
		}
	}
	for _, g := range t.triggers {
		all = append(all, fmt.Sprintf("trigger %s by %s in %s, %s: %s", g.enabled, g.definer, g.mode, g.collation, unguarded(g.text)))
	}
	return all
}

// CheckViews finds views of the names that ours have, and those that are ours.
func (m *mariadb) CheckViews(ctx context.Context, q Querier, tables []*Table) error {
	for _, t := range tables {
		rows, err := Rows(ctx, q, `SELECT t.TABLE_TYPE, COALESCE(v.VIEW_DEFINITION, '') FROM information_schema.TABLES t LEFT JOIN information_schema.VIEWS v
			ON v.TABLE_SCHEMA = t.TABLE_SCHEMA AND v.TABLE_NAME = t.TABLE_NAME WHERE t.TABLE_SCHEMA = ? AND t.TABLE_NAME = ?`, m.schema, AllName(t.Name))
		if err != nil {
			return err
		}
		t.views = nil
		switch {
		case len(rows) == 0:
		case rows[0][0] == "VIEW" && m.ours(t.Name, rows[0][1]):
			t.views = []view{{name: AllName(t.Name)}}
		default:
			t.Unfit = append(t.Unfit, fmt.Sprintf("the name of its view, %s, is taken (or the right SHOW VIEW is missing)", AllName(t.Name)))
		}
	}
	return nil
}

// ours reports whether a view is one over a table and its archives.
func (m *mariadb) ours(table, definition string) bool {
	arms := strings.Split(definition, " union all ")
	for i, arm := range arms {
		_, from, found := strings.Cut(arm, " from ")
		name := strings.TrimSuffix(strings.TrimPrefix(from, m.Column(m.schema)+".`"), "`")
		if !found || i == 0 && name != table || i > 0 && !isArchived(table, name) && !strings.Contains(from, "`.`") {
			return false
		}
	}
	return true
}
