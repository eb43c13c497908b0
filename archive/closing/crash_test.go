package closing_test

import (
	"context"
	"maps"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
)

// TestServerKilled kills the server under a run that is swapped, and goes on.
func TestServerKilled(t *testing.T) {
	b := newBase(t)
	b.utm5(epoch, epoch+60)
	want := b.counts("")
	s := b.session()
	_, err := closing.Run(context.Background(), s, b.f, closing.Options{End: epoch + 30, Step: func(step string) error {
		if step == "read-only" {
			shared.server.Kill()
			shared.server.Start()
		}
		return nil
	}})
	s.Close()
	if err == nil {
		t.Fatal("a server that was killed goes unnoticed")
	}
	b.c.Close(context.Background())
	b.dial()
	r, err := b.run(closing.Options{})
	if err != nil || !r.Resumed || r.Window.End != epoch+30 {
		t.Fatalf("got %+v, %v", r, err)
	}
	b.sound()
	if got := b.counts("_all"); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestSpoiledMeanwhile breaks rules between the swap and the catalogue: nothing
// is listed until somebody has put it right, and then the next run lists it.
func TestSpoiledMeanwhile(t *testing.T) {
	b := newBase(t)
	b.utm5(epoch, epoch+60)
	b.exec("CREATE TABLE archives (id integer PRIMARY KEY, archive_id integer, table_type integer, table_name varchar(255), start_date integer, end_date integer)") // the vendor's own
	want := b.counts("")
	for _, test := range []struct {
		spoil, mend string
		rule        archive.Rule
	}{
		{"INSERT INTO user_log (id, date) VALUES (900001, 1700000000)", "DELETE FROM user_log WHERE id = 900001", archive.RuleComplete},
		{"INSERT INTO payment_transactions (id, payment_enter_date) VALUES (1, 1800000000)", "DELETE FROM payment_transactions WHERE id = 1", archive.RuleIDOrder},
		{"INSERT INTO invoice_entry (id, invoice_id) VALUES (900001, 1)", "DELETE FROM invoice_entry WHERE id = 900001", archive.RuleParent},
		{"ALTER TABLE user_log ADD COLUMN more integer", "ALTER TABLE user_log DROP COLUMN more", archive.RuleStructure},
	} {
		_, err := b.run(closing.Options{End: epoch + 30, Step: func(step string) error {
			if step == "verify" {
				b.exec(test.spoil)
			}
			return nil
		}})
		if !refuses(err, test.rule) {
			t.Errorf("%s: got %v, want %s", test.spoil, err, test.rule)
		}
		if n := b.number("SELECT count(*) FROM archives"); n != 0 {
			t.Fatalf("%s: the catalogue lists %d tables", test.spoil, n)
		}
		b.exec(test.mend)
	}
	if r, err := b.run(closing.Options{}); err != nil || !r.Resumed || r.Window.End != epoch+30 {
		t.Fatalf("got %+v, %v", r, err)
	}
	b.sound()
	if n := b.number("SELECT max(id) FROM archives"); n != 12 {
		t.Errorf("the highest id in the catalogue is %d", n)
	}
	if got := b.counts("_all"); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
