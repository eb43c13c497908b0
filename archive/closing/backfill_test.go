package closing_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
)

func (b *anyBase) backfill(o closing.Options) ([]closing.Gap, error) {
	b.Helper()
	s := b.session()
	defer s.Close()
	return closing.Backfill(context.Background(), s, b.f, o)
}

// TestBackfill brings an installation in the state of UTM5 5.2.1-006, whose
// archives hold types 1 and 2 only, to all twelve, and closes another period.
func TestBackfill(t *testing.T) {
	each(t, func(b *anyBase) {
		b.fill(epoch, epoch+299)
		want, noted := b.counts(""), b.number("SELECT count(*) FROM audit")
		whole := b.f
		old, err := archive.Profile("utm5@5.2.1-006")
		if err != nil {
			b.Fatal(err)
		}
		b.f = old
		b.must(epoch + 99)
		b.must(epoch + 199)
		b.f = whole
		if _, err := b.run(closing.Options{End: epoch + 250}); !refuses(err, archive.RuleTogether) {
			b.Fatalf("a family whose archives lack tables can be closed: %v", err)
		}
		for i, test := range []struct {
			spoil, mend string
			rule        archive.Rule
		}{
			{fmt.Sprintf("UPDATE user_log SET date = %d WHERE date = %d", epoch-1, epoch+1), fmt.Sprintf("UPDATE user_log SET date = %d WHERE date = %d", epoch+1, epoch-1), archive.RuleComplete},
			{fmt.Sprintf("UPDATE payment_transactions SET payment_enter_date = %d WHERE payment_enter_date = %d", epoch+295, epoch+5),
				fmt.Sprintf("UPDATE payment_transactions SET payment_enter_date = %d WHERE payment_ext_number = 'p%d'", epoch+5, epoch+5), archive.RuleIDOrder},
			{fmt.Sprintf("UPDATE dhs_sessions_log SET recv_date = %d WHERE recv_date = %d", epoch+198, epoch+1), fmt.Sprintf("UPDATE dhs_sessions_log SET recv_date = %d WHERE id = 1", epoch+1), archive.RuleIDOrder},
			{"INSERT INTO dhs_sessions_detail (id, dhs_sess_id) VALUES (900001, 900001)", "DELETE FROM dhs_sessions_detail WHERE id = 900001", archive.RuleParent},
			{"DELETE FROM archives WHERE table_type = 2 AND archive_id = 1", "", archive.RuleTogether},
		} {
			if b.name != "SQLite" && i != 1 && !long() {
				continue // each look reads all archives, which servers do slowly
			}
			if test.mend == "" {
				b.exec("CREATE TABLE aside AS SELECT * FROM archives")
			}
			b.exec(test.spoil)
			if _, err := b.backfill(closing.Options{}); !refuses(err, test.rule) {
				b.Errorf("%s: got %v, want %s", test.spoil, err, test.rule)
			}
			if test.mend == "" {
				test.mend = "INSERT INTO archives SELECT * FROM aside WHERE table_type = 2 AND archive_id = 1"
			}
			b.exec(test.mend)
		}
		if got := b.counts(""); got["user_log"] != want["user_log"] || got["invoices"] != want["invoices"] {
			b.Fatalf("a backfill that refuses moves rows: %v", got)
		}
		gaps, err := b.backfill(closing.Options{})
		if err != nil || len(gaps) != 2 || len(gaps[0].Tables) != 10 || gaps[0].Window != (archive.Window{Start: epoch, End: epoch + 99}) || gaps[1].Tables[0].Filed != 50 {
			b.Fatalf("got %+v, %v", gaps, err)
		}
		b.sound()
		if got := b.counts("_all"); !maps.Equal(got, want) {
			b.Errorf("got %v, want %v", got, want)
		}
		if n := b.number("SELECT count(*) FROM audit"); n != noted {
			b.Errorf("triggers saw %d of what was moved", n-noted)
		}
		if n := b.number("SELECT min(recv_date) FROM tel_sessions_log"); n != epoch+200 {
			b.Errorf("the smallest date left is %d", n)
		}
		if _, err := b.db.Exec("DELETE FROM " + gaps[0].Tables[0].Archive); err == nil || !strings.Contains(err.Error(), "can only be read") {
			b.Errorf("what was filled in can be changed: %v", err)
		}
		if again, err := b.backfill(closing.Options{}); err != nil || len(again) != 0 {
			b.Errorf("again: %+v, %v", again, err)
		}
		if r := b.must(epoch + 250); r.Archive != 3 {
			b.Errorf("got %+v", r)
		}
		b.sound()
		if got := b.counts("_all"); !maps.Equal(got, want) {
			b.Errorf("got %v, want %v", got, want)
		}
	})
}

