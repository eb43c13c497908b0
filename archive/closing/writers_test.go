package closing_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"holdfast/archive"
	"holdfast/archive/closing"
)

// clock is what writers date their rows by. They hold it while they write one
// event, so that no row comes late; closings go on beside them.
type clock struct {
	mu  sync.RWMutex
	now int64
}

// event writes linked rows in one transaction: a charge with its twin, a
// session with two details, a payment.
func event(ctx context.Context, db *sql.DB, now int64) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it is committed, or failed already
	var charge, session int64
	if err := tx.QueryRow(fmt.Sprintf("INSERT INTO discount_transactions_all (discount, service_type, discount_date) VALUES (1.5, 3, %d) RETURNING id", now)).Scan(&charge); err != nil {
		return err
	}
	if _, err := tx.Exec(fmt.Sprintf("INSERT INTO discount_transactions_iptraffic_all (id, discount, discount_date) VALUES (%d, 1.5, %d)", charge, now)); err != nil {
		return err
	}
	if _, err := tx.Exec(fmt.Sprintf("INSERT INTO payment_transactions (payment_enter_date, payment_absolute) VALUES (%d, 2)", now)); err != nil {
		return err
	}
	if err := tx.QueryRow(fmt.Sprintf("INSERT INTO tel_sessions_log (recv_date) VALUES (%d) RETURNING id", now)).Scan(&session); err != nil {
		return err
	}
	if _, err := tx.Exec(fmt.Sprintf("INSERT INTO tel_sessions_detail (dhs_sess_id) VALUES (%d), (%d)", session, session)); err != nil {
		return err
	}
	return tx.Commit()
}

// TestTenClosings closes periods in a row while writers insert without pause:
// no insert fails, none is lost or read twice, ids go on rising, every rule
// holds after each, and the tables are locked for less than a second in all,
// whatever they hold. Where HOLDFAST_LONG is 1, it is ten periods, at full speed;
// where HOLDFAST_TEN says how many events there are before, it is ten periods too,
// and each is told for how long it locked.
func TestTenClosings(t *testing.T) {
	each(t, func(b *anyBase) {
		t := b.T
		rows, periods := int64(300), 2
		if long() {
			rows, periods = 10_000, 10
		}
		if text := os.Getenv("HOLDFAST_TEN"); text != "" {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			rows, periods = n, 10
		}
		b.fill(epoch-rows, epoch-1)
		c := &clock{now: epoch}
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		var wg sync.WaitGroup
		events, again := make([]int64, 2), make([]int64, 2)
		for w := range events {
			wg.Go(func() {
				for ctx.Err() == nil {
					if !long() {
						time.Sleep(3 * time.Millisecond) // what they write has to be read again and again
					}
					c.mu.RLock()
					err := event(context.Background(), b.db, c.now)
					c.mu.RUnlock()
					var e *mysql.MySQLError
					switch {
					case err == nil:
						events[w]++
					case errors.As(err, &e) && e.Number == 1213: // as every client of it must be ready for
						again[w]++
					default:
						t.Errorf("an insert failed: %v", err)
						return
					}
				}
			})
		}
		held := time.Duration(0)
		for n := range periods {
			c.mu.Lock()
			end := c.now
			c.now += 10
			c.mu.Unlock()
			s := b.session()
			r, err := closing.Run(context.Background(), s, b.f, closing.Options{End: end})
			s.Close()
			if err != nil {
				t.Errorf("closing %d: %v", n, err)
				break
			}
			held += r.Held
			t.Logf("closing %d: locked for %v", n, r.Held)
			if r.Window.End != end || r.Resumed {
				t.Errorf("closing %d: %+v", n, r)
			}
			b.sound()
		}
		stop()
		wg.Wait()
		b.sound()
		total := events[0] + events[1]
		for table, was := range map[string]int64{"discount_transactions_all": b.ids["discount_transactions_all"], "payment_transactions": b.ids["payment_transactions"],
			"tel_sessions_log": b.ids["tel_sessions_log"], "discount_transactions_iptraffic_all": b.ids["discount_transactions_iptraffic_all"]} {
			if n := b.number("SELECT count(*) FROM " + table + "_all"); n != was+total {
				t.Errorf("%s: %d rows, want %d and %d", table, n, was, total)
			}
			if n := b.number("SELECT count(DISTINCT id) FROM " + table + "_all"); n != was+total {
				t.Errorf("%s: %d keys in %d rows", table, n, was+total)
			}
		}
		if n := b.number("SELECT count(*) FROM tel_sessions_detail_all"); n != b.ids["tel_sessions_detail"]+2*total {
			t.Errorf("%d details", n)
		}
		if total < int64(periods) {
			t.Errorf("only %d events were written", total)
		}
		t.Logf("%d events; locked for %v in all; %v transactions had to be repeated", total, held, again[0]+again[1])
		if held > 3*time.Second { // a second on a machine of its own
			t.Errorf("the tables were locked for %v", held)
		}
	})
}

