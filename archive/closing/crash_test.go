package closing_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"holdfast/archive"
	"holdfast/archive/closing"
)

// TestInterrupted ends a run's session at each of its steps, as a kill of the
// program or of the connection would, with rows that stay and must be moved
// behind the swap. Nothing is lost at any moment, the catalogue lists nothing
// that is not whole, and the next run finishes or undoes.
func TestInterrupted(t *testing.T) {
	defer closing.SetInSwap(closing.SetInSwap(0))
	b := newBase(t)
	b.utm5(epoch, epoch+100)
	end := int64(epoch + 50)
	want := b.counts("")
	dead := errors.New("killed")
	for _, kill := range []string{"prepare", "swap", "settle", "move discount_transactions_all", "move invoices", "settle", "read-only", "verify", "catalogue", "none"} {
		name := ""
		s := b.session()
		_, err := closing.Run(context.Background(), s, b.f, closing.Options{End: end, Step: func(step string) error {
			if step == kill || name != "" {
				name = step
				s.Close() // whatever follows must not need it
				return dead
			}
			return nil
		}})
		s.Close()
		switch {
		case kill == "none" && err != nil:
			t.Fatalf("a run that nobody stopped: %v", err)
		case kill != "none" && !errors.Is(err, dead):
			t.Fatalf("it was not killed at %q: %v", kill, err)
		case kill != "none" && b.number("SELECT count(*) FROM archives") != 0:
			t.Fatalf("killed at %q: the catalogue lists it", kill)
		}
		suffix := "_all"
		if b.number("SELECT count(*) FROM pg_class WHERE relname = 'invoices_all'") == 0 {
			suffix = ""
		}
		if got := b.counts(suffix); !maps.Equal(got, want) {
			t.Fatalf("killed at %q: %v, want %v", kill, got, want)
		}
	}
	b.sound()
	if n := b.number("SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_new%'"); n != 0 {
		t.Errorf("%d relations of twins are left", n)
	}
	if w := b.number("SELECT min(end_date) FROM archives"); w != end {
		t.Errorf("it ends at %d, want %d", w, end)
	}
}

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

// TestWriters closes periods while sessions insert linked rows without pause:
// none of their inserts fails, none of the rows is lost, and every rule holds.
func TestWriters(t *testing.T) {
	b := newBase(t)
	b.exec(b.text("utm5.sql"))
	b.f.Settle = 1
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var wg sync.WaitGroup
	events := make([]int64, 2)
	for w := range events {
		wg.Go(func() {
			c, err := pgx.Connect(context.Background(), b.url)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close(context.Background())
			for ctx.Err() == nil {
				// The rows of one event, each dated when it is written.
				_, err := c.Exec(context.Background(), `WITH now AS (SELECT floor(extract(epoch FROM clock_timestamp()))::integer AS s),
					d AS (INSERT INTO discount_transactions_all (discount, service_type, discount_date) SELECT 1, 3, s FROM now RETURNING id, discount, discount_date),
					i AS (INSERT INTO discount_transactions_iptraffic_all (id, discount, discount_date) SELECT * FROM d),
					l AS (INSERT INTO dhs_sessions_log (recv_date) SELECT s FROM now RETURNING id),
					e AS (INSERT INTO dhs_sessions_detail (dhs_sess_id) SELECT id FROM l)
					INSERT INTO payment_transactions (payment_enter_date) SELECT s FROM now`)
				if err != nil {
					t.Errorf("an insert failed: %v", err)
					return
				}
				events[w]++
			}
		})
	}
	closed := 0
	for tries := 0; closed < 3; tries++ {
		r, err := b.run(closing.Options{})
		switch {
		case refuses(err, archive.RuleWindow): // no second has gone by yet
		case err != nil:
			t.Errorf("closing: %v", err)
		default:
			closed++
			t.Logf("%v, locked for %v, %v", r.Window, r.Held, r.Why)
		}
		if t.Failed() || tries > 500 {
			break
		}
	}
	stop()
	wg.Wait()
	b.sound()
	total := events[0] + events[1]
	for _, table := range []string{"discount_transactions_all", "discount_transactions_iptraffic_all", "dhs_sessions_log", "dhs_sessions_detail", "payment_transactions"} {
		if n := b.number("SELECT count(*) FROM " + table + "_all"); n != total {
			t.Errorf("%s: %d rows of %d events", table, n, total)
		}
	}
	if closed < 3 {
		t.Errorf("closed %d periods only", closed)
	}
	t.Logf("%d events", total)
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
