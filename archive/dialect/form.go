package dialect

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/archive"
	"holdfast/internal/fault"
)

// former stores archived tables in another form: each is copied into a new table,
// which then takes its name.
type former interface {
	// Forms refuses a form that the database does not have.
	Forms(ctx context.Context, q Querier, form archive.Form) error
	// Formed reports whether an archived table is stored in that form.
	Formed(ctx context.Context, q Querier, archived string, form archive.Form) (bool, error)
	// Reform returns the statements that store archived tables, parents first, in
	// another form.
	Reform(ctx context.Context, q Querier, c Change) (Reform, error)
	// Filed describes what a current table will be once it is archived at stamp.
	Filed(t *Table, stamp int64) *Table
	// Transacts reports whether rows of an archived table can be moved in a
	// transaction.
	Transacts(ctx context.Context, q Querier, archived string) (bool, error)
}

// A Change is the tables of one archive that are to be stored in another form.
type Change struct {
	Form     archive.Form
	Stamp    int64               // of this change alone
	Filed    []*Table            // that are changed, parents first
	Current  []*Table            // all of the family, for the views
	Archived map[string][]string // by the name of the current table, for the views
}

// Reform is how archived tables get another form.
type Reform struct {
	Undo     []string            // takes away what Copy and Fasten made
	Copy     map[string][]string // makes the new table and fills it, by the name of the old one
	Fasten   []string            // gives the new tables what belongs to them; nothing more is written to them behind it
	Exchange []string            // puts them in place: in one transaction, or one statement
	After    []string            // frees what the old ones took; may be run again
}

// Formed is what an archived table is called until it takes its name.
func Formed(archived string) string { return archived + "_new" }

// Left is what an archived table is called once another has its name.
func Left(archived string) string { return out(archived) }

// Forms refuses every form: there is nothing to choose.
func (*lite) Forms(context.Context, Querier, archive.Form) error {
	return fault.New(fault.FeatureNotSupported, "SQLite stores all tables of a file alike: it has neither engines nor compression nor tablespaces").
		WithHint(`leave "archives" out; archive drop removes old archives, and VACUUM gives back what they took`)
}

// Formed reports that a table is as it is.
func (*lite) Formed(context.Context, Querier, string, archive.Form) (bool, error) { return true, nil }

// Reform changes nothing.
func (*lite) Reform(context.Context, Querier, Change) (Reform, error) { return Reform{}, nil }

// Filed describes the table as it is: nothing of it is ever changed.
func (*lite) Filed(t *Table, _ int64) *Table { return t }

// Transacts reports that all tables have transactions.
func (*lite) Transacts(context.Context, Querier, string) (bool, error) { return true, nil }

// Transacts reports that all tables have transactions.
func (*postgres) Transacts(context.Context, Querier, string) (bool, error) { return true, nil }

// Transacts looks at the engine of the table.
func (m *mariadb) Transacts(ctx context.Context, q Querier, archived string) (bool, error) {
	t, err := m.read(ctx, q, archived)
	return t != nil && !slices.ContainsFunc(t.Unfit, func(why string) bool { return strings.HasPrefix(why, "its engine") }), err
}

// Filed gives the table its archived name, and to foreign keys those that they
// take on with it.
func (m *mariadb) Filed(t *Table, stamp int64) *Table {
	filed := *t
	filed.Name, filed.keys = Archived(t.Name, stamp), slices.Clone(t.keys)
	for i, k := range filed.keys {
		if rest, given := strings.CutPrefix(k.name, t.Name+"_ibfk_"); given {
			filed.keys[i].name = filed.Name + "_ibfk_" + rest
		}
	}
	return &filed
}

// Forms knows InnoDB, Aria, and how InnoDB compresses.
func (m *mariadb) Forms(ctx context.Context, q Querier, form archive.Form) error {
	inno := form.Engine == "" || form.Engine == archive.EngineInnoDB
	switch {
	case form.Engine == "myisam":
		return fault.New(fault.FeatureNotSupported, "MyISAM flushes nothing that it writes: a power cut could lose an archive that was copied").
			WithHint("engine aria stores the same way, and is flushed before the archive is exchanged")
	case form.Engine == "archive":
		return fault.New(fault.FeatureNotSupported, "MariaDB's engine ARCHIVE keeps no indexes, which an archived table must have").
			WithHint("engine aria, or compress: page")
	case form.Tablespace != "":
		return fault.New(fault.FeatureNotSupported, "MariaDB has no tablespaces to choose from").WithHint("engine or compress")
	case form.Compress == archive.CompressLZ4 || form.Compress == archive.CompressPGLZ:
		return fault.New(fault.FeatureNotSupported, "compress: %s is PostgreSQL's", form.Compress).WithHint("compress: page or compress: row")
	case !inno && form.Compress != "":
		return fault.New(fault.FeatureNotSupported, "engine %s does not compress", form.Engine).WithHint("engine innodb, which is what is taken where no engine is named")
	case form.Compress == "":
		return nil
	}
	rows, err := Rows(ctx, q, "SELECT @@innodb_file_per_table, @@innodb_read_only_compressed")
	switch {
	case err != nil:
		return err
	case rows[0][0] != "1":
		return fault.New(fault.FeatureNotSupported, "innodb_file_per_table is off, and so InnoDB does not compress").WithHint("SET GLOBAL innodb_file_per_table = 1")
	case form.Compress == archive.CompressRow && rows[0][1] == "1":
		return fault.New(fault.FeatureNotSupported, "innodb_read_only_compressed is on: nobody can write a table with ROW_FORMAT=COMPRESSED").WithHint("compress: page")
	}
	return nil
}

