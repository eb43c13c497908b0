package closing_test

import (
	"context"
	"strings"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
)

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
		if !refuses(err, test.want) || !strings.Contains(err.Error(), test.word) || refuses(err, archive.RuleWindow) {
			t.Errorf("%s: got %v, want %s with %q, and no word of the window", test.spoil, err, test.want, test.word)
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
