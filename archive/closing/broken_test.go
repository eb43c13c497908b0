package closing_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
)

// TestEachRuleBroken closes two periods, breaks one rule at a time by hand, and
// wants verify to name it and run to refuse. Each is put right again; in the
// end all rules must hold.
func TestEachRuleBroken(t *testing.T) {
	b := newBase(t)
	b.utm5(epoch, epoch+299)
	first := b.must(epoch + 99)
	second := b.must(epoch + 199)
	b.sound()
	one := func(table string) string { return archived(first, table) }
	two := func(table string) string { return archived(second, table) }
	open := func(table, change string) string {
		return fmt.Sprintf("SET session_replication_role = replica; ALTER TABLE %s DISABLE TRIGGER ALL; %s; ALTER TABLE %s ENABLE ALWAYS TRIGGER holdfast_archive_read_only; RESET session_replication_role", table, change, table)
	}
	for _, test := range []struct {
		name, spoil, mend string
		want              []archive.Rule
	}{
		{"I1: no twin", "UPDATE discount_transactions_iptraffic_all SET discount = discount + 1 WHERE id = (SELECT max(id) FROM discount_transactions_iptraffic_all)",
			"UPDATE discount_transactions_iptraffic_all SET discount = discount - 1 WHERE id = (SELECT max(id) FROM discount_transactions_iptraffic_all)",
			[]archive.Rule{archive.RuleMirror}},
		{"I1: no twin in an archive", open(one("discount_transactions_all"), "UPDATE "+one("discount_transactions_all")+" SET service_type = 3 WHERE id = 1"),
			open(one("discount_transactions_all"), "UPDATE "+one("discount_transactions_all")+" SET service_type = 0 WHERE id = 1"),
			[]archive.Rule{archive.RuleMirror, archive.RuleDigest}},
		{"I2: archive_id 0", "ALTER TABLE archives DROP CONSTRAINT archives_archive_id_check; UPDATE archives SET archive_id = 0 WHERE archive_id = 1", "UPDATE archives SET archive_id = 1 WHERE archive_id = 0", []archive.Rule{archive.RuleCatalogue}},
		{"I2: not listed", "UPDATE archives SET table_type = 99 WHERE table_name = '" + one("user_log") + "'", "UPDATE archives SET table_type = 8 WHERE table_name = '" + one("user_log") + "'",
			[]archive.Rule{archive.RuleCatalogue, archive.RuleTogether}},
		{"I2: listed, not there", "ALTER TABLE " + one("user_log") + " RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO " + one("user_log"), []archive.Rule{archive.RuleCatalogue}},
		{"I2: there, not listed", "CREATE TABLE user_log_1600000000 (LIKE user_log)", "DROP TABLE user_log_1600000000", []archive.Rule{archive.RuleCatalogue}},
		{"I3: a column more", "ALTER TABLE user_log ADD COLUMN more integer", "ALTER TABLE user_log DROP COLUMN more", []archive.Rule{archive.RuleStructure}},
		{"I3: not null", "ALTER TABLE invoices ALTER COLUMN invoice_date SET NOT NULL", "ALTER TABLE invoices ALTER COLUMN invoice_date DROP NOT NULL", []archive.Rule{archive.RuleStructure}},
		{"I3: an index less", "DROP INDEX dta_account", "CREATE INDEX dta_account ON discount_transactions_all (account_id)", []archive.Rule{archive.RuleStructure}},
		{"I4: outside the window", open(two("user_log"), "UPDATE "+two("user_log")+" SET date = date - 100"), open(two("user_log"), "UPDATE "+two("user_log")+" SET date = date + 100"),
			[]archive.Rule{archive.RuleWindow, archive.RuleDigest}},
		{"I4: end off by a second", "UPDATE archives SET end_date = end_date - 1 WHERE archive_id = 2", "UPDATE archives SET end_date = end_date + 1 WHERE archive_id = 2", []archive.Rule{archive.RuleWindow}},
		{"I4: a hole between archives", "UPDATE archives SET start_date = start_date + 1 WHERE archive_id = 2", "UPDATE archives SET start_date = start_date - 1 WHERE archive_id = 2", []archive.Rule{archive.RuleWindow}},
		{"I5: a late row", fmt.Sprintf("INSERT INTO user_log (id, date) VALUES (900001, %d)", epoch+199), "DELETE FROM user_log WHERE id = 900001", []archive.Rule{archive.RuleComplete}},
		{"I5: a row removed", open(one("user_log"), "CREATE TABLE aside AS SELECT * FROM "+one("user_log")+" WHERE id = 1; DELETE FROM "+one("user_log")+" WHERE id = 1"),
			open(one("user_log"), "INSERT INTO "+one("user_log")+" SELECT * FROM aside; DROP TABLE aside"), []archive.Rule{archive.RuleDigest}},
		{"I6: another end", "UPDATE archives SET end_date = end_date - 1 WHERE table_name = '" + two("invoices") + "'", "UPDATE archives SET end_date = end_date + 1 WHERE table_name = '" + two("invoices") + "'",
			[]archive.Rule{archive.RuleTogether}},
		{"I6: a type missing", "UPDATE archives SET archive_id = 7, start_date = start_date + 5000, end_date = end_date + 5000 WHERE table_name = '" + two("invoice_entry_details") + "'",
			"UPDATE archives SET archive_id = 2, start_date = start_date - 5000, end_date = end_date - 5000 WHERE archive_id = 7", []archive.Rule{archive.RuleTogether, archive.RuleComplete}},
		{"I7: a low id", fmt.Sprintf("INSERT INTO payment_transactions (id, payment_enter_date) VALUES (0, %d)", epoch+299), "DELETE FROM payment_transactions WHERE id = 0", []archive.Rule{archive.RuleIDOrder}},
		{"I10: a child alone", "INSERT INTO invoice_entry_details (id, entry_id) VALUES (900001, 1)", "DELETE FROM invoice_entry_details WHERE id = 900001", []archive.Rule{archive.RuleParent}},
		{"I10: a child in another archive", open(two("tel_sessions_detail"), "UPDATE "+two("tel_sessions_detail")+" SET dhs_sess_id = -dhs_sess_id"),
			open(two("tel_sessions_detail"), "UPDATE "+two("tel_sessions_detail")+" SET dhs_sess_id = -dhs_sess_id"), []archive.Rule{archive.RuleParent, archive.RuleDigest}},
		{"I12: writable", "ALTER TABLE " + one("invoices") + " DISABLE TRIGGER holdfast_archive_read_only", "ALTER TABLE " + one("invoices") + " ENABLE ALWAYS TRIGGER holdfast_archive_read_only",
			[]archive.Rule{archive.RuleReadOnly}},
		{"no table", "ALTER TABLE user_log RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO user_log", []archive.Rule{archive.RuleTables}},
	} {
		b.exec(test.spoil)
		tables := b.number("SELECT count(*) FROM pg_class")
		_, err := b.run(closing.Options{End: epoch + 250}) // which begins with what verify does
		for _, want := range test.want {
			if !refuses(err, want) {
				t.Errorf("%s: %s is not named: %v", test.name, want, err)
			}
		}
		var all *closing.Refusal
		if errors.As(err, &all) && slices.ContainsFunc(all.Broken, func(b archive.Broken) bool {
			return !slices.Contains(test.want, b.Rule) && b.Rule != archive.RuleWindow
		}) {
			t.Errorf("%s: %v is named besides %v", test.name, all.Broken, test.want)
		}
		if n := b.number("SELECT count(*) FROM pg_class"); n != tables {
			t.Errorf("%s: a run that refused left %d relations", test.name, n-tables)
		}
		b.exec(test.mend)
	}
	b.sound()
	if r := b.must(epoch + 250); r.Archive != 3 {
		t.Errorf("got %+v", r)
	}
	b.sound()
}