// options are those of a table in that form, whichever it had.
func (*mariadb) options(form archive.Form) string {
	switch {
	case form.Engine == archive.EngineAria:
		return "ENGINE=Aria TRANSACTIONAL=1 ROW_FORMAT=PAGE"
	case form.Compress == archive.CompressPage:
		return "TRANSACTIONAL=DEFAULT ENGINE=InnoDB ROW_FORMAT=DYNAMIC PAGE_COMPRESSED=1"
	case form.Compress == archive.CompressRow:
		return "TRANSACTIONAL=DEFAULT ENGINE=InnoDB ROW_FORMAT=COMPRESSED"
	}
	return "TRANSACTIONAL=DEFAULT ENGINE=InnoDB ROW_FORMAT=DYNAMIC"
}

// Formed looks at the engine of the table and at its options.
func (m *mariadb) Formed(ctx context.Context, q Querier, archived string, form archive.Form) (bool, error) {
	schema, table := m.split(archived)
	rows, err := Rows(ctx, q, "SELECT LOWER(ENGINE), LOWER(ROW_FORMAT), LOWER(CREATE_OPTIONS) FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?", schema, table)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	engine, format, paged := rows[0][0], rows[0][1], strings.Contains(rows[0][2], "page_compressed")
	switch {
	case form.Engine == archive.EngineAria:
		return engine == archive.EngineAria, nil
	case engine != archive.EngineInnoDB:
		return false, nil
	case form.Compress == archive.CompressPage:
		return paged, nil
	case form.Compress == archive.CompressRow:
		return format == "compressed", nil
	}
	return format != "compressed" && !paged, nil
}

// Reform copies rows by one statement: Aria flushes a table that was empty
// before it at its end.
func (m *mariadb) Reform(_ context.Context, _ Querier, c Change) (r Reform, err error) {
	r.Copy = map[string][]string{}
	news := map[string]string{}
	for _, t := range c.Filed {
		news[t.regclass] = Formed(t.Name)
	}
	var pairs []string
	for _, t := range c.Filed {
		old, name := m.Quote(t.Name), m.Quote(Formed(t.Name))
		var columns []string
		for _, col := range t.columns {
			if col.generated == "" {
				columns = append(columns, m.Column(col.name))
			}
		}
		list := strings.Join(columns, ", ")
		r.Copy[t.Name] = []string{"CREATE TABLE " + name + " LIKE " + old}
		for _, one := range [][2]string{{"PAGE_COMPRESSED", "=DEFAULT"}, {"KEY_BLOCK_SIZE", "=0 ROW_FORMAT=DYNAMIC"}} {
			if strings.Contains(strings.ToUpper(t.create[strings.LastIndex(t.create, "\n")+1:]), one[0]) { // another engine refuses the word, whatever it says
				r.Copy[t.Name] = append(r.Copy[t.Name], "ALTER TABLE "+name+" "+one[0]+one[1])
			}
		}
		r.Copy[t.Name] = append(r.Copy[t.Name], "ALTER TABLE "+name+" "+m.options(c.Form),
			fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s", name, list, list, old))
		r.Fasten = append(r.Fasten, m.fasten(t, c, news)...)
		pairs = append(pairs, old+" TO "+m.Quote(Left(t.Name)), name+" TO "+old)
	}
	for _, t := range slices.Backward(c.Filed) {
		r.Undo = append(r.Undo, "DROP TABLE IF EXISTS "+m.Quote(Formed(t.Name)))
		r.After = append(r.After, "DROP TABLE IF EXISTS "+m.Quote(Left(t.Name)))
	}
	for _, t := range c.Filed { // their names are free now
		r.After = append(r.After, m.ReadOnly(t, t.Name)...)
		for i := range events {
			r.After = append(r.After, "DROP TRIGGER IF EXISTS "+m.Quote(formKeeper(t.Name, i)))
		}
	}
	r.Exchange = []string{"RENAME TABLE " + strings.Join(pairs, ", ")}
	return r, nil
}

// formKeeper is the name of a trigger that keeps a new table as it is until the old
// one, whose triggers have the names that are meant, is gone.
func formKeeper(archived string, i int) string { return archived + "_rn" + strconv.Itoa(i+1) }

// fasten gives a new table its foreign keys, where its engine has any, and keeps
// it from being written to.
func (m *mariadb) fasten(t *Table, c Change, news map[string]string) (all []string) {
	name := m.Quote(Formed(t.Name))
	var keys []string
	for _, k := range t.keys {
		if strings.HasPrefix(k.target, "<") || c.Form.Engine == archive.EngineAria {
			continue
		}
		text, named := k.text, ""
		if to, ours := news[k.target]; ours {
			text = strings.Replace(text, " REFERENCES "+m.Column(k.target)+" (", " REFERENCES "+m.Column(to)+" (", 1)
		}
		if rest, given := strings.CutPrefix(k.name, t.Name+"_ibfk_"); !given || strings.Trim(rest, "0123456789") != "" {
			named = "CONSTRAINT " + m.Column(renamed(k.name, c.Stamp)) + " "
		}
		keys = append(keys, "ADD "+named+text)
	}
	if len(keys) > 0 {
		all = append(all, "ALTER TABLE "+name+" "+strings.Join(keys, ", "))
	}
	for i := range events {
		all = append(all, m.keeper(formKeeper(t.Name, i), i, Formed(t.Name), t.Name))
	}
	return all
}
