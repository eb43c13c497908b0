package dialect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"holdfast/archive"
	"holdfast/internal/mutant"
)

// maxName is the length that PostgreSQL cuts names at, in bytes.
const maxName = 63

// suffixed returns name with suffix, cut and made distinct where it is too long.
func suffixed(name, suffix string) string {
	if len(name)+len(suffix) <= maxName {
		return name + suffix
	}
	sum := sha256.Sum256([]byte(name))
	hash := "_" + hex.EncodeToString(sum[:4])
	cut := maxName - len(hash) - len(suffix)
	return strings.ToValidUTF8(name[:cut], "") + hash + suffix
}

// Script returns the statements that swap tables at stamp. before lists the
// archived tables there are, by the name of the current one, for the views.
func (s *postgres) Script(tables []*Table, stamp int64, before map[string][]string) Script {
	all := Script{Prepare: []string{"SET LOCAL lock_timeout = 5000"}}
	old := "_" + strconv.FormatInt(stamp, 10)
	twins := map[string]string{}
	for _, t := range tables {
		twins[t.regclass] = s.Quote(Twin(t.Name, stamp))
	}
	for _, t := range tables {
		all.Prepare = append(all.Prepare, s.twin(t, stamp)...)
	}
	for _, t := range tables {
		all.Prepare = append(all.Prepare, s.attached(t, twins)...)
	}
	for _, t := range tables {
		all.Swap = append(all.Swap, released(t, twins)...)
	}
	for _, t := range tables {
		all.Swap = append(all.Swap, s.swap(t, stamp, old)...)
	}
	replaced := map[string]bool{}
	for _, t := range tables {
		for _, v := range t.views {
			if !replaced[v.name] {
				all.Swap = append(all.Swap, "CREATE OR REPLACE VIEW "+v.name+with(v.options)+" AS "+v.text)
				replaced[v.name] = true
			}
		}
		all.Swap = append(all.Swap, s.allView(t, append(slices.Clone(before[t.Name]), Archived(t.Name, stamp)))...)
	}
	return all
}

func with(options string) string {
	if options == "" {
		return ""
	}
	return " WITH (" + options + ")"
}

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }

