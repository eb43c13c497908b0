package httpapi

import (
	"context"
	"errors"
	"strings"
	"sync"

	"holdfast/internal/fault"
	"holdfast/row"
)

// fake is a Store and an Admin in memory, which remembers each committed row
// as "table(column type=value, ...)".
type fake struct {
	mu        sync.Mutex
	rows      []string
	durable   []bool
	begun     int
	ended     int
	columns   map[string][]row.Column
	schemaErr error
	insertErr error
	commitErr error
	readyErr  error
	schemas   int

	status   Status
	stored   []*row.Row
	damage   []row.Damage
	queries  []RowsQuery
	sealed   int
	adminErr error
}

func (f *fake) Schema(table string, columns []row.Column) (*row.Schema, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.schemas++
	if f.schemaErr != nil {
		return nil, f.schemaErr
	}
	return &row.Schema{Table: table, Columns: columns}, nil
}

func (f *fake) Columns(table string) ([]row.Column, error) {
	if c, ok := f.columns[table]; ok {
		return c, nil
	}
	return nil, fault.New(fault.UndefinedTable, "table %q is not known", table)
}

func (f *fake) Begin() Tx {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun++
	return &fakeTx{f: f}
}

type fakeTx struct {
	f     *fake
	rows  []string
	ended bool
}

func (t *fakeTx) Insert(s *row.Schema, values []row.Value) error {
	if t.f.insertErr != nil {
		return t.f.insertErr
	}
	if len(values) != len(s.Columns) {
		return errors.New("the number of values is not that of the columns")
	}
	parts := make([]string, len(values))
	for i, v := range values {
		text := "NULL"
		if !v.Null {
			text = "'" + string(v.Text) + "'"
		}
		parts[i] = s.Columns[i].Name + " " + s.Columns[i].Type + "=" + text
	}
	t.rows = append(t.rows, s.Table+"("+strings.Join(parts, ", ")+")")
	return nil
}

func (t *fakeTx) Rows() int { return len(t.rows) }

func (t *fakeTx) Commit(_ context.Context, durable bool) error {
	t.end()
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	if t.f.commitErr != nil {
		return t.f.commitErr
	}
	t.f.rows = append(t.f.rows, t.rows...)
	t.f.durable = append(t.f.durable, durable)
	return nil
}

func (t *fakeTx) Rollback() { t.end() }

// end panics where a transaction is ended twice: the contract says once.
func (t *fakeTx) end() {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	if t.ended {
		panic("the transaction is ended twice")
	}
	t.ended = true
	t.f.ended++
}

func (f *fake) Status(context.Context) (Status, error) { return f.status, f.adminErr }

func (f *fake) Verify(_ context.Context, stream string, report func(row.Damage) error) (Verified, error) {
	v := Verified{Streams: 1, Rows: int64(len(f.stored))}
	for _, d := range f.damage {
		if stream != "" && d.Stream != stream {
			continue
		}
		v.Damaged++
		if err := report(d); err != nil {
			return v, err
		}
	}
	return v, f.adminErr
}

func (f *fake) Seal(context.Context) error {
	f.sealed++
	return f.adminErr
}

func (f *fake) Rows(ctx context.Context, q RowsQuery, emit func(*row.Row) error, damage func(row.Damage) error) error {
	f.mu.Lock()
	f.queries = append(f.queries, q)
	f.mu.Unlock()
	for _, d := range f.damage {
		if err := damage(d); err != nil {
			return err
		}
	}
	n := 0
	for _, r := range f.stored {
		if r.Seq < q.From || q.Table != "" && r.Schema.Table != q.Table || q.Limit > 0 && n == q.Limit {
			continue
		}
		n++
		if err := emit(r); err != nil {
			return err
		}
	}
	if q.Follow {
		<-ctx.Done()
		return nil
	}
	return f.adminErr
}

func (f *fake) Ready() error { return f.readyErr }