// TestBrokenOnEach breaks, on each engine, what its own statements find out:
// verify names the rule, and run refuses.
func TestBrokenOnEach(t *testing.T) {
	each(t, func(b *anyBase) {
		t := b.T
		if b.name == "PostgreSQL" && !long() {
			b.Skip("TestEachRuleBroken does more of it")
		}
		b.fill(epoch, epoch+59)
		r := b.must(epoch + 19)
		at := func(table string) string { return archived(r, table) }
		b.must(epoch + 39)
		for _, test := range []struct {
			name, spoil, mend string
			want              archive.Rule
		}{
			{"I1", "UPDATE discount_transactions_iptraffic_all SET discount = discount + 1", "UPDATE discount_transactions_iptraffic_all SET discount = discount - 1", archive.RuleMirror},
			{"I2: archive_id", "UPDATE archives SET archive_id = 5 WHERE table_name = '" + at("user_log") + "'", "UPDATE archives SET archive_id = 1 WHERE archive_id = 5", archive.RuleTogether},
			{"I2: not listed", "UPDATE archives SET table_name = 'elsewhere' WHERE table_name = '" + at("user_log") + "'", "UPDATE archives SET table_name = '" + at("user_log") + "' WHERE table_name = 'elsewhere'", archive.RuleCatalogue},
			{"I3", "ALTER TABLE user_log ADD COLUMN more integer", "ALTER TABLE user_log DROP COLUMN more", archive.RuleStructure},
			{"I3: an index", "CREATE INDEX more ON user_log (who)", b.unindex("more", "user_log"), archive.RuleStructure},
			{"I4", "UPDATE archives SET end_date = end_date - 1 WHERE archive_id = 1", "UPDATE archives SET end_date = end_date + 1 WHERE archive_id = 1", archive.RuleWindow},
			{"I5", fmt.Sprintf("INSERT INTO user_log (id, date) VALUES (900001, %d)", epoch+5), "DELETE FROM user_log WHERE id = 900001", archive.RuleComplete},
			{"I7", fmt.Sprintf("INSERT INTO payment_transactions (id, payment_enter_date, payment_absolute) VALUES (-5, %d, 1)", epoch+59), "DELETE FROM payment_transactions WHERE id = -5", archive.RuleIDOrder},
			{"I10", "INSERT INTO dhs_sessions_detail (id, dhs_sess_id) VALUES (900001, 1)", "DELETE FROM dhs_sessions_detail WHERE id = 900001", archive.RuleParent},
			{"no date", "INSERT INTO user_log (id, date) VALUES (900001, NULL)", "DELETE FROM user_log WHERE id = 900001", archive.RuleDate},
			{"a row gone", b.unlock(at("user_log")) + "DELETE FROM " + at("user_log") + " WHERE id = (SELECT k FROM (SELECT min(id) AS k FROM " + at("user_log") + ") x)", "", archive.RuleDigest},
		} {
			b.script(test.spoil)
			if _, err := b.run(closing.Options{End: epoch + 49}); !refuses(err, test.want) {
				t.Errorf("%s: %s is not named: %v", test.name, test.want, err)
			}
			if test.mend != "" {
				b.script(test.mend)
			}
		}
	})
}

func (b *anyBase) script(text string) {
	b.Helper()
	for one := range strings.SplitSeq(text, "; ") {
		b.exec(one)
	}
}

func (b *anyBase) unindex(name, table string) string {
	if b.name == "MariaDB" {
		return "DROP INDEX " + name + " ON " + table
	}
	return "DROP INDEX " + name
}

// unlock lets an archived table be changed.
func (b *anyBase) unlock(table string) string {
	switch b.name {
	case "PostgreSQL":
		return "ALTER TABLE " + table + " DISABLE TRIGGER ALL; "
	case "MariaDB":
		return "DROP TRIGGER " + table + "_ro3; "
	}
	return `DROP TRIGGER "` + table + `_ro3"; `
}
