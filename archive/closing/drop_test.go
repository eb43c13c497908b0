package closing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/archive"
	"holdfast/archive/closing"
)

// drop drops archives, and ends its session before the n-th statement; 0: never.
func (b *anyBase) drop(w closing.Which, n int) (gone []closing.Leaving, killed bool, at string, err error) {
	b.Helper()
	s := b.session()
	defer s.Close()
	count := 0
	s.Watch(func(statement string) error {
		if count++; !killed && count == n {
			killed, at = true, statement
		}
		if killed {
			return errKilled
		}
		return nil
	})
	gone, err = closing.Drop(context.Background(), s, b.f, w, closing.Options{})
	return gone, killed, at, err
}

// TestDrop drops the oldest archives and nothing else: what is not the oldest,
// and the newest, is refused, and the family closes on behind it.
func TestDrop(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		for end := int64(epoch + 4); end <= epoch+16; end += 4 {
			b.must(end)
		}
		for _, w := range []closing.Which{{Archive: 2}, {Archive: 4}, {Archive: 7}, {Before: epoch + 17}} {
			if gone, _, _, err := b.drop(w, 0); !refuses(err, archive.RuleWindow) && !refuses(err, archive.RuleCatalogue) || len(gone) > 0 {
				b.Errorf("%+v: got %v, %v", w, gone, err)
			}
		}
		if gone, _, _, err := b.drop(closing.Which{Before: epoch + 4}, 0); err != nil || len(gone) != 0 {
			b.Errorf("got %v, %v", gone, err)
		}
		b.eachOnce(map[string]int64{"calls": 20, "legs": 20}, "nothing")
		gone, _, _, err := b.drop(closing.Which{Before: epoch + 9}, 0)
		if err != nil || len(gone) != 2 || gone[0].Archive != 1 || gone[1].Tables[1].Filed != 4 {
			b.Fatalf("got %+v, %v", gone, err)
		}
		b.sound()
		b.eachOnce(map[string]int64{"calls": 11, "legs": 11}, "the drop")
		for _, h := range gone[0].Tables {
			if _, err := b.db.Exec("SELECT count(*) FROM " + h.Archive); err == nil {
				b.Errorf("%s is still there", h.Archive)
			}
		}
		if _, _, _, err := b.drop(closing.Which{Archive: 3}, 0); err != nil {
			b.Error(err)
		}
		if r := b.must(epoch + 18); r.Archive != 5 || r.Window.Start != epoch+17 {
			b.Errorf("got %+v", r)
		}
		b.sound()
		b.eachOnce(map[string]int64{"calls": 7, "legs": 7}, "the end")
		b.nothingLeft()
	})
}

// TestDropKilled kills drops at every statement and commit (every third where
// HOLDFAST_LONG is not 1): the catalogue never lists a table that is not there
// or not whole, views can always be read, and what comes next ends it.
func TestDropKilled(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		for end := int64(epoch + 3); end <= epoch+15; end += 4 {
			b.must(end)
		}
		stride := 3
		if long() {
			stride = 1
		}
		rows, listed, kills := int64(20), int64(8), 0
		defer b.readOn("SELECT count(*) FROM calls_all")()
		for n, left := 1, 3; left > 0; n += stride {
			_, killed, at, err := b.drop(closing.Which{Archive: int64(4 - left)}, n)
			if killed == (err == nil) || err != nil && !errors.Is(err, errKilled) && !refuses(err, archive.RuleCatalogue) {
				b.Fatalf("killed at %d, %q: %v", n, at, err)
			}
			kills++
			b.listedAreThere(at)
			now := b.number("SELECT count(*) FROM archives")
			if all := b.number("SELECT count(*) FROM calls_all"); all != rows-2*(listed-now) {
				b.Fatalf("killed at %q: %d rows of %d, and %d tables listed of %d", at, all, rows, now, listed)
			}
			if b.name == "MariaDB" || long() {
				b.sound() // tables, views and catalogue go in one step, by renaming
			}
			if now == listed {
				continue
			}
			// Whatever comes next ends what was begun.
			if left%2 == 0 {
				if _, err := b.run(closing.Options{End: epoch + 15}); !refuses(err, archive.RuleWindow) {
					b.Fatalf("killed at %q: %v", at, err)
				}
			} else if _, err := b.backfill(closing.Options{}); err != nil {
				b.Fatalf("killed at %q: %v", at, err)
			}
			b.sound()
			rows, listed, left = rows-4, now, left-1
			b.eachOnce(map[string]int64{"calls": rows, "legs": rows}, at)
			if !killed {
				n = 1 - stride
			}
		}
		if kills < 6 {
			b.Errorf("killed %d times only", kills)
		}
		b.nothingLeft()
		if n := b.number("SELECT count(*) FROM holdfast_archive_tables"); n != listed {
			b.Errorf("%d tables are written down, want %d", n, listed)
		}
	})
}

