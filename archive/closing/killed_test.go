package closing_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
)

const callsFamily = `{"name": "calls", "tables": [{"type": 1, "name": "calls", "date": "at", "id_order": true}, {"type": 2, "name": "legs", "parent": "calls", "parent_key": "call_id", "id_order": true}]}`

// small makes a family of two tables, with all that a closing has to carry
// over, and rows that must be put back.
func (b *anyBase) small() {
	b.Helper()
	f, err := archive.Parse(strings.NewReader(callsFamily))
	if err != nil {
		b.Fatal(err)
	}
	b.f = f
	b.exec("CREATE TABLE calls (id " + b.id + ", at integer, who varchar(20))")
	b.exec("CREATE TABLE legs (id " + b.id + ", call_id integer, CONSTRAINT leg_call FOREIGN KEY (call_id) REFERENCES calls (id))")
	b.exec("CREATE INDEX leg_calls ON legs (call_id)")
	for i := range 20 {
		b.exec(fmt.Sprintf("INSERT INTO calls (at, who) VALUES (%d, 'w%d')", epoch+i, i))
		b.exec(fmt.Sprintf("INSERT INTO legs (call_id) VALUES (%d)", i+1))
	}
	for _, one := range b.trigger {
		if !strings.HasPrefix(one, "CREATE FUNCTION") {
			b.exec(strings.NewReplacer("TRIGGER note", "TRIGGER noted_calls", "payment_transactions", "calls").Replace(one))
		}
	}
}

var errKilled = errors.New("killed")

// killedAt runs a closing and ends its session before the n-th statement that
// changes anything, or before the commit of a transaction, as a kill of the
// program or of the connection there would. It returns whether it came so far.
func (b *anyBase) killedAt(n int, end int64) (killed bool, at string) {
	b.Helper()
	s := b.session()
	defer s.Close()
	count := 0
	s.Watch(func(statement string) error {
		if killed {
			return errKilled
		}
		if count++; count < n {
			return nil
		}
		killed, at = true, statement // nothing more is run, and what was not committed is undone
		return errKilled
	})
	_, err := closing.Run(context.Background(), s, b.f, closing.Options{End: end})
	if killed == (err == nil) {
		b.Fatalf("killed at %d: %v, but %v", n, killed, err)
	}
	if err != nil && !errors.Is(err, errKilled) {
		b.Fatal(err)
	}
	return killed, at
}

// whole holds what is promised wherever a run ends: every row is read exactly
// once, the current tables are there and take rows, and the catalogue lists
// nothing that is not whole.
func (b *anyBase) whole(want map[string]int64, listed int64, at string) {
	b.Helper()
	for table, n := range want {
		suffix := "_all"
		if _, err := b.db.Exec("SELECT count(*) FROM " + table + "_all"); err != nil {
			suffix = "" // no closing got so far yet
		}
		if got := b.number("SELECT count(*) FROM " + table + suffix); got != n {
			b.Fatalf("killed at %q: %d rows of %s%s, want %d", at, got, table, suffix, n)
		}
	}
	if _, err := b.db.Exec("SELECT count(*) FROM archives"); err == nil {
		if n := b.number("SELECT count(*) FROM archives"); n != listed {
			b.Fatalf("killed at %q: the catalogue lists %d tables, want %d", at, n, listed)
		}
	}
}

// TestKilledAtEachStatement kills two closings in a row at every statement and
// every commit (every fifth where HOLDFAST_LONG is not 1), and has the next run finish or undo what was begun.
func TestKilledAtEachStatement(t *testing.T) {
	before := closing.SetInSwap(5)
	t.Cleanup(func() { closing.SetInSwap(before) }) // the first closing puts rows back behind the swap, the second under the lock
	each(t, func(b *anyBase) {
		b.small()
		want := map[string]int64{"calls": 20, "legs": 20}
		triggered := b.number("SELECT count(*) FROM audit")
		kills, step := 0, 1
		if !long() {
			step = 5
		}
		for period, end := range []int64{epoch + 9, epoch + 16} {
			listed, state := int64(2*period), ""
			for n := 1; ; n += step {
				killed, at := b.killedAt(n, end)
				if !killed {
					break
				}
				kills++
				b.whole(want, listed, at)
				id := b.inserted(fmt.Sprintf("INSERT INTO calls (at, who) VALUES (%d, 'later')", epoch+500))
				b.exec(fmt.Sprintf("INSERT INTO legs (call_id) VALUES (%d)", id))
				want["calls"]++
				want["legs"]++
				triggered++
				if now := b.state(); now != state { // what follows is counted anew
					state, n = now, 1-step
				}
			}
			b.whole(want, listed+2, "the end")
			b.sound()
			if got := b.number("SELECT count(*) FROM audit"); got != triggered {
				b.Errorf("a trigger saw %d inserts, want %d", got, triggered)
			}
		}
		if kills < 100/step/2 {
			b.Errorf("killed %d times only", kills)
		}
		b.Logf("killed %d times", kills)
		for _, w := range []struct {
			query string
			want  int64
		}{{"SELECT min(end_date) FROM archives", epoch + 9}, {"SELECT max(end_date) FROM archives", epoch + 16}, {"SELECT count(*) FROM calls WHERE at <= 1700000016", 0}} {
			if got := b.number(w.query); got != w.want {
				b.Errorf("%s: got %d, want %d", w.query, got, w.want)
			}
		}
		b.nothingLeft()
	})
}

// state returns that of the run which is under way.
func (b *anyBase) state() (state string) {
	if _, err := b.db.Exec("SELECT count(*) FROM holdfast_archive_runs"); err != nil {
		return ""
	}
	if b.number("SELECT count(*) FROM holdfast_archive_runs WHERE state = 'switched'") > 0 {
		return "switched"
	}
	return ""
}

// nothingLeft holds that of twins and stand-ins nothing remains.
func (b *anyBase) nothingLeft() {
	b.Helper()
	query := map[string]string{
		"PostgreSQL": "SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_new%'",
		"MariaDB":    "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND (TABLE_NAME LIKE '%\\_new' OR TABLE_NAME LIKE '%\\_was' OR TABLE_NAME LIKE '%\\_out' OR TABLE_NAME REGEXP '_[0-9]{9,}_all')",
		"SQLite":     "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%#_new%' ESCAPE '#'",
	}[b.name]
	if n := b.number(query); n != 0 {
		b.Errorf("%d tables or views of the closing are left", n)
	}
}

// long says that the tests which take minutes are wanted too.
func long() bool { return os.Getenv("HOLDFAST_LONG") == "1" }
