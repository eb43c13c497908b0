package closing_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
)

// spoilt is a rule that is broken on purpose.
type spoilt struct {
	name        string
	spoil, mend func(b *anyBase)
	want        []archive.Rule // all that is named, and nothing else
	table, word string         // what the first of them says: the table, and a key or another word
}

// TestEachRuleBroken closes two periods, breaks each rule of the manual by hand,
// one at a time, and wants verify to name the rule and the rows, and run to refuse
// and to leave nothing behind. Each is put right again; in the end all rules hold,
// and the next period can be closed.
func TestEachRuleBroken(t *testing.T) {
	each(t, func(b *anyBase) {
		t := b.T
		b.exec("CREATE TABLE archives (id " + b.id + ", archive_id integer, table_type integer, table_name varchar(255), start_date integer, end_date integer)") // the vendor's own
		b.fill(epoch, epoch+299)
		first, second := b.must(epoch+99), b.must(epoch+199)
		b.sound()
		s, before := b.session(), b.relations()
		for _, one := range b.spoilt(first, second) {
			one.spoil(b)
			with := b.relations()
			_, err := closing.Run(context.Background(), s, b.f, closing.Options{End: epoch + 250})
			var refused *closing.Refusal
			if !errors.As(err, &refused) || !slices.ContainsFunc(refused.Broken, one.tells) {
				t.Fatalf("%s: run does not refuse with %s and %q: %v, %+v", one.name, one.want[0], one.word, err, refused)
			}
			found := refused.Broken // a run begins with what verify does
			if b.name != "PostgreSQL" || long() {
				if found, _, err = closing.Verify(context.Background(), s, b.f); err != nil {
					t.Fatalf("%s: %v", one.name, err)
				}
			}
			rules := map[archive.Rule]bool{}
			for _, f := range found {
				rules[f.Rule] = true
			}
			if !slices.ContainsFunc(found, one.tells) || len(rules) != len(one.want) || slices.ContainsFunc(one.want, func(r archive.Rule) bool { return !rules[r] }) {
				t.Errorf("%s: verify says %v; want %v, and of %s %q", one.name, found, one.want, one.table, one.word)
			}
			if now := b.relations(); now != with {
				t.Errorf("%s: a run that refused left %d tables where %d were", one.name, now, with)
			}
			one.mend(b)
			if b.relations() != before {
				t.Fatalf("%s: it was not put right", one.name)
			}
		}
		s.Close()
		b.sound()
		if r := b.must(epoch + 250); r.Archive != 3 {
			t.Errorf("got %+v", r)
		}
		b.sound()
	})
}