// readOn runs a query over and over, which must not fail, until what it returns is
// called.
func (b *anyBase) readOn(query string) (end func()) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			var n int64
			if err := b.db.QueryRow(query).Scan(&n); err != nil {
				b.Errorf("%s: %v", query, err)
				return
			}
			time.Sleep(time.Millisecond) // others want to read too
		}
	})
	return func() { stop(); wg.Wait() }
}

// TestDropEntered drops an archive while others enter a row into the catalogue,
// at every statement: none is lost.
func TestDropEntered(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		b.must(epoch + 3)
		b.must(epoch + 7)
		s := b.session()
		entered, inside := int64(0), false
		s.Watch(func(statement string) error {
			if b.name == "MariaDB" && statement != "COMMIT" && !inside { // elsewhere the catalogue is locked
				entered++
				b.exec(fmt.Sprintf("INSERT INTO archives (archive_id, table_type, table_name, start_date, end_date) VALUES (1, 77, 'theirs%d', 1, 2)", entered))
			}
			inside = strings.Contains(statement, "holdfast_archive") // its transaction must not wait for ours
			return nil
		})
		if gone, err := closing.Drop(context.Background(), s, b.f, closing.Which{Archive: 1}, closing.Options{}); err != nil || len(gone) != 1 {
			b.Fatalf("got %v, %v", gone, err)
		}
		if n := b.number("SELECT count(*) FROM archives WHERE table_type = 77"); n != entered || b.name == "MariaDB" && entered < 8 {
			b.Errorf("%d of %d rows are there", n, entered)
		}
		if n := b.number("SELECT count(*) FROM archives WHERE table_type < 77"); n != 2 {
			b.Errorf("%d tables are listed", n)
		}
		b.exec("DELETE FROM archives WHERE table_type = 77")
		b.sound()
		b.nothingLeft()
	})
}

// TestDropTied refuses to exchange a catalogue that would lose a trigger by it.
func TestDropTied(t *testing.T) {
	each(t, func(b *anyBase) {
		if b.name != "MariaDB" {
			b.Skip("the catalogue is not exchanged there")
		}
		b.small()
		b.must(epoch + 3)
		b.must(epoch + 7)
		b.exec("CREATE TRIGGER entered AFTER INSERT ON archives FOR EACH ROW INSERT INTO audit VALUES ('archive')")
		if _, _, _, err := b.drop(closing.Which{Archive: 1}, 0); !refuses(err, archive.RuleTables) {
			b.Errorf("got %v", err)
		}
		b.sound()
	})
}

// listedAreThere wants each table of the catalogue to hold the rows of its
// window.
func (b *anyBase) listedAreThere(at string) {
	b.Helper()
	rows, err := b.db.Query("SELECT table_name FROM archives")
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			b.Fatal(err)
		}
		names = append(names, name)
	}
	rows.Close()
	for _, name := range names {
		if n := b.number(fmt.Sprintf("SELECT count(*) FROM %s", name)); n != 4 {
			b.Fatalf("killed at %q: %s, which is listed, holds %d rows", at, name, n)
		}
	}
}

// TestReached measures tables on each engine.
func TestReached(t *testing.T) {
	each(t, func(b *anyBase) {
		b.small()
		b.exec("INSERT INTO calls (id, at) VALUES (5000, 1800000000)") // keys alone would tell of 5000 rows
		s := b.session()
		for _, test := range []struct {
			m    closing.Limits
			want string
		}{
			{closing.Limits{}, ""}, {closing.Limits{Rows: 22}, ""}, {closing.Limits{Rows: 21}, "table calls has 21 rows or more"}, {closing.Limits{Rows: 20}, "table calls has 20 rows or more"},
			{closing.Limits{Bytes: 1 << 40}, ""}, {closing.Limits{Bytes: 4096}, "table calls takes "},
		} {
			got, err := closing.Reached(context.Background(), s, b.f, test.m)
			if err != nil || !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") {
				b.Errorf("%+v: got %q, %v, want %q", test.m, got, err, test.want)
			}
		}
	})
}
