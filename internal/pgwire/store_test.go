package pgwire

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/fault"
	"holdfast/row"
)

// memStore is a Store in memory that keeps what was committed, and what it
// was asked to do.
type memStore struct {
	mu       sync.Mutex
	auto     bool
	tables   map[string][]row.Column
	schemas  map[string]*row.Schema
	columns  []Column // declared last
	zone     *time.Location
	rows     []string // committed: "table(a,b)=x|NULL"
	commits  []string // "durable" or "written", one per commit with rows
	declared int      // how often Schema declared something

	failCommit error
	failInsert error
	failBack   error
	block      chan struct{} // when set, Commit waits for it, or for its context
	entered    chan struct{} // when set, gets a value as Commit starts to wait
}

func newMemStore(auto bool) *memStore {
	return &memStore{auto: auto, tables: make(map[string][]row.Column), schemas: make(map[string]*row.Schema)}
}

// table declares a table from "a int4, b text".
func (m *memStore) table(t testing.TB, name, columns string) *memStore {
	t.Helper()
	var cs []Column
	for c := range strings.SplitSeq(columns, ",") {
		n, ty, _ := strings.Cut(strings.TrimSpace(c), " ")
		cs = append(cs, Column{Column: row.Column{Name: n, Type: ty}})
	}
	if err := m.Declare(name, cs); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *memStore) AutoTables() bool { return m.auto }

func (m *memStore) Columns(table string) ([]row.Column, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	cs, ok := m.tables[table]
	if !ok {
		return nil, fault.New(fault.UndefinedTable, "relation %q does not exist", table).WithHint("declare it")
	}
	return slices.Clone(cs), nil
}

func (m *memStore) Declare(table string, columns []Column) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.tables[table]; ok {
		return fault.New(fault.DuplicateTable, "relation %q already exists", table)
	}
	m.tables[table], m.columns = nil, columns
	for _, c := range columns {
		m.tables[table] = append(m.tables[table], c.Column)
	}
	return nil
}

func (m *memStore) Schema(table string, columns []row.Column) (*row.Schema, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	have, ok := m.tables[table]
	if !ok && !m.auto {
		return nil, fault.New(fault.UndefinedTable, "relation %q does not exist", table)
	}
	out := make([]row.Column, len(columns))
	for i, c := range columns {
		j := slices.IndexFunc(have, func(h row.Column) bool { return h.Name == c.Name })
		switch {
		case j >= 0:
			out[i] = have[j]
		case !m.auto:
			return nil, fault.New(fault.UndefinedColumn, "column %q does not exist", c.Name)
		default:
			m.declared++
			have = append(have, c)
			out[i] = c
		}
	}
	m.tables[table] = have
	s := &row.Schema{Table: table, Stream: "main", Columns: out}
	if old := m.schemas[s.Key()]; old != nil {
		return old, nil
	}
	m.schemas[s.Key()] = s
	return s, nil
}

func (m *memStore) Begin() Tx { return &memTx{m: m} }

// taken returns the committed rows and forgets them.
func (m *memStore) taken() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := m.rows
	m.rows, m.commits = nil, nil
	return rows
}

type memTx struct {
	m      *memStore
	rows   []string
	yields bool
}

func (tx *memTx) Treat(zone *time.Location, yields bool) {
	tx.m.mu.Lock()
	defer tx.m.mu.Unlock()
	tx.m.zone, tx.yields = zone, yields
}

// told returns what was declared last, and the zone that was set last.
func (m *memStore) told() ([]Column, *time.Location) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.columns, m.zone
}

func (tx *memTx) Insert(s *row.Schema, values []row.Value) error {
	if tx.m.failInsert != nil {
		return tx.m.failInsert
	}
	if len(values) != len(s.Columns) {
		return fault.New(fault.InternalError, "%d values for %d columns", len(values), len(s.Columns))
	}
	var b strings.Builder
	b.WriteString(s.Table + "(")
	for i, c := range s.Columns {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(c.Name)
	}
	b.WriteString(")=")
	for i, v := range values {
		if i > 0 {
			b.WriteByte('|')
		}
		b.WriteString(v.String())
	}
	if tx.yields {
		b.WriteString(" unless there")
	}
	tx.rows = append(tx.rows, b.String())
	return nil
}

func (tx *memTx) Rows() int { return len(tx.rows) }

func (tx *memTx) Commit(ctx context.Context, durable bool) error {
	if len(tx.rows) == 0 {
		return nil
	}
	if tx.m.block != nil {
		if tx.m.entered != nil {
			tx.m.entered <- struct{}{}
		}
		select {
		case <-tx.m.block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	tx.m.mu.Lock()
	defer tx.m.mu.Unlock()
	if tx.m.failCommit != nil {
		return tx.m.failCommit
	}
	tx.m.rows = append(tx.m.rows, tx.rows...)
	tx.m.commits = append(tx.m.commits, map[bool]string{true: "durable", false: "written"}[durable])
	tx.rows = nil
	return nil
}

func (tx *memTx) RollbackTo(rows int) error {
	if rows > 0 && tx.m.failBack != nil {
		return tx.m.failBack
	}
	tx.rows = tx.rows[:min(rows, len(tx.rows))]
	return nil
}
