package bench

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"path/filepath"
	"strings"

	"holdfast/sink"
	"holdfast/sink/sqlite"
)

// openLoadSQLite has two files that grow alike.
func openLoadSQLite(ctx context.Context, p *pair, at place) (sink.Sink, error) {
	b, err := newBareLoad(ctx, p, filepath.Join(at.dir, "bare.db"))
	if err != nil {
		return nil, err
	}
	p.baseline = func(n int, took *histogram) (float64, error) {
		return float64(n), inBatches(n, loadRows, took, func(rows int) error { return b.insert(ctx, rows) })
	}
	p.cpu = ownCPU
	to, err := sqlite.Open(filepath.Join(at.dir, "sink.db"), sqlite.Options{})
	if err != nil {
		return nil, err
	}
	return to, nil
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
