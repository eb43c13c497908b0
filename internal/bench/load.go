package bench

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"holdfast/internal/deliver"
	"holdfast/internal/journal"
	"holdfast/row"
	"holdfast/sink/sqlite"
)

// loadRows is how many rows a transaction has on both sides: what delivery
// puts into one batch.
const loadRows = 10_000

// loadCases are those of the sinks.
func loadCases() []comparison {
	return []comparison{{
		name: "sqlite/load", unit: "rows/s", goal: .9, step: loadRows, open: openLoad,
		against: "the same driver straight: prepared INSERTs of many rows, strings made beforehand, no cursor, same transactions and flushes",
	}}
}

// delivered is a stream as a Deliverer wants it.
type delivered struct{ *journal.Journal }

// Check tells the two errors in delivery's words.
func (d delivered) Check(pos row.Position) error {
	err := d.Journal.Check(pos)
	switch {
	case errors.Is(err, journal.ErrOtherJournal):
		return fmt.Errorf("%w: %w", deliver.ErrOtherJournal, err)
	case errors.Is(err, journal.ErrGone):
		return fmt.Errorf("%w: %w", deliver.ErrGone, err)
	}
	return err
}

// Reader opens a reader; a row that is gone is told in delivery's words.
func (d delivered) Reader(from uint64) (deliver.Reader, error) {
	r, err := d.Journal.Reader(from)
	if errors.Is(err, journal.ErrGone) {
		err = fmt.Errorf("%w: %w", deliver.ErrGone, err)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// openLoad fills a stream outside the time, and delivers it into one file;
// the baseline inserts as many rows into another. Both files grow alike.
func openLoad(ctx context.Context, at place) (*pair, error) {
	p := &pair{}
	s, err := openStream(p, at, keepSegments)
	var b *bareLoad
	if err == nil {
		b, err = newBareLoad(ctx, p, filepath.Join(at.dir, "bare.db"))
	}
	var to *sqlite.Sink
	if err == nil {
		to, err = sqlite.Open(filepath.Join(at.dir, "sink.db"), sqlite.Options{})
	}
	if err == nil {
		p.onClose(to.Close)
		_, err = s.j.Register("sqlite")
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.prepare = func(n int) error {
		var unused histogram
		_, err := s.appendRows(ctx, 1, batchRows, true)(n, &unused)
		return err
	}
	p.product = func(n int, took *histogram) (float64, error) {
		return float64(n), alone(1, took, func() error { return s.deliver(ctx, to) })
	}
	p.baseline = func(n int, took *histogram) (float64, error) {
		return float64(n), inBatches(n, loadRows, took, func(rows int) error { return b.insert(ctx, rows) })
	}
	return p, nil
}

// deliver brings everything in the stream to the sink, starting from its
// cursor, as a server does when it starts with a backlog.
func (s *stream) deliver(ctx context.Context, to *sqlite.Sink) error {
	mark := s.j.Sinks()["sqlite"]
	d := deliver.New(deliver.Config{
		Stream: delivered{s.j}, Sink: to, Name: "sqlite", Instance: fmt.Sprint(time.Now().UnixNano()), Mark: mark,
		Rows: loadRows, Bytes: 64 << 20, Linger: -1,
		Marked: func(seq uint64) { s.j.Mark("sqlite", seq) },
	})
	d.Start()
	return errors.Join(d.Drain(ctx), d.Close())
}

// bareLoad inserts rows into SQLite with nothing in between: through the
// driver itself, without database/sql, which would copy every value again. It
// checks nothing, keeps no cursor, and its rows are strings in memory already.
// Its file has the settings that the sink gives its own.
type bareLoad struct {
	conn driver.Conn
	stmt driver.StmtExecContext
	args []driver.NamedValue
}

// bareRows is how many rows a statement has; more are no faster.
const bareRows = 64

func newBareLoad(ctx context.Context, p *pair, path string) (*bareLoad, error) {
	db, err := sql.Open("sqlite", path) // the driver that sink/sqlite brings
	if err != nil {
		return nil, err
	}
	p.onClose(db.Close)
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	p.onClose(c.Close)
	for _, q := range []string{
		"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA cache_size = -2048", "PRAGMA wal_autocheckpoint = 2000",
		"CREATE TABLE " + benchTable + " (" + strings.ReplaceAll(columnNames(), ",", " TEXT, ") + " TEXT)",
	} {
		if _, err := c.ExecContext(ctx, q); err != nil {
			return nil, err
		}
	}
	b := &bareLoad{}
	places := "(" + strings.TrimSuffix(strings.Repeat("?,", benchColumns), ",") + "),"
	err = c.Raw(func(raw any) (err error) {
		b.conn = raw.(driver.Conn)
		stmt, err := b.conn.Prepare("INSERT INTO " + benchTable + " VALUES " + strings.TrimSuffix(strings.Repeat(places, bareRows), ","))
		if err == nil {
			p.onClose(stmt.Close)
			b.stmt = stmt.(driver.StmtExecContext)
		}
		return err
	})
	for range bareRows {
		for _, v := range values() {
			b.args = append(b.args, driver.NamedValue{Ordinal: len(b.args) + 1, Value: string(v.Text)})
		}
	}
	return b, err
}

// insert commits rows rows in one transaction; a last statement that is not
// full is filled up, which favours the baseline by less than a hundredth.
func (b *bareLoad) insert(ctx context.Context, rows int) error {
	if err := b.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for at := 0; at < rows; at += bareRows {
		if _, err := b.stmt.ExecContext(ctx, b.args); err != nil {
			return err
		}
	}
	return b.exec(ctx, "COMMIT")
}

func (b *bareLoad) exec(ctx context.Context, query string) error {
	_, err := b.conn.(driver.ExecerContext).ExecContext(ctx, query, nil)
	return err
}
