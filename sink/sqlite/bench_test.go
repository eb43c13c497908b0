package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
)

const (
	benchRows    = 10_000
	benchColumns = 10
)

// benchData is rows of 10 columns and 200 bytes.
func benchData() []row.Row {
	s := &row.Schema{Table: "calls"}
	for i := range benchColumns {
		s.Columns = append(s.Columns, row.Column{Name: fmt.Sprintf("column_%d", i), Type: "text"})
	}
	rows := make([]row.Row, benchRows)
	for i := range rows {
		rows[i] = row.Row{Seq: uint64(i + 1), Schema: s}
		for c := range benchColumns {
			rows[i].Values = append(rows[i].Values, row.Text(fmt.Sprintf("%05d-%02d-%s", i, c, strings.Repeat("x", 11))))
		}
	}
	return rows
}

// BenchmarkApply gives the rows per second of Apply, of the barest load that
// this driver can do of the same rows (strings made beforehand, as many rows
// per statement, nothing checked, no cursor), and their ratio. The two alternate, batch by batch.
func BenchmarkApply(b *testing.B) {
	rows := benchData()
	ctx := context.Background()
	s, err := Open(filepath.Join(b.TempDir(), "apply.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	n, err := s.Attach(ctx, sink.ID{StreamID: "id", Stream: "main", Sink: "bench"}, "a", row.Position{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	bare := newBareLoad(b, rows)
	var apply, base time.Duration
	for i := 0; b.Loop(); i++ {
		for r := range rows {
			rows[r].Seq = uint64(i*benchRows + r + 1)
		}
		start := time.Now()
		if err := n.Apply(ctx, &sliceBatch{rows: rows, at: -1, end: row.Position{Seq: uint64((i + 1) * benchRows)}}, new(sinktest.Rejects)); err != nil {
			b.Fatal(err)
		}
		apply += time.Since(start)
		start = time.Now()
		bare.run(b)
		base += time.Since(start)
	}
	perSecond := func(d time.Duration) float64 { return float64(b.N) * benchRows / d.Seconds() }
	b.ReportMetric(perSecond(apply), "rows/s")
	b.ReportMetric(perSecond(base), "baseline-rows/s")
	b.ReportMetric(perSecond(apply)/perSecond(base), "ratio")
}

// bareLoad is the baseline.
type bareLoad struct {
	conn *conn
	stmt driver.StmtExecContext

	texts []string // every value, as a program has it that holds its rows in memory
	args  []driver.NamedValue
}

func newBareLoad(b *testing.B, rows []row.Row) *bareLoad {
	c, err := open(context.Background(), filepath.Join(b.TempDir(), "bare.db"), 1000)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.close() })
	var names []string
	for _, col := range rows[0].Schema.Columns {
		names = append(names, col.Name+" TEXT")
	}
	if _, err := c.exec(context.Background(), "CREATE TABLE calls ("+strings.Join(names, ",")+")"); err != nil {
		b.Fatal(err)
	}
	one := "(" + strings.TrimSuffix(strings.Repeat("?,", benchColumns), ",") + ")"
	stmt, err := c.Prepare("INSERT INTO calls VALUES " + strings.TrimSuffix(strings.Repeat(one+",", maxRows), ","))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { stmt.Close() })
	l := &bareLoad{conn: c, stmt: stmt.(driver.StmtExecContext)}
	for _, r := range rows {
		for _, v := range r.Values {
			l.texts = append(l.texts, string(v.Text))
		}
	}
	return l
}

func (l *bareLoad) run(b *testing.B) {
	ctx := context.Background()
	if _, err := l.conn.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		b.Fatal(err)
	}
	for at := 0; at+maxRows*benchColumns <= len(l.texts); at += maxRows * benchColumns {
		l.args = l.args[:0]
		for i, text := range l.texts[at : at+maxRows*benchColumns] {
			l.args = append(l.args, driver.NamedValue{Ordinal: i + 1, Value: text})
		}
		if _, err := l.stmt.ExecContext(ctx, l.args); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := l.conn.exec(ctx, "COMMIT"); err != nil {
		b.Fatal(err)
	}
}

// sliceBatch costs nothing, other than sinktest.Batch, which spoils rows.
type sliceBatch struct {
	rows []row.Row
	at   int
	end  row.Position
}

func (s *sliceBatch) Next() bool        { s.at++; return s.at < len(s.rows) }
func (s *sliceBatch) Row() *row.Row     { return &s.rows[s.at] }
func (s *sliceBatch) Err() error        { return nil }
func (s *sliceBatch) End() row.Position { return s.end }
