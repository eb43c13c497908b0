package closing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
)

// bare runs a test on an empty database of every engine.
func bare(t *testing.T, test func(b *anyBase)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			b := &anyBase{T: t, engine: e, ids: map[string]int64{}}
			b.url, b.db = e.make(t)
			test(b)
		})
	}
}

// family parses one.
func family(t *testing.T, text string) *archive.Family {
	t.Helper()
	f, err := archive.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// named wants verify, plan and run to name exactly what is in want, each by its
// rule and words, and to say nothing else.
func (b *anyBase) named(about string, end int64, want ...string) {
	b.Helper()
	s := b.session()
	defer s.Close()
	judge := func(verb string, all []archive.Broken, err error) {
		b.Helper()
		var r *closing.Refusal
		if errors.As(err, &r) {
			all, err = r.Broken, nil
		}
		matched := err == nil && len(all) == len(want)
		for i := range min(len(all), len(want)) {
			matched = matched && strings.Contains(all[i].String(), want[i])
		}
		if !matched {
			b.Errorf("%s: %s says %v, %v\nwant %q", about, verb, all, err, want)
		}
	}
	all, _, err := closing.Verify(context.Background(), s, b.f)
	judge("verify", all, err)
	_, err = closing.Preview(context.Background(), s, b.f, end)
	judge("plan", nil, err)
	_, err = closing.Run(context.Background(), s, b.f, closing.Options{End: end})
	judge("run", nil, err)
}

// unfitTypes are columns that cannot be keys or dates, by engine: unit, key,
// date, the literal of a date, and what is said of them.
var unfitTypes = map[string][][5]string{
	"PostgreSQL": {
		{"unix", "integer", "timestamp", "now()", `column "d", its date, is of type timestamp without time zone: with "unit": "unix", dates must be whole numbers, seconds since 1970: say "unit": "time"`},
		{"unix", "integer", "timestamptz(3)", "now()", `is of type timestamp(3) with time zone: with "unit": "unix", dates must be whole numbers, seconds since 1970: say "unit": "time"`},
		{"unix", "integer", "date", "now()", `say "unit": "time"`},
		{"unix", "integer", "text", "'1700000000'", `column "d", its date, is of type text: with "unit": "unix", dates must be whole numbers`},
		{"unix", "integer", "time", "'10:00'", `is of type time without time zone: `},
		{"unix", "integer", "double precision", "1700000000.5", `is of type double precision: `},
		{"unix", "integer", "numeric", "1700000000.5", `is of type numeric: `},
		{"unix", "integer", "numeric(12,2)", "1700000000.5", `is of type numeric(12,2): `},
		{"unix", "integer", "integer[]", "'{1}'", `is of type integer[]: `},
		{"unix", "uuid DEFAULT gen_random_uuid()", "integer", "1700000000", `column "id", its key, is of type uuid: a key must be a whole number (integer or bigint)`},
		{"unix", "varchar(9) DEFAULT 'a'", "integer", "1700000000", `column "id", its key, is of type character varying(9): `},
		{"time", "integer", "bigint", "1700000000", `with "unit": "time", dates must be of type timestamp, datetime or date: say "unit": "unix"`},
		{"time", "integer", "text", "'2023-11-14'", `is of type text: with "unit": "time", dates must be of type timestamp`},
	},
	"MariaDB": {
		{"unix", "integer", "datetime", "'2023-11-14'", `column "d", its date, is of type datetime: with "unit": "unix", dates must be whole numbers, seconds since 1970: say "unit": "time"`},
		{"unix", "integer", "timestamp", "'2023-11-14'", `say "unit": "time"`},
		{"unix", "integer", "varchar(20)", "'1700000000'", `is of type varchar(20): `},
		{"unix", "integer", "double", "1700000000.5", `is of type double: `},
		{"unix", "integer", "decimal(12,2)", "1700000000.5", `is of type decimal(12,2): `},
		{"unix", "integer", "year", "2023", `is of type year(4): `},
		{"unix", "varchar(36) DEFAULT 'a'", "integer", "1700000000", `column "id", its key, is of type varchar(36): a key must be`},
		{"unix", "uuid DEFAULT uuid()", "integer", "1700000000", `column "id", its key, is of type uuid: `},
		{"time", "integer", "bigint unsigned", "1700000000", `say "unit": "unix"`},
		{"time", "integer", "time", "'10:00'", `is of type time: with "unit": "time", dates must be of type`},
	},
	"SQLite": {
		{"unix", "integer", "TEXT", "'1700000000'", `is of type TEXT: with "unit": "unix", dates must be whole numbers, seconds since 1970`},
		{"unix", "integer", "REAL", "1700000000.5", `is of type REAL: `},
		{"unix", "TEXT DEFAULT 'a'", "integer", "1700000000", `column "id", its key, is of type TEXT: `},
		{"time", "integer", "INTEGER", "1700000000", `say "unit": "unix"`},
		{"time", "integer", "double", "1.5", `is of type double: `},
	},
}

// TestUnfitTypes wants the types of keys and dates judged before anything is
// asked or made.
func TestUnfitTypes(t *testing.T) {
	bare(t, func(b *anyBase) {
		for _, unit := range []string{"unix", "time"} {
			var members, want []string
			for i, c := range unfitTypes[b.name] {
				if c[0] != unit {
					continue
				}
				id := c[1] + " NOT NULL"
				if !strings.Contains(id, "DEFAULT") {
					id += " DEFAULT 1"
				}
				b.exec(fmt.Sprintf("CREATE TABLE t%d (id %s, d %s)", i, id, c[2]))
				b.exec(fmt.Sprintf("INSERT INTO t%d (d) VALUES (%s)", i, c[3]))
				members = append(members, fmt.Sprintf(`{"type": %d, "name": "t%d", "date": "d"}`, i+1, i))
				want = append(want, c[4])
			}
			b.f = family(b.T, fmt.Sprintf(`{"name": "f", "unit": %q, "tables": [%s]}`, unit, strings.Join(members, ", ")))
			b.named(unit, 0, want...)
		}
	})
}

// fitTypes are those that can be.
var fitTypes = map[string][][4]string{
	"PostgreSQL": {{"unix", "bigint", "numeric(12,0)", "1700000000"}, {"unix", "numeric(20)", "smallint", "17"}, {"unix", "seconds", "seconds", "1700000000"},
		{"time", "integer", "timestamp(0)", "'2023-11-14'"}, {"time", "integer", "timestamptz", "'2023-11-14'"}, {"time", "smallint", "date", "'2023-11-14'"}},
	"MariaDB": {{"unix", "bigint unsigned", "int unsigned", "1700000000"}, {"unix", "decimal(20,0)", "decimal(12,0)", "1700000000"}, {"unix", "mediumint", "bigint unsigned", "1700000000"},
		{"time", "integer", "datetime(6)", "'2023-11-14'"}, {"time", "integer", "date", "'2023-11-14'"}, {"time", "integer", "timestamp", "'2023-11-14'"}},
	"SQLite": {{"unix", "bigint", "", "1700000000"}, {"unix", "numeric", "decimal(12,0)", "1700000000"}, {"time", "int", "DATETIME", "'2023-11-14 10:00:00'"},
		{"time", "int", "text", "'2023-11-14T10:00:00Z'"}, {"time", "int", "", "'2023-11-14'"}},
}

// TestFitTypes closes a period of each.
func TestFitTypes(t *testing.T) {
	bare(t, func(b *anyBase) {
		if b.name == "PostgreSQL" {
			b.exec("CREATE DOMAIN seconds AS bigint CHECK (value > 0)")
		}
		for i, c := range fitTypes[b.name] {
			name := fmt.Sprintf("t%d", i)
			b.exec(fmt.Sprintf("CREATE TABLE %s (id %s NOT NULL, d %s, n integer)", name, c[1], c[2]))
			b.exec(fmt.Sprintf("CREATE INDEX %[1]s_id ON %[1]s (id)", name))
			b.exec(fmt.Sprintf("INSERT INTO %s VALUES (1, %s, 7)", name, c[3]))
			b.f = family(b.T, fmt.Sprintf(`{"name": %[1]q, "catalogue": "c%[1]s", "unit": %[2]q, "tables": [{"type": 1, "name": %[1]q, "date": "d", "id_order": true}]}`, name, c[0]))
			if r := b.must(0); r.Tables[0].Filed != 1 {
				b.Errorf("%v: got %+v", c, r)
			}
			b.sound()
		}
	})
}

// oddRow is a row that no closing can work with.
type oddRow struct {
	unit, key, date string // the types of columns
	good, odd       string // values of both
	want            string
}

const (
	noSeconds = "date: t%d: rows have no date: it is NULL, or no whole number of seconds"
	noMoment  = "date: t%d: rows have no date: it is NULL, or no moment"
	noKey     = `tables: t%d: 1 rows have no key: column "id" is NULL in them, or no whole number`
)

var oddRows = map[string][]oddRow{
	"PostgreSQL": {
		{"unix", "integer NOT NULL", "integer", "1, 1700000000", "2, NULL", noSeconds + " (keys 2)"},
		{"unix", "integer NOT NULL", "numeric(20)", "1, 1700000000", "2, 10000000000000000000", noSeconds + " (keys 2)"},
		{"time", "integer NOT NULL", "timestamp", "1, '2023-11-14'", "2, NULL", noMoment + " (keys 2)"},
		{"time", "integer NOT NULL", "timestamptz", "1, '2023-11-14'", "2, 'infinity'", noMoment + " (keys 2)"},
		{"time", "integer NOT NULL", "date", "1, '2023-11-14'", "2, '-infinity'", noMoment + " (keys 2)"},
		{"unix", "integer", "integer", "1, 1700000000", "NULL, 1700000150", noKey},
		{"unix", "numeric(20)", "integer", "1, 1700000000", "10000000000000000000, 1700000150", noKey},
	},
	"MariaDB": {
		{"unix", "integer NOT NULL", "integer", "1, 1700000000", "2, NULL", noSeconds + " (keys 2)"},
		{"unix", "integer NOT NULL", "bigint unsigned", "1, 1700000000", "2, 10000000000000000000", noSeconds + " (keys 2)"},
		{"time", "integer NOT NULL", "datetime", "1, '2023-11-14'", "2, NULL", noMoment + " (keys 2)"},
		{"time", "integer NOT NULL", "datetime", "1, '2023-11-14'", "2, '0000-00-00'", noMoment + " (keys 2)"},
		{"unix", "integer", "integer", "1, 1700000000", "NULL, 1700000150", noKey},
		{"unix", "bigint unsigned NOT NULL", "integer", "1, 1700000000", "18446744073709551615, 1700000150", noKey},
	},
	"SQLite": {
		{"unix", "integer NOT NULL", "integer", "1, 1700000000", "2, NULL", noSeconds + " (keys 2)"},
		{"unix", "integer NOT NULL", "integer", "1, 1700000000", "2, 'x'", noSeconds + " (keys 2)"},
		{"unix", "integer NOT NULL", "integer", "1, 1700000000", "2, 1700000150.5", noSeconds + " (keys 2)"},
		{"unix", "integer NOT NULL", "", "1, 1700000000", "2, '1700000000'", noSeconds + " (keys 2)"},
		{"time", "integer NOT NULL", "datetime", "1, '2023-11-14'", "2, NULL", noMoment + " (keys 2)"},
		{"time", "integer NOT NULL", "text", "1, '2023-11-14'", "2, 'soon'", noMoment + " (keys 2)"},
		{"unix", "integer", "integer", "1, 1700000000", "NULL, 1700000150", noKey},
		{"unix", "integer NOT NULL", "integer", "1, 1700000000", "'x', 1700000150", noKey},
	},
}

// TestOddRows wants rows that no closing can work with named before anything is
// closed, and behind a closing, whatever becomes of late rows.
func TestOddRows(t *testing.T) {
	bare(t, func(b *anyBase) {
		for i, c := range oddRows[b.name] {
			late := []string{archive.LateName, archive.LateRoute, archive.LateCurrent, archive.LateReject}[i%4]
			b.exec(fmt.Sprintf("CREATE TABLE t%d (id %s, d %s)", i, c.key, c.date))
			b.exec(fmt.Sprintf("CREATE INDEX t%[1]d_id ON t%[1]d (id)", i))
			b.f = family(b.T, fmt.Sprintf(`{"name": "f%[1]d", "catalogue": "c%[1]d", "unit": %[2]q, "late": %[3]q, "tables": [{"type": 1, "name": "t%[1]d", "date": "d", "id_order": true}]}`, i, c.unit, late))
			about, want := fmt.Sprintf("%+v", c), fmt.Sprintf(c.want, i)
			b.exec(fmt.Sprintf("INSERT INTO t%d VALUES (%s)", i, c.odd))
			b.named(about, 0, want)
			b.exec(fmt.Sprintf("DELETE FROM t%d", i))
			b.exec(fmt.Sprintf("INSERT INTO t%d VALUES (%s)", i, c.good))
			b.must(epoch + 100)
			b.sound()
			b.exec(fmt.Sprintf("INSERT INTO t%d VALUES (%s)", i, c.odd))
			b.named(about+" behind a closing", epoch+200, want)
			b.exec(fmt.Sprintf("DELETE FROM t%d", i))
			b.sound()
		}
	})
}

// TestUndatedParent wants the row without a date named, and not its children,
// whose parent is there.
func TestUndatedParent(t *testing.T) {
	each(t, func(b *anyBase) {
		b.fill(epoch, epoch+49)
		b.must(epoch + 29)
		b.exec("INSERT INTO invoices (id) VALUES (900001)")
		b.exec("INSERT INTO invoice_entry (id, invoice_id) VALUES (900001, 900001)")
		b.exec("INSERT INTO invoice_entry_details (id, entry_id) VALUES (900001, 900001)")
		b.named("no date", epoch+39, "date: invoices: rows have no date: it is NULL, or no whole number of seconds (keys 900001)")
		b.exec("UPDATE invoices SET invoice_date = 1700000049 WHERE id = 900001")
		b.must(epoch + 39)
		b.sound()
	})
}

// TestConditions wants what is no SQL for the database named, and nothing asked
// by it, whatever becomes of late rows.
func TestConditions(t *testing.T) {
	each(t, func(b *anyBase) {
		b.fill(epoch, epoch+49)
		b.must(epoch + 29)
		payments := b.f.Table("payment_transactions")
		for i, condition := range []string{"method IS NOT", "no_such_column = 1", "no_such_function(id) = 1", "1 = 1) OR ("} {
			payments.FinalWhen, b.f.Late = condition, []string{archive.LateName, archive.LateRoute, archive.LateCurrent, archive.LateReject}[i]
			b.named(condition, epoch+39, `tables: payment_transactions: the database does not understand "final_when": `+condition+": ")
			s := b.session()
			if _, err := closing.Gaps(context.Background(), s, b.f); !refuses(err, archive.RuleTables) {
				b.Errorf("%s: backfill says %v", condition, err)
			}
			s.Close()
		}
		payments.FinalWhen, b.f.Late = "method IS NULL", archive.LateName
		b.must(epoch + 39)
		b.sound()
	})
}

// TestNoTables wants what is no plain table named for what it is, and nothing
// else said of it or of its children.
func TestNoTables(t *testing.T) {
	kinds := map[string]map[string]string{
		"PostgreSQL": {
			"CREATE VIEW t AS SELECT 1 AS id, 1700000000 AS d":                                                                               "it is not a plain table",
			"CREATE TABLE t (id integer, d integer) PARTITION BY RANGE (d)":                                                                  "it is not a plain table",
			"CREATE MATERIALIZED VIEW t AS SELECT 1 AS id, 1700000000 AS d":                                                                  "it is not a plain table",
			"CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE t (id integer, d integer) SERVER s": "it is not a plain table",
		},
		"MariaDB": {
			"CREATE VIEW t AS SELECT 1 AS id, 1700000000 AS d":                       "it is not a plain table: view",
			"CREATE TABLE t (id integer NOT NULL, d integer) WITH SYSTEM VERSIONING": "it is not a plain table: system versioned",
			"CREATE TABLE t (id integer NOT NULL, d integer) PARTITION BY HASH (id)": "it is partitioned",
			"CREATE TABLE t (id integer NOT NULL, d integer) ENGINE=MyISAM":          "its engine, MyISAM, has no transactions",
		},
		"SQLite": {"CREATE VIEW t AS SELECT 1 AS id, 1700000000 AS d": "it is not a plain table"},
	}
	bare(t, func(b *anyBase) {
		b.f = family(b.T, `{"name": "f", "tables": [{"type": 1, "name": "t", "date": "d"}, {"type": 2, "name": "leg", "parent": "t", "parent_key": "t_id"}, {"type": 3, "name": "toe", "parent": "leg", "parent_key": "leg_id"}]}`)
		b.exec("CREATE TABLE leg (id " + b.id + ", t_id integer)")
		b.exec("CREATE TABLE toe (id " + b.id + ", leg_id integer)")
		b.exec("INSERT INTO leg (t_id) VALUES (1)")
		b.exec("INSERT INTO toe (leg_id) VALUES (1)")
		b.named("nothing", 0, "tables: t: there is no such table")
		for make, want := range kinds[b.name] {
			b.exec(make)
			if strings.Contains(want, "plain") {
				b.named(make, 0, "tables: t: "+want)
			} else { // its rows can be asked for
				b.named(make, 0, "tables: t: "+want, "parent: leg: rows have no parent in the current t (keys 1)")
			}
			kind := strings.TrimPrefix(make[strings.LastIndex(make, "CREATE "):], "CREATE ")
			for _, word := range []string{"VIEW", "TABLE", "MATERIALIZED VIEW", "FOREIGN TABLE"} {
				if strings.HasPrefix(kind, word+" ") {
					b.exec("DROP " + word + " t")
				}
			}
		}
	})
}