const partFamily = `{"name": "calls", "tables": [{"type": 1, "name": "calls", "date": "at", "id_order": true}]}`

// TestBackfillKilled kills a backfill at every statement and commit, and has
// the next one, or the next closing, go on: every row is read exactly once
// meanwhile, and the catalogue lists what is whole.
func TestBackfillKilled(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		b.exec("DROP TABLE legs") // its key would tie calls to a table that is none of the old family
		b.exec("CREATE TABLE legs (id " + b.id + ", call_id integer)")
		b.exec("CREATE TABLE parts (id " + b.id + ", leg_id integer, CONSTRAINT part_leg FOREIGN KEY (leg_id) REFERENCES legs (id) ON DELETE CASCADE)")
		for i := range 20 {
			b.exec(fmt.Sprintf("INSERT INTO legs (call_id) VALUES (%d)", i+1))
			b.exec(fmt.Sprintf("INSERT INTO parts (leg_id) VALUES (%d)", i+1))
		}
		for _, one := range b.trigger {
			if strings.HasPrefix(one, "CREATE TRIGGER") {
				b.exec(strings.NewReplacer("TRIGGER note", "TRIGGER gone_legs", "AFTER INSERT ON payment_transactions", "AFTER DELETE ON legs").Replace(one))
			}
		}
		parse := func(text string) *archive.Family {
			f, err := archive.Parse(strings.NewReader(text))
			if err != nil {
				b.Fatal(err)
			}
			return f
		}
		b.f = parse(partFamily)
		b.must(epoch + 4)
		b.must(epoch + 9)
		b.f = parse(strings.TrimSuffix(callsFamily, "]}") + `, {"type": 3, "name": "parts", "parent": "legs", "parent_key": "leg_id"}]}`)
		want := map[string]int64{"calls": 20, "legs": 20, "parts": 20}
		stride := 7
		if long() {
			stride = 1
		}
		noted, kills, listed := b.number("SELECT count(*) FROM audit"), 0, int64(2)
		for n, left := 1, 2; left > 0; n += stride {
			killed, at := b.cut(n)
			b.eachOnce(want, at)
			if got := b.number("SELECT count(*) FROM archives"); got != listed {
				if got != listed+2 {
					b.Fatalf("killed at %q: the catalogue lists %d", at, got)
				}
				listed, left, n = got, left-1, 1-stride
			}
			if !killed && b.number("SELECT count(*) FROM archives") == 6 {
				break
			}
			kills++
			if kills%5 == 0 {
				b.exec("INSERT INTO calls (at) VALUES (1800000000)")
				want["calls"]++
			}
		}
		if kills < 3 {
			b.Errorf("killed %d times only", kills)
		}
		b.sound()
		if got := b.number("SELECT count(*) FROM audit"); got-noted != want["calls"]-20 {
			b.Errorf("triggers saw %d, want %d", got-noted, want["calls"]-20)
		}
		b.exec("DELETE FROM legs WHERE id = 20") // the trigger is awake again
		if got := b.number("SELECT count(*) FROM audit"); got-noted != want["calls"]-19 {
			b.Errorf("the trigger is silent: %d", got-noted)
		}
	})
}

// cut runs a backfill, or now and then a closing, which goes on with one, and
// ends its session before the n-th statement.
func (b *anyBase) cut(n int) (killed bool, at string) {
	b.Helper()
	s := b.session()
	defer s.Close()
	count := 0
	s.Watch(func(statement string) error {
		if count++; killed || count == n {
			if !killed {
				killed, at = true, statement
			}
			return errKilled
		}
		return nil
	})
	var err error
	if n%2 == 0 && b.number("SELECT count(*) FROM holdfast_archive_runs WHERE state = 'filling'") > 0 {
		_, err = closing.Run(context.Background(), s, b.f, closing.Options{})
	} else {
		_, err = closing.Backfill(context.Background(), s, b.f, closing.Options{})
	}
	if killed == (err == nil) || err != nil && !errors.Is(err, errKilled) {
		b.Fatalf("killed at %d, %q: %v, but %v", n, at, killed, err)
	}
	return killed, at
}

// eachOnce wants each row to be read exactly once, through the view where
// there is one.
func (b *anyBase) eachOnce(want map[string]int64, at string) {
	b.Helper()
	for table, n := range want {
		from := table + "_all"
		if _, err := b.db.Exec("SELECT count(*) FROM " + from); err != nil {
			from = table
		}
		if got := b.number("SELECT count(*) FROM " + from); got != n {
			b.Fatalf("killed at %q: %d rows of %s, want %d", at, got, from, n)
		}
	}
}
