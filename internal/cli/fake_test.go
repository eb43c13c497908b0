package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
	"holdfast/row"
)

// memory is a database in memory, behind a real server on a real socket.
type memory struct {
	mu      sync.Mutex
	rows    []*row.Row
	damage  []row.Damage
	commits int
	refuse  func(commit int) error // what the n-th commit answers, from 1
	more    chan struct{}
	closed  int
}

func (m *memory) Schema(table string, columns []row.Column) (*row.Schema, error) {
	if table == "unknown" {
		return nil, fault.New(fault.UndefinedTable, "table %q is not known", table).WithHint("declare it")
	}
	return &row.Schema{Table: table, Columns: columns}, nil
}

func (m *memory) Columns(table string) ([]row.Column, error) {
	return nil, fault.New(fault.UndefinedTable, "table %q is not known", table)
}

func (m *memory) Begin() httpapi.Tx { return &transaction{m: m} }

type transaction struct {
	m    *memory
	rows []*row.Row
}

func (t *transaction) Insert(s *row.Schema, values []row.Value) error {
	r := &row.Row{Received: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMicro(), Schema: s}
	for _, v := range values {
		if string(v.Text) == "bad" {
			return fault.New(fault.InvalidTextRepr, "value %q is bad", v.Text).WithHint("use a good one")
		}
		r.Values = append(r.Values, row.Value{Text: bytes.Clone(v.Text), Null: v.Null})
	}
	t.rows = append(t.rows, r)
	return nil
}

func (t *transaction) Rows() int { return len(t.rows) }

func (t *transaction) Rollback() {}

func (t *transaction) Commit(context.Context, bool) error {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.m.commits++
	if t.m.refuse != nil {
		if err := t.m.refuse(t.m.commits); err != nil {
			return err
		}
	}
	for _, r := range t.rows {
		r.Seq = uint64(len(t.m.rows) + 1)
		t.m.rows = append(t.m.rows, r)
	}
	return nil
}

func (m *memory) Status(context.Context) (httpapi.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return httpapi.Status{
		Version: "v0.1", Started: time.Now().Add(-3 * time.Minute), Data: "/data", Connections: 2, ResidentBytes: 30 << 20, PeakResidentBytes: 40 << 20,
		Listen:  httpapi.Listen{PG: "127.0.0.1:5433"},
		Streams: []httpapi.StreamStatus{{Name: "main", State: "ok", FirstSeq: 1, EndSeq: uint64(len(m.rows)), Segments: 1, Bytes: 1 << 20, LimitBytes: 200 << 30, Damage: m.damage}},
		Sinks:   []httpapi.SinkStatus{{Name: "default", Stream: "main", Type: "sqlite", State: "waiting", Seq: 1, LagRows: 41, LagSeconds: 7200, LastError: "database is\nlocked"}},
	}, nil
}

func (m *memory) Verify(_ context.Context, stream string, report func(row.Damage) error) (httpapi.Verified, error) {
	if stream != "" && stream != "main" {
		return httpapi.Verified{}, fault.New(fault.UndefinedObject, "stream %q is not known", stream)
	}
	for _, d := range m.damage {
		if err := report(d); err != nil {
			return httpapi.Verified{}, err
		}
	}
	return httpapi.Verified{Streams: 1, Segments: 2, Rows: int64(len(m.rows)), Bytes: 3 << 20, Damaged: len(m.damage)}, nil
}

func (m *memory) Seal(context.Context) error { return nil }

func (m *memory) Rows(ctx context.Context, q httpapi.RowsQuery, emit func(*row.Row) error, damage func(row.Damage) error) error {
	for _, d := range m.damage {
		if err := damage(d); err != nil {
			return err
		}
	}
	for n := 0; ; {
		m.mu.Lock()
		rows := m.rows
		m.mu.Unlock()
		for _, r := range rows {
			if r.Seq < q.From || q.Table != "" && r.Schema.Table != q.Table || q.Limit > 0 && n == q.Limit {
				continue
			}
			n++
			if err := emit(r); err != nil {
				return err
			}
		}
		if !q.Follow {
			return nil
		}
		q.From = max(q.From, uint64(len(rows)+1))
		select {
		case <-m.more:
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *memory) Ready() error { return nil }

// Close counts, so that a test sees that the database was given up.
func (m *memory) Close() error {
	m.closed++
	return nil
}

// server serves m in a data directory and returns the directory.
func server(t *testing.T, m *memory) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", config.AdminSocket(dir))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := httpapi.Server(ctx, httpapi.New(httpapi.Options{Store: m, Admin: m}).Private(), slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		cancel()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		<-done
		os.RemoveAll(dir)
		goleak.VerifyNone(t)
	})
	return dir
}

// tcp serves m on a port and returns its address.
func tcp(t *testing.T, m *memory) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := httpapi.Server(context.Background(), httpapi.New(httpapi.Options{Store: m, Admin: m}).Public(), slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return l.Addr().String()
}

// result is what a run of the program left.
type result struct {
	code        int
	out, errors string
}

// run runs the program with nothing in its environment but env ("NAME=value").
func run(t *testing.T, stdin string, env []string, args ...string) result {
	t.Helper()
	return runWith(&Env{Context: t.Context(), Stdin: strings.NewReader(stdin), Getenv: lookup(env)}, args...)
}

func runWith(e *Env, args ...string) result {
	var out, errs bytes.Buffer
	if e.Stdout == nil {
		e.Stdout = &out
	}
	e.Stderr = &errs
	code := Run(e, args)
	return result{code, out.String(), errs.String()}
}

func lookup(env []string) func(string) string {
	return func(name string) string {
		for _, e := range env {
			if k, v, _ := strings.Cut(e, "="); k == name {
				return v
			}
		}
		return ""
	}
}

// stored returns the values in m, one line per row, fields apart by bars.
func (m *memory) stored() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, r := range m.rows {
		var parts []string
		for _, v := range r.Values {
			parts = append(parts, v.String())
		}
		out = append(out, strings.Join(parts, "|"))
	}
	return out
}

// broken is a reader that fails after its text.
type broken struct{ text io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.text.Read(p)
	if err == io.EOF {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func absent(t *testing.T) string { return filepath.Join(t.TempDir(), "absent") }
