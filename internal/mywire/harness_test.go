package mywire

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"

	"holdfast/internal/fault"
	"holdfast/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var fixedNow = time.Date(2026, 11, 21, 0, 4, 56, 789_000_000, time.UTC)

// memStore keeps committed rows as text.
type memStore struct {
	auto bool

	mu      sync.Mutex
	tables  map[string][]row.Column
	rows    []string // "table a=1 b=NULL", with "ignore" where they yield
	refuses error    // of a commit
}

func newStore(tables map[string][]row.Column) *memStore {
	if tables == nil {
		tables = map[string][]row.Column{}
	}
	return &memStore{tables: tables, auto: len(tables) == 0}
}

func (m *memStore) AutoTables() bool { return m.auto }

func (m *memStore) Columns(table string) ([]row.Column, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.tables[table]
	if !ok {
		return nil, fault.New(fault.UndefinedTable, "relation %q does not exist", table)
	}
	return c, nil
}

func (m *memStore) Schema(table string, columns []row.Column) (*row.Schema, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.tables[table]
	if !ok && !m.auto {
		return nil, fault.New(fault.UndefinedTable, "relation %q does not exist", table)
	}
	out := make([]row.Column, len(columns))
	for i, c := range columns {
		out[i] = c
		found := false
		for _, k := range known {
			if k.Name == c.Name {
				out[i], found = k, true
			}
		}
		if !found && !m.auto {
			return nil, fault.New(fault.UndefinedColumn, "column %q of relation %q does not exist", c.Name, table)
		}
		if !found {
			known = append(known, c)
		}
	}
	m.tables[table] = known
	return &row.Schema{Table: table, Columns: out}, nil
}

func (m *memStore) Begin() Tx { return &memTx{m: m} }

func (m *memStore) all() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.rows, "\n")
}

func (m *memStore) refuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuses = err
}

type memTx struct {
	m      *memStore
	rows   []string
	yields bool
}

func (t *memTx) Insert(s *row.Schema, values []row.Value) error {
	if len(values) != len(s.Columns) {
		panic("a row of another width")
	}
	b := s.Table
	if t.yields {
		b += " ignore"
	}
	for i, v := range values {
		text := "NULL"
		if !v.Null {
			text = string(v.Text)
		}
		b += fmt.Sprintf(" %s=%s", s.Columns[i].Name, text)
	}
	if strings.Contains(b, "poison") {
		return fault.New(fault.InvalidTextRepr, "poison")
	}
	t.rows = append(t.rows, b)
	return nil
}

func (t *memTx) Treat(_ *time.Location, yields bool) { t.yields = yields }
func (t *memTx) Rows() int                           { return len(t.rows) }
func (t *memTx) RollbackTo(n int) error              { t.rows = t.rows[:n]; return nil }

func (t *memTx) Commit(context.Context, bool) error {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	if t.m.refuses != nil {
		return t.m.refuses
	}
	t.m.rows = append(t.m.rows, t.rows...)
	t.rows = nil
	return nil
}

// startServer serves until the test ends, and returns its address.
func startServer(t testing.TB, o Options) string {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return fixedNow }
	}
	srv := New(o)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr().String()
}

// open returns a pool of one connection.
func open(t testing.TB, addr, user, query string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", user+"@tcp("+addr+")/d?"+query)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}
