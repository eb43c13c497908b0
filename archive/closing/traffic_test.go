package closing_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"holdfast"
	"holdfast/row"
)

// traffic is what inserts into a family while its periods are closed: two
// clients of the database, and Holdfast, whose journal takes rows from a client
// of its own and whose delivery brings them. Each writer numbers its rows from 1,
// so that each can be looked for.
type traffic struct {
	*anyBase
	hold *holdfast.DB
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.RWMutex // held for reading while rows of one date are written, so that none comes late
	now     int64        // what rows are dated by
	written [3]int64     // by writer, the last number that was acknowledged
	again   [2]int64     // transactions that were a deadlock's victims
}

// through is the number of the writer that goes through Holdfast.
const through = 2

// flows starts writers, which go on until ends.
func (b *anyBase) flows(now int64) *traffic {
	b.Helper()
	f := &traffic{anyBase: b, now: now}
	to, err := b.sinks()
	if err != nil {
		b.Fatal(err)
	}
	f.hold, err = holdfast.Open(b.TempDir(), holdfast.Options{Sinks: []holdfast.Sink{{Name: "billing", Sink: to}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.hold.Close() })
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	for w := range through {
		f.wg.Go(func() { f.direct(ctx, w) })
	}
	f.wg.Go(func() { f.delivered(ctx) })
	return f
}

// ends stops the writers, and waits until what was acknowledged is delivered.
func (f *traffic) ends() {
	f.Helper()
	f.stop()
	f.wg.Wait()
	f.drain()
	if s := f.hold.Status().Sinks[0]; s.Rejects != 0 || s.Rows == 0 {
		f.Errorf("delivery: %+v", s)
	}
	if err := f.hold.Close(); err != nil {
		f.Error(err)
	}
}

func (f *traffic) drain() {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := f.hold.Drain(ctx); err != nil {
		f.Errorf("delivery did not come to its end: %v, %+v", err, f.hold.Status().Sinks)
	}
}

// period ends one, all of whose rows are in the database then, and returns its
// last second. Only the change of the date keeps writers waiting.
func (f *traffic) period() int64 {
	f.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drain()
	f.now += 10
	return f.now - 10
}

// direct writes events, and wants the key of each row above that of the one before.
func (f *traffic) direct(ctx context.Context, w int) {
	last := map[string]int64{}
	for ctx.Err() == nil {
		if !long() {
			time.Sleep(25 * time.Millisecond) // what is written has to be read again and again
		}
		f.mu.RLock()
		keys, err := event(f.db, w+1, f.written[w]+1, f.now)
		f.mu.RUnlock()
		var e *mysql.MySQLError
		if errors.As(err, &e) && e.Number == 1213 { // as every client of it must be ready for
			f.again[w]++
			continue
		}
		if err != nil {
			f.Errorf("an insert failed: %v", err)
			return
		}
		f.written[w]++
		for table, id := range keys {
			if id <= last[table] {
				f.Errorf("%s: key %d comes behind %d", table, id, last[table])
			}
			last[table] = id
		}
	}
}

// event writes linked rows in one transaction: a charge with its twin, a
// session with two details, a payment. It returns the keys that the engine gave.
func event(db *sql.DB, who int, n, now int64) (map[string]int64, error) {
	tx, err := db.Begin()
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // it is committed, or failed already
	var charge, session, payment, detail int64
	for _, one := range []struct {
		id    *int64
		query string
		args  []any
	}{
		{&charge, "discount_transactions_all (slink_id, account_id, discount, service_type, discount_date) VALUES (%d, %d, 1.5, 3, %d)", []any{who, n, now}},
		{&payment, "payment_transactions (method, account_id, payment_enter_date, payment_absolute) VALUES (%d, %d, %d, 2)", []any{who, n, now}},
		{&session, "tel_sessions_log (slink_id, account_id, recv_date) VALUES (%d, %d, %d)", []any{who, n, now}},
		{&detail, "tel_sessions_detail (slink_id, account_id, dhs_sess_id) VALUES (%d, %d, %d)", []any{who, n, &session}},
		{&detail, "tel_sessions_detail (slink_id, account_id, dhs_sess_id) VALUES (%d, %d, %d)", []any{who, n, &session}},
	} {
		if at, ok := one.args[2].(*int64); ok {
			one.args[2] = *at
		}
		if err := tx.QueryRow("INSERT INTO " + fmt.Sprintf(one.query, one.args...) + " RETURNING id").Scan(one.id); err != nil {
			return nil, err
		}
	}
	if _, err := tx.Exec(fmt.Sprintf("INSERT INTO discount_transactions_iptraffic_all (id, slink_id, account_id, discount, discount_date) VALUES (%d, %d, %d, 1.5, %d)", charge, who, n, now)); err != nil {
		return nil, err
	}
	return map[string]int64{"discount_transactions_all": charge, "payment_transactions": payment, "tel_sessions_log": session, "tel_sessions_detail": detail}, tx.Commit()
}

// share is how many numbers each transaction through Holdfast has.
const share = 2

// delivered writes charges, payments and lines of the log through Holdfast, as
// fast as delivery brings them, and a few ahead of it: the sink always has work.
func (f *traffic) delivered(ctx context.Context) {
	var tables []*row.Schema
	for _, one := range []struct {
		table   string
		columns []row.Column
	}{
		{"discount_transactions_all", []row.Column{{Name: "slink_id"}, {Name: "account_id"}, {Name: "discount_date"}, {Name: "service_type"}}},
		{"payment_transactions", []row.Column{{Name: "method"}, {Name: "account_id"}, {Name: "payment_enter_date"}, {Name: "payment_absolute"}}},
		{"user_log", []row.Column{{Name: "who"}, {Name: "user_id"}, {Name: "date"}, {Name: "what"}}},
	} {
		s, err := f.hold.Schema(one.table, one.columns)
		if err != nil {
			f.Error(err)
			return
		}
		tables = append(tables, s)
	}
	ahead := uint64(20)
	if long() {
		ahead = 3000
	}
	for ctx.Err() == nil {
		if !long() {
			time.Sleep(10 * time.Millisecond)
		}
		if f.hold.Status().Sinks[0].LagRows > ahead {
			time.Sleep(3 * time.Millisecond)
			continue
		}
		if err := f.insert(ctx, tables); err != nil {
			f.Errorf("an insert through Holdfast failed: %v", err)
			return
		}
	}
}

// insert commits one transaction through Holdfast.
func (f *traffic) insert(ctx context.Context, tables []*row.Schema) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	tx := f.hold.Begin()
	for n := f.written[through] + 1; n <= f.written[through]+share; n++ {
		for _, s := range tables {
			if err := tx.Insert(s, []row.Value{row.Text(fmt.Sprint(through + 1)), row.Text(fmt.Sprint(n)), row.Text(fmt.Sprint(f.now)), row.Text("1")}); err != nil {
				return err
			}
		}
	}
	err := tx.Commit(context.WithoutCancel(ctx), true)
	if err == nil {
		f.written[through] += share
	}
	return err
}

