package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"holdfast"
	"holdfast/row"
)

// storedSegments is how many segments of rows look-ups are made in, where
// nothing else was asked.
const storedSegments = 8

// store is rows that are looked up: 200 bytes each, of which one column has
// another value in each row and one has few.
type store struct {
	db   *holdfast.DB
	rows int
	r    *rand.Rand
}

const storeTable = "acc"

func address(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255) }

// openStore fills a stream with an index, and waits until that is whole.
func openStore(ctx context.Context, p *pair, at place) (*store, error) {
	bytes := at.stored
	if bytes <= 0 {
		bytes = storedSegments * at.segment
	}
	db, err := holdfast.Open(filepath.Join(at.dir, "data"), holdfast.Options{Streams: []holdfast.Stream{{
		Name: holdfast.MainStream, Index: holdfast.Index{Columns: []string{"src_ip"}},
	}}})
	if err != nil {
		return nil, err
	}
	p.onClose(db.Close)
	s := &store{db: db, rows: (int(bytes/264) + batchRows - 1) / batchRows * batchRows, r: rand.New(rand.NewPCG(1, 2))} // what such a row takes on disk
	columns := []row.Column{{Name: "src_ip", Type: "text"}, {Name: "seconds", Type: "integer"}, {Name: "pad", Type: "text"}}
	sc, err := db.Schema(storeTable, columns)
	if err != nil {
		return nil, err
	}
	pad := row.Text(fmt.Sprintf("%0180d", 0))
	for i := 0; i < s.rows; {
		tx := db.Begin()
		for range batchRows {
			if err := tx.Insert(sc, []row.Value{row.Text(address(i)), row.Text(fmt.Sprint(i % 1000)), pad}); err != nil {
				return nil, errors.Join(err, ctx.Err())
			}
			i++
		}
		if err := tx.Commit(ctx, false); err != nil {
			return nil, err
		}
	}
	if err := db.Seal(ctx); err != nil {
		return nil, err
	}
	return s, db.SettleIndexes(ctx)
}

// look reads rows that match, and returns how many those were.
func (s *store) look(ctx context.Context, o holdfast.ReadOptions) (n int, e holdfast.Explained, err error) {
	o.Table = storeTable
	o.Explain = func(got holdfast.Explained) { e = got }
	for _, err := range s.db.Read(ctx, o) {
		if err != nil {
			return n, e, err
		}
		n++
	}
	return n, e, nil
}

// lookUp finds one row by its address.
func (s *store) lookUp(ctx context.Context, whole bool) error {
	i := s.r.IntN(min(s.rows, 1<<24))
	n, e, err := s.look(ctx, holdfast.ReadOptions{Where: fmt.Sprintf("src_ip == %q", address(i)), NoIndex: whole})
	if err == nil && (n == 0 || !whole && e.Opened > 2) {
		err = fmt.Errorf("look-up of %s: %d rows of %d, %+v", address(i), n, s.rows, e)
	}
	return err
}

// indexCases look rows up, and read them by a condition that no index helps.
func indexCases() []comparison {
	return []comparison{{
		name: "index/look-up", unit: "look-ups/s", step: 1, against: "the same look-up without the index",
		open: func(ctx context.Context, at place) (*pair, error) {
			p := &pair{}
			s, err := openStore(ctx, p, at)
			if err != nil {
				return nil, errors.Join(err, p.close())
			}
			many := func(whole bool, share int) side {
				return func(n int, took *histogram) (float64, error) {
					n = max(1, n/share)
					for range n {
						start := time.Now()
						if err := s.lookUp(ctx, whole); err != nil {
							return 0, err
						}
						took.add(time.Since(start))
					}
					return float64(n), nil
				}
			}
			// The baseline takes hundreds of times as long, so it does fewer.
			p.product, p.baseline = many(false, 1), many(true, 500)
			p.against = fmt.Sprintf("the same look-up without the index, in %d MiB", s.rows*264>>20)
			return p, nil
		},
	}, {
		name: "index/scan", unit: "MB/s", goal: .5, step: 1, against: "reading the same rows back, all of them",
		open: func(ctx context.Context, at place) (*pair, error) {
			p := &pair{}
			s, err := openStore(ctx, p, at)
			if err != nil {
				return nil, errors.Join(err, p.close())
			}
			all := func(o holdfast.ReadOptions, want int) side {
				return func(n int, took *histogram) (float64, error) {
					for range n {
						start := time.Now()
						got, e, err := s.look(ctx, o)
						if err != nil {
							return 0, err
						}
						if got != want || e.Skipped > 0 {
							return 0, fmt.Errorf("%d rows were read, want %d: %+v", got, want, e)
						}
						took.add(time.Since(start))
					}
					return float64(n) * float64(s.rows) * 264 / 1e6, nil
				}
			}
			p.product = all(holdfast.ReadOptions{Where: "seconds == 7"}, s.rows/1000)
			p.baseline = all(holdfast.ReadOptions{}, s.rows)
			return p, nil
		},
	}}
}
