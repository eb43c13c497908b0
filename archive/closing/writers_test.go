package closing_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/archive/closing"
)

// TestTenClosings closes ten periods in a row while two clients of the database
// and Holdfast's own delivery insert. Before the first of them the twelve tables
// hold 10,000 rows in sum, those of 2,000 linked events. After each closing every
// rule holds; no insert fails; each row that was acknowledged, by the database or
// by Holdfast, is in the views exactly once; keys go on rising in each table; and
// the tables are locked for no longer than most says.
//
// Where HOLDFAST_LONG is 1, the clients insert at full speed; else one waits 25 ms
// behind each event, because all that is written is read again by each closing.
// HOLDFAST_TEN gives another number of events, and holds the lock to what is
// promised, which takes a quiet machine.
func TestTenClosings(t *testing.T) {
	events, quiet := int64(2000), os.Getenv("HOLDFAST_TEN")
	if quiet != "" {
		n, err := strconv.ParseInt(quiet, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		events = n
	}
	each(t, func(b *anyBase) {
		t := b.T
		b.fill(epoch-events, epoch-1)
		var rows int64
		for _, n := range b.counts("") {
			rows += n
		}
		if t.Logf("%d rows in twelve tables", rows); rows < 10_000 && quiet == "" {
			t.Errorf("only %d rows", rows)
		}
		f, held := b.flows(epoch), time.Duration(0)
		for n := range 10 {
			end := f.period()
			s, began := b.session(), time.Now()
			r, err := closing.Run(context.Background(), s, b.f, closing.Options{End: end})
			s.Close()
			if err != nil {
				t.Errorf("closing %d: %v", n+1, err)
				break
			}
			held += r.Held
			t.Logf("closing %d: locked for %v; the whole run took %v", n+1, r.Held.Round(time.Microsecond), time.Since(began).Round(time.Millisecond))
			if r.Window.End != end || r.Resumed || r.Archive != int64(n+1) {
				t.Errorf("closing %d: %+v", n+1, r)
			}
			b.sound()
		}
		f.ends()
		b.sound()
		f.arrived()
		b.rising()
		t.Logf("locked for %v in all; written meanwhile: %d and %d events directly, %d rows through Holdfast; repeated: %d transactions",
			held.Round(time.Microsecond), f.written[0], f.written[1], 3*f.written[through], f.again[0]+f.again[1])
		for w, n := range f.written {
			if n < 10 {
				t.Errorf("writer %d wrote %d times only", w+1, n)
			}
		}
		if most := b.most(quiet != ""); held > most {
			t.Errorf("the tables were locked for %v, and may be for %v", held, most)
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
