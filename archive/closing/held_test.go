package closing_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/archive/closing"
)

// big writes events into all tables in the database itself: n seconds from
// epoch on, of which the last fifty stay when the ones before are closed.
func (b *anyBase) big(from, n int64) {
	b.Helper()
	series := fmt.Sprintf("WITH RECURSIVE s(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM s WHERE i < %d) ", from, from+n-1)
	insert := func(into, values string) {
		switch b.name {
		case "PostgreSQL":
			b.exec(fmt.Sprintf("INSERT INTO %s SELECT %s FROM generate_series(%d::bigint, %d) i", into, values, from, from+n-1))
		case "MariaDB":
			b.exec(fmt.Sprintf("INSERT INTO %s SELECT %s FROM (SELECT seq AS i FROM seq_%d_to_%d) s", into, values, from, from+n-1))
		default:
			b.exec(series + "INSERT INTO " + into + " SELECT " + values + " FROM s")
		}
	}
	date := fmt.Sprintf("i + %d", epoch)
	insert("discount_transactions_all (id, discount, service_type, discount_date)", "i, 1.5, 3, "+date)
	insert("discount_transactions_iptraffic_all (id, discount, discount_date)", "i, 1.5, "+date)
	insert("tel_sessions_log (id, recv_date)", "i, "+date)
	insert("tel_sessions_detail (id, dhs_sess_id)", "i, i")
	insert("dhs_sessions_log (id, recv_date)", "i, "+date)
	insert("dhs_sessions_detail (id, dhs_sess_id)", "i, i")
	insert("payment_transactions (id, payment_enter_date, payment_absolute)", "i, "+date+", 2")
	insert("user_log (id, date, who)", "i, "+date+", 'root'")
	insert("invoices (id, invoice_date)", "i, "+date)
	insert("invoice_entry (id, invoice_id)", "i, i")
	insert("invoice_entry_details (id, entry_id, type)", "i, i, 1")
}

// TestHeldByKeys closes tables of very different sizes, and wants the same work
// under the lock: PostgreSQL counts the rows that were read. HOLDFAST_HELD gives
// other sizes, and tells how long the tables were locked on each engine.
func TestHeldByKeys(t *testing.T) {
	sizes := []int64{2_000, 10_000}
	measure := os.Getenv("HOLDFAST_HELD")
	if measure != "" {
		sizes = nil
		for text := range strings.FieldsSeq(measure) {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, n)
		}
	}
	each(t, func(b *anyBase) {
		t := b.T
		if b.name != "PostgreSQL" && measure == "" {
			t.Skip("it alone counts what is read")
		}
		if len(b.f.Tables) != 12 {
			t.Fatalf("%d tables", len(b.f.Tables))
		}
		if b.name == "SQLite" { // as docs/archive.md asks; without them, it reads a child for each row of its parent that is put back
			b.exec("CREATE INDEX ie_invoice ON invoice_entry (invoice_id)")
			b.exec("CREATE INDEX ied_entry ON invoice_entry_details (entry_id)")
		}
		from, read := int64(1), []int64{}
		for _, n := range sizes {
			b.big(from, n)
			s := b.session()
			most := reading{}
			if b.name == "PostgreSQL" {
				s.Watch(func(statement string) error { return b.touched(s, statement, &most) })
			}
			began := time.Now()
			r, err := closing.Run(context.Background(), s, b.f, closing.Options{End: epoch + from + n - 51})
			s.Close()
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %d rows in each of 11 tables: locked for %v, steps behind the swap %v, the whole run %v, %d rows read under the lock",
				b.name, n, r.Held.Round(time.Millisecond), r.Moved.Round(time.Millisecond), time.Since(began).Round(time.Second), most.most)
			read = append(read, most.most)
			if got := b.number("SELECT count(*) FROM invoice_entry"); got != 50 {
				t.Errorf("%d rows stayed, want 50", got)
			}
			from += n
		}
		if b.name == "PostgreSQL" && (read[len(read)-1] > 2*read[0] || read[0] == 0) {
			t.Errorf("under the lock %v rows were read: it grows with the tables", read)
		}
	})
}
