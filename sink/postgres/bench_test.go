package postgres

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/row"
	"holdfast/sink/sinktest"
)

// BenchmarkLoad delivers batches of 10,000 rows of ten columns and some 200
// bytes, the cursor included, by turns with a plain COPY of the same rows, one
// transaction each, which is what psql's \copy does. "ratio" is ours to its,
// in rows per second; the goal is 0.9.
func BenchmarkLoad(b *testing.B) {
	const rows = 10_000
	names := []string{"id", "method", "from_tag", "to_tag", "callid", "sip_code", "sip_reason", "time", "src", "dst"}
	create := func(table string) string {
		return "CREATE TABLE " + table + " (" + strings.Join(names, " text, ") + " text)"
	}
	n, at := start(b, create("ours"), create("theirs"))
	s := text("ours", names...)
	var batch []row.Row
	var plain bytes.Buffer
	for i := range rows {
		v := []string{fmt.Sprint(i), "INVITE", fmt.Sprintf("tag-%08x", i*7919), fmt.Sprintf("tag-%08x", i*104729), fmt.Sprintf("%032x@10.0.0.%d", i*1299709, i%250),
			"200", "OK", "2026-01-02 03:04:05.678901", "sip:alice@192.0.2.1:5060", "sip:bob@198.51.100.7:5060"}
		plain.WriteString(strings.Join(v, "\t") + "\n")
		batch = append(batch, values(uint64(i+1), s, v...))
	}
	ctx := context.Background()
	c, err := pgconn.Connect(ctx, at)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { c.Close(ctx); <-c.CleanupDone() }()
	var ours, theirs []time.Duration
	seq := uint64(0)
	for b.Loop() {
		began := time.Now()
		if _, err := c.CopyFrom(ctx, bytes.NewReader(plain.Bytes()), "COPY theirs FROM STDIN"); err != nil {
			b.Fatal(err)
		}
		theirs = append(theirs, time.Since(began))
		seq += rows
		began = time.Now()
		if err := n.Apply(ctx, &again{rows: batch, end: row.Position{Seq: seq}}, new(sinktest.Rejects)); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(began))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	we, they := ours[len(ours)/2], theirs[len(theirs)/2]
	b.ReportMetric(rows/we.Seconds(), "rows/s")
	b.ReportMetric(rows/they.Seconds(), "copy-rows/s")
	b.ReportMetric(they.Seconds()/we.Seconds(), "ratio")
}

// again is a batch over rows that are there, which costs nothing to read: what
// the suite's own batch copies and spoils is not ours to pay.
type again struct {
	rows []row.Row
	at   int
	end  row.Position
}

// Next advances to the next row.
func (a *again) Next() bool { a.at++; return a.at <= len(a.rows) }

// Row returns the current row.
func (a *again) Row() *row.Row { return &a.rows[a.at-1] }

// Err returns nil.
func (a *again) Err() error { return nil }

// End returns where the batch ends.
func (a *again) End() row.Position { return a.end }