// spoilt returns each rule of the manual, numbered as in the requirements, broken
// in each way that it can be.
func (b *anyBase) spoilt(first, second *closing.Result) []spoilt {
	one, two := func(table string) string { return archived(first, table) }, func(table string) string { return archived(second, table) }
	do := func(statements ...string) func(*anyBase) {
		return func(b *anyBase) {
			for _, s := range statements {
				b.exec(s)
			}
		}
	}
	inside := func(table, statement string) func(*anyBase) {
		return func(b *anyBase) { b.inside(table, "UPDATE "+table+" SET "+statement) }
	}
	key := func(query string) string { return fmt.Sprint(b.number(query)) }
	charges, twins, log := "discount_transactions_all", "discount_transactions_iptraffic_all", "user_log"
	twin, other := key("SELECT max(id) FROM "+twins), key("SELECT max(id) FROM "+charges+" WHERE service_type <> 3")
	moved, paid := key("SELECT min(id) FROM "+two(log)), key("SELECT max(id) FROM "+two("payment_transactions"))
	child, grand := key("SELECT min(id) FROM "+two("dhs_sessions_detail")), key("SELECT min(id) FROM "+two("invoice_entry_details"))
	owner, entry := key("SELECT min(dhs_sess_id) FROM "+two("dhs_sessions_detail")), key("SELECT min(entry_id) FROM "+two("invoice_entry_details"))
	only := func(r ...archive.Rule) []archive.Rule { return r }
	return []spoilt{
		{"I1: a twin that differs", do("UPDATE " + twins + " SET discount = discount + 1 WHERE id = " + twin), do("UPDATE " + twins + " SET discount = discount - 1 WHERE id = " + twin),
			only(archive.RuleMirror), charges, twin},
		{"I1: no twin", do("UPDATE " + charges + " SET service_type = 3 WHERE id = " + other), do("UPDATE " + charges + " SET service_type = 0 WHERE id = " + other),
			only(archive.RuleMirror), charges, other},
		{"I1: a twin alone", do("UPDATE " + charges + " SET service_type = 0 WHERE id = " + twin), do("UPDATE " + charges + " SET service_type = 3 WHERE id = " + twin),
			only(archive.RuleMirror), twins, twin},
		{"I1: no twin in an archive", inside(one(charges), "service_type = 3 WHERE id = 1"), inside(one(charges), "service_type = 0 WHERE id = 1"),
			only(archive.RuleMirror, archive.RuleDigest), charges, "archive 1: rows have no twin in discount_transactions_iptraffic_all with the same id, discount_date, discount (keys 1)"},
		{"I2: archive_id 0", do("UPDATE archives SET archive_id = 0 WHERE archive_id = 1"), do("UPDATE archives SET archive_id = 1 WHERE archive_id = 0"),
			only(archive.RuleCatalogue), one(log), "archive_id is 0"},
		{"I2: not common", do("UPDATE archives SET archive_id = 5 WHERE table_name = '" + two(log) + "'"), do("UPDATE archives SET archive_id = 2 WHERE archive_id = 5"),
			only(archive.RuleTogether, archive.RuleWindow), log, "archive 2 lists it 0 times"},
		{"I2: not listed", do("UPDATE archives SET table_type = 99 WHERE table_name = '" + one(log) + "'"), do("UPDATE archives SET table_type = 8 WHERE table_name = '" + one(log) + "'"),
			only(archive.RuleCatalogue, archive.RuleTogether), one(log), "type 99"},
		{"I2: listed, not there", do("ALTER TABLE " + one("dhcp_leases_log") + " RENAME TO elsewhere"), do("ALTER TABLE elsewhere RENAME TO " + one("dhcp_leases_log")),
			only(archive.RuleCatalogue), one("dhcp_leases_log"), "there is no such table"},
		{"I2: there, not listed", do("CREATE TABLE user_log_1600000000 (id integer)"), do("DROP TABLE user_log_1600000000"),
			only(archive.RuleCatalogue), "user_log_1600000000", "does not list it"},
		{"I3: a column more", do("ALTER TABLE user_log ADD COLUMN more integer"), do("ALTER TABLE user_log DROP COLUMN more"),
			only(archive.RuleStructure), two(log), "more"},
		{"I3: an index more", do("CREATE INDEX more ON user_log (who)"), do(b.unindex("more", log)),
			only(archive.RuleStructure), two(log), "who"},
		{"I4: outside the window", inside(two(log), "date = date - 100 WHERE id = "+moved), inside(two(log), "date = date + 100 WHERE id = "+moved),
			only(archive.RuleWindow, archive.RuleDigest), two(log), moved},
		{"I4: the end a second early", do("UPDATE archives SET end_date = end_date - 1 WHERE archive_id = 2"), do("UPDATE archives SET end_date = end_date + 1 WHERE archive_id = 2"),
			only(archive.RuleWindow), two(charges), "200"},
		{"I4: a hole between archives", do("UPDATE archives SET start_date = start_date + 1 WHERE archive_id = 2"), do("UPDATE archives SET start_date = start_date - 1 WHERE archive_id = 2"),
			only(archive.RuleWindow), "", "no archive holds what lies between"},
		{"I4: archives overlap", do("UPDATE archives SET start_date = start_date - 1 WHERE archive_id = 2"), do("UPDATE archives SET start_date = start_date + 1 WHERE archive_id = 2"),
			only(archive.RuleWindow), "", "overlaps"},
		{"I5: a late row", do(fmt.Sprintf("INSERT INTO user_log (id, date) VALUES (900001, %d)", epoch+199)), do("DELETE FROM user_log WHERE id = 900001"),
			only(archive.RuleComplete), log, "900001"},
		{"I5: a row gone from an archive", func(b *anyBase) {
			b.exec("CREATE TABLE aside AS SELECT * FROM " + one(log) + " WHERE id = 1")
			b.inside(one(log), "DELETE FROM "+one(log)+" WHERE id = 1")
		}, func(b *anyBase) {
			b.inside(one(log), "INSERT INTO "+one(log)+" SELECT * FROM aside")
			b.exec("DROP TABLE aside")
		}, only(archive.RuleDigest), one(log), "holds 49 rows"},
		{"I6: another end", do("UPDATE archives SET end_date = end_date - 1 WHERE table_name = '" + two("invoices") + "'"), do("UPDATE archives SET end_date = end_date + 1 WHERE table_name = '" + two("invoices") + "'"),
			only(archive.RuleTogether), two("invoices"), "archive 2"},
		{"I6: a type missing", do("CREATE TABLE aside AS SELECT * FROM archives", "DELETE FROM archives WHERE table_name = '"+two("invoice_entry_details")+"'"),
			do("INSERT INTO archives SELECT * FROM aside WHERE table_name = '"+two("invoice_entry_details")+"'", "DROP TABLE aside"),
			only(archive.RuleTogether, archive.RuleCatalogue), "invoice_entry_details", "archive 2 lists it 0 times"},
		{"I7: a low id", do(fmt.Sprintf("INSERT INTO payment_transactions (id, payment_enter_date, payment_absolute) VALUES (-5, %d, 1)", epoch+299)), do("DELETE FROM payment_transactions WHERE id = -5"),
			only(archive.RuleIDOrder), "payment_transactions", "-5"},
		{"I7: a low id in an archive", inside(two("payment_transactions"), "id = -7 WHERE id = "+paid), inside(two("payment_transactions"), "id = "+paid+" WHERE id = -7"),
			only(archive.RuleIDOrder, archive.RuleDigest), two("payment_transactions"), "-7"},
		{"I10: a child alone", do("INSERT INTO dhs_sessions_detail (id, dhs_sess_id) VALUES (900001, 1)"), do("DELETE FROM dhs_sessions_detail WHERE id = 900001"),
			only(archive.RuleParent), "dhs_sessions_detail", "900001"},
		{"I10: a child in another archive", inside(two("dhs_sessions_detail"), "dhs_sess_id = 1 WHERE id = "+child), inside(two("dhs_sessions_detail"), "dhs_sess_id = "+owner+" WHERE id = "+child),
			only(archive.RuleParent, archive.RuleDigest), two("dhs_sessions_detail"), child},
		{"I10: a grandchild in another archive", inside(two("invoice_entry_details"), "entry_id = 1 WHERE id = "+grand), inside(two("invoice_entry_details"), "entry_id = "+entry+" WHERE id = "+grand),
			only(archive.RuleParent, archive.RuleDigest), two("invoice_entry_details"), grand},
		{"I12: writable", do(strings.TrimSuffix(b.unlock(one("invoices")), "; ")), func(b *anyBase) { b.keep(one("invoices")) },
			only(archive.RuleReadOnly), one("invoices"), "can be written to"},
		{"no date", do("INSERT INTO user_log (id, date) VALUES (900001, NULL)"), do("DELETE FROM user_log WHERE id = 900001"),
			only(archive.RuleDate), log, "900001"},
		{"no table", do("ALTER TABLE dhcp_leases_log RENAME TO elsewhere"), do("ALTER TABLE elsewhere RENAME TO dhcp_leases_log"),
			only(archive.RuleTables), "dhcp_leases_log", "no such table"},
	}
}