func archived(r *closing.Result, table string) string {
	for _, share := range r.Tables {
		if share.Table == table {
			return share.Archive
		}
	}
	return "none"
}

// TestRefusesBeforehand breaks, one at a time, what must hold of the current
// tables before anything is archived.
func TestRefusesBeforehand(t *testing.T) {
	b := newBase(t)
	b.utm5(epoch, epoch+99)
	b.exec("CREATE TABLE outside (id integer PRIMARY KEY)")
	for _, test := range []struct {
		spoil, mend, word string
		want              archive.Rule
	}{
		{"INSERT INTO tel_sessions_detail (id, dhs_sess_id) VALUES (900001, 900001)", "DELETE FROM tel_sessions_detail WHERE id = 900001", "900001", archive.RuleParent},
		{"INSERT INTO tel_sessions_detail (id, dhs_sess_id) VALUES (900001, NULL)", "DELETE FROM tel_sessions_detail WHERE id = 900001", "900001", archive.RuleParent},
		{"INSERT INTO user_log (id) VALUES (900001)", "DELETE FROM user_log WHERE id = 900001", "900001", archive.RuleDate},
		{"UPDATE payment_transactions SET id = id + 900000 WHERE payment_enter_date = 1700000000", "UPDATE payment_transactions SET id = id - 900000 WHERE id > 900000", "nothing lies before", archive.RuleIDOrder},
		{"CREATE MATERIALIZED VIEW m AS SELECT * FROM invoices", "DROP MATERIALIZED VIEW m", "m is a materialised", archive.RuleTables},
		{"ALTER TABLE outside ADD i integer REFERENCES invoices", "ALTER TABLE outside DROP i", "not of the family", archive.RuleTables},
		{"ALTER TABLE invoices ADD CONSTRAINT tie FOREIGN KEY (payment_transaction_id) REFERENCES payment_transactions", "ALTER TABLE invoices DROP CONSTRAINT tie", "tie ties it", archive.RuleTables},
		{"CREATE TABLE child () INHERITS (user_log)", "DROP TABLE child", "inherit", archive.RuleTables},
		{"ALTER SEQUENCE invoices_id_seq CACHE 10", "ALTER SEQUENCE invoices_id_seq CACHE 1", "CACHE 1", archive.RuleTables},
		{"CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM user_log; END", "DROP FUNCTION f", "function", archive.RuleTables},
		{"CREATE TABLE user_log_all (id integer)", "DROP TABLE user_log_all", "taken", archive.RuleTables},
		{"CREATE RULE r AS ON DELETE TO user_log DO INSTEAD NOTHING", "DROP RULE r ON user_log", "rule r", archive.RuleTables},
		{"CREATE TABLE holds (u user_log)", "DROP TABLE holds", "column u of", archive.RuleTables},
		{"ALTER TABLE user_log RENAME COLUMN date TO d", "ALTER TABLE user_log RENAME COLUMN d TO date", "column", archive.RuleTables},
	} {
		b.exec(test.spoil)
		_, err := closing.Make(context.Background(), b.session(), b.f, epoch+50)
		if !refuses(err, test.want) || !strings.Contains(err.Error(), test.word) {
			t.Errorf("%s: got %v, want %s with %q", test.spoil, err, test.want, test.word)
		}
		b.exec(test.mend)
	}
	if _, err := closing.Make(context.Background(), b.session(), b.f, 0); err != nil {
		t.Errorf("put right: %v", err)
	}
	s := b.session()
	if _, err := closing.Make(context.Background(), s, b.f, 1<<40); err == nil {
		t.Error("the future can be closed")
	}
	b.f.Table("payment_transactions").FinalWhen = "is_canceled = 0 OR actual_date IS NOT NULL"
	b.exec("UPDATE payment_transactions SET is_canceled = 1 WHERE payment_enter_date = 1700000030")
	p, err := closing.Make(context.Background(), s, b.f, epoch+50)
	if err != nil || p.Decision.Window.End != epoch+29 || len(p.Decision.Why) == 0 {
		t.Errorf("a payment that may change does not pull the end back: %+v, %v", p.Decision, err)
	}
}
