package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// callers insert linked rows that they number, and remember what they were told.
type callers struct {
	*testing.T
	reopen func() *sql.DB
	down   atomic.Bool // the server is killed: inserts fail

	mu  sync.RWMutex // held for reading during each insert, so that no row comes late
	db  *sql.DB
	now int64 // what rows are dated by

	next   atomic.Int64
	known  sync.Mutex
	acked  map[int64]bool // false: nobody knows whether it was committed
	recent int            // inserts since tick
}

// write starts callers, and returns what stops them.
func (c *callers) write(n int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	c.acked = map[int64]bool{}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for last := int64(0); ctx.Err() == nil; time.Sleep(2 * time.Millisecond) { // what they write is read again and again
				last = c.insert(last)
			}
		})
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			cancel()
			wg.Wait()
			c.db.Close()
			c.db = c.reopen()
			c.Cleanup(func() { c.db.Close() })
		})
	}
}

// insert writes a call with its leg, and returns the key of the call.
func (c *callers) insert(last int64) int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	who := c.next.Add(1)
	id, err := c.call(who)
	var e *mysql.MySQLError
	if errors.As(err, &e) && e.Number == 1213 { // a deadlock, as every client of it must be ready for
		return last
	}
	if err != nil && !c.down.Load() {
		c.Errorf("an insert failed: %v", err)
	}
	c.known.Lock()
	defer c.known.Unlock()
	c.acked[who] = err == nil
	if err != nil {
		return last
	}
	c.recent++
	if id <= last {
		c.Errorf("key %d comes behind %d", id, last)
	}
	return id
}

func (c *callers) call(who int64) (id int64, err error) {
	tx, err := c.db.Begin()
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // it is committed, or failed already
	if err := tx.QueryRow(fmt.Sprintf("INSERT INTO calls (at, who) VALUES (%d, %d) RETURNING id", c.now, who)).Scan(&id); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(fmt.Sprintf("INSERT INTO legs (call_id, who) VALUES (%d, %d)", id, who)); err != nil {
		return 0, err
	}
	return id, tx.Commit()
}

// tick ends a period that has rows, and returns its last second.
func (c *callers) tick() int64 {
	c.Helper()
	eventually(c.T, time.Minute, "an insert", func() (bool, string) {
		c.known.Lock()
		defer c.known.Unlock()
		return c.recent > 0 || c.Failed(), "nothing"
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recent = 0
	c.now += 10
	return c.now - 10
}

// reconnect has callers speak to the server that was started again.
func (c *callers) reconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.db.Close()
	c.db = c.reopen()
	c.down.Store(false)
}

// column reads one column; nil where there is no such table.
func (c *callers) column(query string) (all []string) {
	c.Helper()
	rows, err := c.db.Query(query)
	if err != nil {
		if !regexp.MustCompile("42P01|1146|no such table").MatchString(err.Error()) {
			c.Fatalf("%v\nin %s", err, query)
		}
		return nil
	}
	defer rows.Close()
	all = []string{}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			c.Fatal(err)
		}
		all = append(all, text)
	}
	if err := rows.Err(); err != nil {
		c.Fatalf("%v\nin %s", err, query)
	}
	return all
}

// told holds that the rows of a table are those that were acked, each once, and
// perhaps some that nobody was told about.
func (c *callers) told(table string, rows []string) {
	c.Helper()
	seen := map[string]int{}
	for _, who := range rows {
		seen[who]++
	}
	var lost, twice []string
	for who, acked := range c.acked {
		text := fmt.Sprint(who)
		switch n := seen[text]; {
		case acked && n == 0:
			lost = append(lost, text)
		case n > 1:
			twice = append(twice, text)
		}
		delete(seen, text)
	}
	if len(lost)+len(twice)+len(seen) > 0 {
		c.Errorf("%s: rows lost %v, read twice %v, never written %v", table, lost, twice, seen)
	}
}

// nothingLeft holds that all runs have ended, and that there is no table but
// those of the family, its archives, and what archive.md names.
func (c *closer) nothingLeft() {
	c.Helper()
	query := map[string]string{
		"PostgreSQL": "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v', 'p', 'm') AND relnamespace = 'public'::regnamespace",
		"MariaDB":    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()",
		"SQLite":     "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%'",
	}[c.engine]
	want := append(c.column("SELECT table_name FROM archives"), "archives", "calls", "legs", "calls_all", "legs_all", "holdfast_archive_runs", "holdfast_archive_tables")
	got := c.column(query)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		c.Errorf("there are %v, want %v", got, want)
	}
	if open := c.column("SELECT state FROM holdfast_archive_runs WHERE state <> 'closed'"); len(open) > 0 {
		c.Errorf("runs have not ended: %v", open)
	}
	if n := c.column("SELECT count(*) FROM calls c JOIN legs l ON l.call_id = c.id WHERE c.who <> l.who"); n[0] != "0" {
		c.Errorf("%s legs of other calls", n[0])
	}
}