// arrived wants each row that was acknowledged exactly once in the views, no
// other but those that fill wrote, and keys in the order in which Holdfast took
// the rows.
func (f *traffic) arrived() {
	f.Helper()
	for _, one := range []struct {
		table, who, number string
		times              [3]int64 // how many rows each number of each writer has
	}{
		{"discount_transactions_all", "slink_id", "account_id", [3]int64{1, 1, 1}},
		{"discount_transactions_iptraffic_all", "slink_id", "account_id", [3]int64{1, 1, 0}},
		{"payment_transactions", "method", "account_id", [3]int64{1, 1, 1}},
		{"tel_sessions_log", "slink_id", "account_id", [3]int64{1, 1, 0}},
		{"tel_sessions_detail", "slink_id", "account_id", [3]int64{2, 2, 0}},
		{"user_log", "who", "user_id", [3]int64{0, 0, 1}},
	} {
		in, all := one.table+"_all", f.ids[one.table]
		for w, n := range f.written {
			all += n * one.times[w]
			if one.times[w] == 0 {
				continue
			}
			of := fmt.Sprintf(" FROM %s WHERE %s = '%d'", in, one.who, w+1)
			for what, want := range map[string]int64{"count(*)": n * one.times[w], "count(DISTINCT " + one.number + ")": n, "min(" + one.number + ")": 1, "max(" + one.number + ")": n} {
				if got := f.number("SELECT " + what + of); got != want {
					f.Errorf("%s, writer %d: %s is %d, want %d", in, w+1, what, got, want)
				}
			}
		}
		if got := f.number("SELECT count(*) FROM " + in); got != all {
			f.Errorf("%s: %d rows, want %d", in, got, all)
		}
		if got := f.number("SELECT count(DISTINCT id) FROM " + in); got != all {
			f.Errorf("%s: %d keys in %d rows", in, got, all)
		}
		if one.times[through] == 0 {
			continue
		}
		if n := f.number(fmt.Sprintf("SELECT count(*) FROM (SELECT %s AS n, lag(%s) OVER (ORDER BY id) AS prior FROM %s WHERE %s = '%d') x WHERE n < prior", one.number, one.number, in, one.who, through+1)); n != 0 {
			f.Errorf("%s: the keys of %d delivered rows do not rise", in, n)
		}
	}
}

// rising wants the keys of each table above all those of the archive before,
// and of the current table above all archived ones.
func (b *anyBase) rising() {
	b.Helper()
	for _, t := range b.f.Tables {
		rows, err := b.db.Query(fmt.Sprintf("SELECT table_name FROM archives WHERE table_type = %d ORDER BY start_date", t.Type))
		if err != nil {
			b.Fatal(err)
		}
		var names []string
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				b.Fatal(err)
			}
			names = append(names, name)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			b.Fatal(err)
		}
		top, before := sql.NullInt64{}, ""
		for _, name := range append(names, t.Name) {
			var low, high sql.NullInt64
			if err := b.db.QueryRow("SELECT min(id), max(id) FROM "+name).Scan(&low, &high); err != nil {
				b.Fatal(err)
			}
			if low.Valid && top.Valid && low.Int64 <= top.Int64 {
				b.Errorf("%s begins with key %d, and %s ends with %d", name, low.Int64, before, top.Int64)
			}
			if high.Valid {
				top, before = high, name
			}
		}
	}
}

// most is for how long ten closings may lock the tables in all. On a quiet
// machine it is the second that is promised; SQLite has two, since each of its
// twelve ALTER TABLE RENAME reads a schema that has grown with the archives. Where
// other tests run beside it, it only tells that somebody waited for rows.
func (b *anyBase) most(quiet bool) time.Duration {
	switch {
	case !quiet:
		return 15 * time.Second
	case b.name == "SQLite":
		return 2 * time.Second
	}
	return time.Second
}
