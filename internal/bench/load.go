package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/deliver"
	"holdfast/internal/journal"
	"holdfast/internal/throwaway"
	"holdfast/row"
	"holdfast/sink"
)

// loadRows is how many rows a transaction of a baseline has: what delivery puts
// into one batch, or a little more where a batch ends at its size in bytes.
const loadRows = 10_000

// loadCases are those of the sinks. The product is the whole way: a backlog
// that is in the journal already is read, decoded, grouped, and committed batch
// by batch together with the cursor, as a server does when its database is
// back. The baseline has the same rows at hand, in the form that is best for
// it, and puts them into an equal table of the same database.
func loadCases() []comparison {
	// What a server costs once, to connect and to start psql, would weigh too
	// much in less.
	const many = 10 * loadRows
	load := func(name, against string, needs func() error, to func(context.Context, *pair, place) (sink.Sink, error)) comparison {
		return comparison{
			name: "load/" + name, unit: "rows/s", goal: .9, step: many, against: against, needs: needs,
			open: func(ctx context.Context, at place) (*pair, error) { return openLoad(ctx, at, name, to) },
		}
	}
	return []comparison{
		load("postgres", `psql \copy of a file with the same rows, in one transaction, into the same server`, throwaway.HavePostgres, openLoadPostgres),
		load("mariadb", "", throwaway.HaveMariaDB, openLoadMariaDB),
		load("sqlite", "the same driver straight: prepared INSERTs of many rows, strings made beforehand, no cursor, transactions of 10,000 rows, same flushes", nil, openLoadSQLite),
	}
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

// openLoad fills a stream outside the time, and delivers it to the sink that
// open returns, which sets the baseline too.
func openLoad(ctx context.Context, at place, name string, open func(context.Context, *pair, place) (sink.Sink, error)) (*pair, error) {
	p := &pair{}
	s, err := openStream(p, at, keepSegments)
	var to sink.Sink
	if err == nil {
		to, err = open(ctx, p, at)
	}
	if err == nil {
		p.onClose(to.Close)
		_, err = s.j.Register(name)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	empty := p.prepare
	p.prepare = func(n int) error {
		if empty != nil {
			if err := empty(n); err != nil {
				return err
			}
		}
		var unused histogram
		_, err := s.appendRows(ctx, 1, batchRows, true)(n, &unused)
		return err
	}
	p.product = func(n int, took *histogram) (float64, error) {
		return float64(n), alone(1, took, func() error { return s.deliver(ctx, to, name) })
	}
	return p, nil
}

// deliver brings everything in the stream to the sink, starting from its
// cursor, in batches of the size that a server uses.
func (s *stream) deliver(ctx context.Context, to sink.Sink, name string) error {
	c := deliver.Config{
		Stream: delivered{s.j}, Sink: to, Name: name, Instance: fmt.Sprint(time.Now().UnixNano()), Mark: s.j.Sinks()[name],
		Linger: -1, // which a server has behind its last batch only
		Marked: func(seq uint64) { s.j.Mark(name, seq) },
	}
	if g, ok := to.(sink.Growing); ok {
		c.Most = g.MostBatches()
	}
	d := deliver.New(c)
	d.Start()
	return errors.Join(d.Drain(ctx), d.Close())
}