// tells reports whether one line names the rule, the table, and the rows.
func (s spoilt) tells(b archive.Broken) bool {
	return b.Rule == s.want[0] && b.Table == s.table && strings.Contains(b.String(), s.word)
}

// inside changes an archived table as somebody with all rights can, and leaves it
// read-only.
func (b *anyBase) inside(table, change string) {
	b.Helper()
	var statements []string
	switch b.name {
	case "PostgreSQL":
		statements = []string{"SET session_replication_role = replica", "ALTER TABLE " + table + " DISABLE TRIGGER holdfast_archive_read_only", change,
			"ALTER TABLE " + table + " ENABLE ALWAYS TRIGGER holdfast_archive_read_only", "RESET session_replication_role"}
	case "MariaDB":
		statements = []string{"SET @holdfast_archive_move = 1, foreign_key_checks = 0", change, "SET @holdfast_archive_move = NULL, foreign_key_checks = 1"}
	default:
		texts := b.keepers(table)
		statements = []string{"PRAGMA foreign_keys = OFF"}
		for name := range texts {
			statements = append(statements, "DROP TRIGGER "+name)
		}
		statements = append(append(append(statements, change), slices.Collect(maps.Values(texts))...), "PRAGMA foreign_keys = ON")
	}
	c, err := b.db.Conn(context.Background())
	for _, one := range statements {
		if err == nil {
			_, err = c.ExecContext(context.Background(), one)
		}
	}
	if err = errors.Join(err, c.Close()); err != nil {
		b.Fatalf("%v\nin %s", err, change)
	}
}

// keepers returns the triggers that keep an archived table of SQLite as it is.
func (b *anyBase) keepers(table string) map[string]string {
	b.Helper()
	rows, err := b.db.Query(`SELECT '"' || name || '"', sql FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '` + table + `#_ro%' ESCAPE '#'`)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			b.Fatal(err)
		}
		all[name] = text
	}
	return all
}

// keep makes an archived table read-only again, which unlock has made writable.
func (b *anyBase) keep(table string) {
	b.Helper()
	switch b.name {
	case "PostgreSQL":
		b.exec("ALTER TABLE " + table + " ENABLE TRIGGER ALL")
		b.exec("ALTER TABLE " + table + " ENABLE ALWAYS TRIGGER holdfast_archive_read_only")
	case "MariaDB":
		b.exec("CREATE TRIGGER " + table + "_ro3 BEFORE DELETE ON " + table + " FOR EACH ROW " + b.body(table+"_ro2"))
	default:
		b.exec(`CREATE TRIGGER "` + table + `_ro3" BEFORE DELETE ON ` + table + ` BEGIN SELECT RAISE(ABORT, 'it can only be read'); END`)
	}
}

// body returns what a trigger of MariaDB does.
func (b *anyBase) body(trigger string) (text string) {
	b.Helper()
	if err := b.db.QueryRow("SELECT ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME = '" + trigger + "'").Scan(&text); err != nil {
		b.Fatal(err)
	}
	return text
}

// relations is how many tables and views there are.
func (b *anyBase) relations() int64 {
	return b.number(map[string]string{
		"PostgreSQL": "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace = 'public'::regnamespace",
		"MariaDB":    "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()",
		"SQLite":     "SELECT count(*) FROM sqlite_schema WHERE type IN ('table', 'view')",
	}[b.name])
}
