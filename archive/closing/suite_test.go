package closing_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
	"holdfast/archive/dialect"
)

// TestPeriods closes three periods of the twelve tables on every engine, the
// last of them with all that was left: each
// row is where it belongs, ids go on rising, triggers see what users do and
// nothing else, views read the current table, and archives cannot be changed.
func TestPeriods(t *testing.T) {
	each(t, func(b *anyBase) {
		b.fill(epoch, epoch+299)
		want, payments := b.counts(""), b.number("SELECT count(*) FROM audit")
		var last *closing.Result
		for i, end := range []int64{epoch + 99, epoch + 199, epoch + 600} {
			top := map[string]int64{}
			for _, table := range b.f.Tables {
				top[table.Name] = b.number("SELECT max(id) FROM " + table.Name)
			}
			r := b.must(end)
			if w := (archive.Window{Start: epoch + 100*int64(i), End: end}); r.Window != w || r.Archive != int64(i+1) {
				b.Fatalf("got %+v, want %v", r, w)
			}
			b.sound()
			if got := b.counts("_all"); !maps.Equal(got, want) {
				b.Fatalf("%d: %v, want %v", i, got, want)
			}
			if n := b.number("SELECT count(*) FROM audit"); n != payments {
				b.Errorf("%d: a trigger saw %d payments, want %d", i, n, payments)
			}
			if n, m := b.number("SELECT count(*) FROM loud"), b.number("SELECT count(*) FROM user_log"); n != m || (n == 0) != (i == 2) {
				b.Errorf("%d: the view shows %d of %d current rows", i, n, m)
			}
			b.rises(top, end+200)
			for table := range want {
				want[table] += b.added(table)
			}
			payments++
			last = r
		}
		b.sound()
		for _, share := range last.Tables {
			for _, change := range []string{"DELETE FROM ", "INSERT INTO %s SELECT * FROM ", "UPDATE "} {
				statement := change + share.Archive
				switch change {
				case "UPDATE ":
					statement += " SET id = id + 1000"
				case "INSERT INTO %s SELECT * FROM ":
					statement = "INSERT INTO " + share.Archive + " SELECT * FROM " + dialect.AllName(share.Table) + " LIMIT 1"
				}
				if share.Filed == 0 {
					b.Fatalf("%s is empty", share.Archive)
				}
				if _, err := b.db.Exec(statement); err == nil || !strings.Contains(err.Error(), "can only be read") {
					b.Errorf("%s: it is not refused: %v", statement, err)
				}
			}
		}
		if _, err := b.db.Exec("INSERT INTO tel_sessions_detail (dhs_sess_id) VALUES (900001)"); err == nil {
			b.Error("a foreign key is gone")
		}
		if _, err := b.db.Exec("INSERT INTO payment_transactions (payment_absolute) VALUES (-1)"); err == nil && b.name != "none" {
			b.Error("a check is gone")
		}
		if _, err := b.run(closing.Options{End: epoch + 600}); !refuses(err, archive.RuleWindow) {
			b.Errorf("the same period again: %v", err)
		}
	})
}

// rises inserts one row into each table as a client would, and wants its key
// above all that were there.
func (b *anyBase) rises(top map[string]int64, date int64) {
	b.Helper()
	session := b.inserted(fmt.Sprintf("INSERT INTO tel_sessions_log (recv_date) VALUES (%d)", date))
	dhs := b.inserted(fmt.Sprintf("INSERT INTO dhs_sessions_log (recv_date) VALUES (%d)", date))
	payment := b.inserted(fmt.Sprintf("INSERT INTO payment_transactions (payment_enter_date, payment_absolute) VALUES (%d, 1)", date))
	detail := b.inserted("INSERT INTO tel_sessions_detail (dhs_sess_id) SELECT max(id) FROM tel_sessions_log")
	for table, id := range map[string]int64{"tel_sessions_log": session, "dhs_sessions_log": dhs, "payment_transactions": payment, "tel_sessions_detail": detail} {
		if id <= top[table] {
			b.Errorf("%s: id %d comes after %d", table, id, top[table])
		}
	}
}

// added is how many rows rises adds to a table.
func (b *anyBase) added(table string) int64 {
	switch table {
	case "tel_sessions_log", "dhs_sessions_log", "payment_transactions", "tel_sessions_detail":
		return 1
	}
	return 0
}

// inserted runs an INSERT and returns the key that the engine gave.
func (b *anyBase) inserted(query string) (id int64) {
	b.Helper()
	if err := b.db.QueryRow(query + " RETURNING id").Scan(&id); err != nil {
		b.Fatalf("%v\nin %s", err, query)
	}
	return id
}