// twin makes the empty table with its columns, indexes, owner and rights.
func (s *postgres) twin(t *Table, stamp int64) []string {
	old, name, soon := s.Quote(t.Name), s.Quote(Twin(t.Name, stamp)), "_"+strconv.FormatInt(stamp, 10)+"_new"
	kind := ""
	if t.unlogged {
		kind = "UNLOGGED "
	}
	all := []string{ // what its maker is granted while it is his would go to its owner with it
		"CREATE " + kind + "TABLE " + name + " (LIKE " + old + " INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)" + t.create,
		"ALTER TABLE " + name + " OWNER TO " + t.owner,
	}
	for _, q := range t.sequence {
		if q.identity {
			how := "BY DEFAULT"
			if t.identity(q.column) == "a" {
				how = "ALWAYS"
			}
			next := s.Quote(suffixed(q.name, soon))
			kind, options, _ := strings.Cut(q.options, " INCREMENT")
			add := fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s ADD GENERATED %s AS IDENTITY (SEQUENCE NAME %s", name, ident(q.column), how, next)
			if kind == "AS "+t.kind(q.column) {
				all = append(all, add+" INCREMENT"+options+")")
			} else { // the syntax takes the type of the column; LIKE made one of bigint, whatever the column
				all = append(all, add+")", "ALTER SEQUENCE "+next+" "+q.options)
			}
			all = append(all, granted("SEQUENCE "+next, q.grants)...)
		}
	}
	for _, i := range t.indexes {
		if i.constraint != "" {
			all = append(all, "ALTER TABLE "+name+" ADD CONSTRAINT "+ident(suffixed(i.name, soon))+" "+i.constraint)
		} else {
			all = append(all, "CREATE "+i.unique+"INDEX "+ident(suffixed(i.name, soon))+" ON "+name+i.rest)
		}
		if i.comment != "" {
			all = append(all, "COMMENT ON INDEX "+s.Quote(suffixed(i.name, soon))+" IS "+s.Text(i.comment))
		}
	}
	if t.comment != "" {
		all = append(all, "COMMENT ON TABLE "+name+" IS "+s.Text(t.comment))
	}
	if t.replica != "" {
		all = append(all, "ALTER TABLE "+name+" REPLICA IDENTITY "+t.replica)
	}
	for _, how := range t.tuning {
		all = append(all, "ALTER TABLE "+name+" "+how)
	}
	return append(all, granted(name, t.grants)...)
}

// kind returns the type of a column.
func (t *Table) kind(name string) string {
	for _, c := range t.Structure.Columns {
		if c.Name == name {
			return c.Type
		}
	}
	return ""
}

func (t *Table) identity(name string) string {
	for _, c := range t.columns {
		if c.name == name {
			return c.identity
		}
	}
	return ""
}

func granted(on string, grants []grant) (all []string) {
	for _, g := range grants {
		privilege, option := g.privilege, ""
		if g.column != "" {
			privilege += " (" + ident(g.column) + ")"
		}
		if g.option == "true" {
			option = " WITH GRANT OPTION"
		}
		all = append(all, "GRANT "+privilege+" ON "+on+" TO "+g.grantee+option)
	}
	return all
}

// attached makes what may name other tables of the family, or acts on rows.
func (s *postgres) attached(t *Table, twins map[string]string) (all []string) {
	name := twins[t.regclass]
	for _, k := range t.keys {
		text := k.text
		if to, ours := twins[k.target]; ours {
			text = strings.Replace(text, " REFERENCES "+k.target+"(", " REFERENCES "+to+"(", 1)
		}
		all = append(all, "ALTER TABLE "+name+" ADD CONSTRAINT "+ident(k.name)+" "+text)
	}
	for _, g := range t.triggers {
		all = append(all, strings.Replace(g.text, " ON "+t.regclass+" ", " ON "+name+" ", 1))
		if g.enabled != "O" {
			all = append(all, "ALTER TABLE "+name+" "+enable(g))
		}
	}
	for _, p := range t.policies {
		all = append(all, "CREATE POLICY "+ident(p.name)+" ON "+name+" "+p.text)
	}
	for _, r := range t.security {
		all = append(all, "ALTER TABLE "+name+" "+r)
	}
	return all
}

func enable(g trigger) string {
	how := map[string]string{"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}[g.enabled]
	if how == "" {
		how = "ENABLE"
	}
	return how + " TRIGGER " + ident(g.name)
}

// swap puts the twin in the place of the table, with its numbers and names.
func (s *postgres) swap(t *Table, stamp int64, old string) (all []string) {
	name, twin, soon := s.Quote(t.Name), s.Quote(Twin(t.Name, stamp)), old+"_new"
	for _, q := range t.sequence {
		highest := fmt.Sprintf("(SELECT max(%s) FROM %s)", ident(q.column), name)
		switch {
		case q.identity && mutant.On(38):
			all = append(all, "ALTER SEQUENCE "+s.Quote(q.name)+" RENAME TO "+ident(suffixed(q.name, old)),
				"ALTER SEQUENCE "+s.Quote(suffixed(q.name, soon))+" RENAME TO "+ident(q.name))
		case q.identity:
			next := s.Quote(suffixed(q.name, soon))
			all = append(all,
				fmt.Sprintf("SELECT setval(%s, greatest(last_value, %s), is_called OR %s IS NOT NULL) FROM %s", s.Text(next), highest, highest, s.Quote(q.name)),
				"ALTER SEQUENCE "+s.Quote(q.name)+" RENAME TO "+ident(suffixed(q.name, old)),
				"ALTER SEQUENCE "+next+" RENAME TO "+ident(q.name))
		case q.owned:
			all = append(all,
				fmt.Sprintf("SELECT setval(%s, %s) FROM %s WHERE last_value < %s", s.Text(s.Quote(q.name)), highest, s.Quote(q.name), highest),
				"ALTER SEQUENCE "+s.Quote(q.name)+" OWNED BY "+twin+"."+ident(q.column))
			fallthrough
		default: // the numbers go on, and the archive can be dropped without them
			all = append(all, "ALTER TABLE "+name+" ALTER COLUMN "+ident(q.column)+" DROP DEFAULT")
		}
	}
	for _, p := range t.publish {
		all = append(all, "ALTER PUBLICATION "+p+" DROP TABLE "+name, "ALTER PUBLICATION "+p+" ADD TABLE "+twin)
	}
	if len(t.triggers) > 0 {
		all = append(all, "ALTER TABLE "+name+" DISABLE TRIGGER USER")
	}
	all = append(all, "ALTER TABLE "+name+" RENAME TO "+ident(Archived(t.Name, stamp)), "ALTER TABLE "+twin+" RENAME TO "+ident(t.Name))
	for _, i := range t.indexes {
		all = append(all, "ALTER INDEX "+s.Quote(i.name)+" RENAME TO "+ident(suffixed(i.name, old)),
			"ALTER INDEX "+s.Quote(suffixed(i.name, soon))+" RENAME TO "+ident(i.name))
	}
	return all
}

func (s *postgres) allView(t *Table, archived []string) []string {
	var columns []string
	for _, c := range t.columns {
		columns = append(columns, ident(c.name))
	}
	list, name := strings.Join(columns, ", "), s.Quote(AllName(t.Name))
	invoker := ""
	if s.asks { // or the view would show what policies hide
		invoker = with("security_invoker = true")
	}
	text := "CREATE OR REPLACE VIEW " + name + invoker + " AS SELECT " + list + " FROM " + s.Quote(t.Name)
	for _, a := range archived {
		text += " UNION ALL SELECT " + list + " FROM " + s.Quote(a)
	}
	all := []string{text, "COMMENT ON VIEW " + name + " IS " + s.Text(allMark)}
	for _, g := range t.grants {
		if g.privilege == "SELECT" && g.column == "" && (s.asks || len(t.security) == 0) {
			all = append(all, granted(name, []grant{g})...)
		}
	}
	return all
}

// CheckViews says which names of views are taken by something that is not ours.
func (s *postgres) CheckViews(ctx context.Context, q Querier, tables []*Table) error {
	for _, t := range tables {
		rows, err := Rows(ctx, q, `SELECT coalesce(obj_description(oid, 'pg_class'), '') FROM pg_catalog.pg_class WHERE oid = to_regclass($1)`, s.Quote(AllName(t.Name)))
		if err != nil {
			return err
		}
		if len(AllName(t.Name)) > maxName || len(rows) > 0 && rows[0][0] != allMark {
			t.Unfit = append(t.Unfit, fmt.Sprintf("the name of its view, %s, is taken or too long", AllName(t.Name)))
		}
	}
	return nil
}

// Move returns the statements that take rows from one table to another of the
// same columns: those of from that the condition chooses. Triggers of users
// see nothing of it.
func (s *postgres) Move(t *Table, from, where string) (insert, remove string) {
	var columns []string
	overriding := ""
	for _, c := range t.columns {
		if c.generated == "" {
			columns = append(columns, ident(c.name))
		}
		if c.identity == "a" {
			overriding = " OVERRIDING SYSTEM VALUE"
		}
	}
	list := strings.Join(columns, ", ")
	return fmt.Sprintf("INSERT INTO %s (%s)%s SELECT %s FROM %s WHERE %s", s.Quote(t.Name), list, overriding, list, s.Quote(from), where),
		fmt.Sprintf("DELETE FROM %s WHERE %s", s.Quote(from), where)
}

// Still returns the statements that keep the triggers of users silent on a
// current table, and those that let them be as they were.
func (s *postgres) Still(t *Table) (still, again []string) {
	if len(t.triggers) == 0 {
		return nil, nil
	}
	name := s.Quote(t.Name)
	for _, g := range t.triggers {
		again = append(again, "ALTER TABLE "+name+" "+enable(g))
	}
	return []string{"ALTER TABLE " + name + " DISABLE TRIGGER USER"}, again
}

// readOnly is the name of the trigger, and of its function, that keep archives
// as they are.
const readOnly = "holdfast_archive_read_only"

// writes are the rights that an archive takes away.
var writes = []string{"INSERT", "UPDATE", "DELETE", "TRUNCATE"}

// ReadOnly returns the statements that let nobody write to an archived table.
func (s *postgres) ReadOnly(t *Table, archived string) []string {
	name := s.Quote(archived)
	all := []string{
		"CREATE OR REPLACE FUNCTION " + s.Quote(readOnly) + "() RETURNS trigger LANGUAGE plpgsql AS " +
			"'BEGIN RAISE EXCEPTION ''% is an archive, which can only be read'', TG_TABLE_NAME USING ERRCODE = ''read_only_sql_transaction''; END'",
		"DROP TRIGGER IF EXISTS " + readOnly + " ON " + name,
		"CREATE TRIGGER " + readOnly + " BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON " + name + " FOR EACH STATEMENT EXECUTE FUNCTION " + s.Quote(readOnly) + "()",
		"ALTER TABLE " + name + " ENABLE ALWAYS TRIGGER " + readOnly,
	}
	for _, g := range t.grants {
		if slices.Contains(writes, g.privilege) {
			privilege := g.privilege
			if g.column != "" {
				privilege += " (" + ident(g.column) + ")"
			}
			all = append(all, "REVOKE "+privilege+" ON "+name+" FROM "+g.grantee+" CASCADE")
		}
	}
	return all
}

// Writable lifts the trigger of ReadOnly for moves within a transaction.
func (s *postgres) Writable(archived string) []string {
	return []string{"DROP TRIGGER IF EXISTS " + readOnly + " ON " + s.Quote(archived)}
}

// IsReadOnly reports whether ReadOnly holds for an archived table.
func (s *postgres) IsReadOnly(ctx context.Context, q Querier, archived string) (bool, error) {
	rows, err := Rows(ctx, q, `SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = to_regclass($1) AND tgname = '`+readOnly+`' AND tgenabled = 'A'`, s.Quote(archived))
	return len(rows) > 0, err
}

// postgresPortrait is Portrait.
func (t *Table) postgresPortrait(suffix string) []string {
	var all []string
	for _, c := range t.Structure.Columns {
		all = append(all, c.String())
	}
	for _, c := range t.columns {
		all = append(all, fmt.Sprintf("column %s identity %q generated %q default %q", c.name, c.identity, c.generated, c.def))
	}
	for _, i := range t.indexes {
		all = append(all, fmt.Sprintf("index %s%s%s %q", i.constraint, i.unique, i.rest, i.comment))
	}
	for _, k := range t.keys {
		if !strings.HasPrefix(k.target, "<") {
			to := strings.TrimSuffix(strings.ReplaceAll(k.target, `"`, ""), suffix) // a name may need quotes, and with the suffix none
			all = append(all, "foreign key "+k.name+" "+strings.Replace(k.text, " REFERENCES "+k.target+"(", " REFERENCES "+to+"(", 1))
		}
	}
	for _, g := range t.triggers {
		all = append(all, "trigger "+g.enabled+" "+strings.Replace(g.text, " ON "+t.regclass+" ", " ON it ", 1))
	}
	for _, p := range t.policies {
		all = append(all, "policy "+p.name+" "+p.text)
	}
	for _, how := range t.tuning {
		all = append(all, "tuning "+how)
	}
	for _, g := range t.grants {
		all = append(all, fmt.Sprint("grant ", g))
	}
	for _, q := range t.sequence {
		if q.identity {
			all = append(all, fmt.Sprint("identity ", q.column, " ", q.options, q.grants))
		}
	}
	all = append(all, fmt.Sprint("owner ", t.owner, " replica ", t.replica, " comment ", t.comment, " security ", t.security, " ", t.create, " ", t.unlogged))
	return all
}

// Shape returns the structure of an archived table, and whether there is one.
func (s *postgres) Shape(ctx context.Context, q Querier, name string) (archive.Structure, bool, error) {
	t, err := s.read(ctx, q, name, s.readColumns, s.readIndexes)
	if err != nil || t == nil {
		return archive.Structure{}, false, err
	}
	return t.Structure, true, nil
}
