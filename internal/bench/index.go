package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
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

// address is that of one row alone.
func address(i int) string {
	return fmt.Sprintf("%d.%d.%d.%d", 10+i>>24, i>>16&255, i>>8&255, i&255)
}

// openStore fills a stream with an index, and waits until that is whole. memory
// is for descriptions of slices, as holdfast.Options has it; flat, where set,
// gets the same rows as lines of text.
func openStore(ctx context.Context, p *pair, at place, memory int64, flat io.Writer) (*store, error) {
	bytes := at.stored
	if bytes <= 0 {
		bytes = storedSegments * at.segment
	}
	db, err := holdfast.Open(filepath.Join(at.dir, "data"), holdfast.Options{IndexMemory: memory, Streams: []holdfast.Stream{{
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
			if flat != nil {
				if _, err := fmt.Fprintf(flat, "%s,%d,%s\n", address(i), i%1000, pad.Text); err != nil {
					return nil, err
				}
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
	i := s.r.IntN(s.rows)
	n, e, err := s.look(ctx, holdfast.ReadOptions{Where: fmt.Sprintf("src_ip == %q", address(i)), NoIndex: whole})
	if err == nil && (n != 1 || !whole && e.Opened > 1) {
		err = fmt.Errorf("look-up of %s: %d rows of %d, %+v", address(i), n, s.rows, e)
	}
	return err
}

// lookUpStep is how many look-ups a run has at least: what they are compared
// with takes hundreds of times as long each, so one of it is done for so many.
const lookUpStep = 100

// many is a side of so many look-ups.
func many(share int, one func() error) side {
	return func(n int, took *histogram) (float64, error) {
		n = max(1, n/share)
		for range n {
			start := time.Now()
			if err := one(); err != nil {
				return 0, err
			}
			took.add(time.Since(start))
		}
		return float64(n), nil
	}
}

// lookUps compares look-ups through the index with the same ones without it.
func lookUps(memory int64) func(ctx context.Context, at place) (*pair, error) {
	return func(ctx context.Context, at place) (*pair, error) {
		p := &pair{}
		s, err := openStore(ctx, p, at, memory, nil)
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.product = many(1, func() error { return s.lookUp(ctx, false) })
		p.baseline = many(lookUpStep, func() error { return s.lookUp(ctx, true) })
		p.against = fmt.Sprintf("the same look-up without the index, in %d MiB", s.rows*264>>20)
		return p, nil
	}
}

// lookUpsByGrep compares them with grep over the same rows in a text file, which
// the kernel may keep in memory; what Holdfast reads comes from the disk.
func lookUpsByGrep(ctx context.Context, at place) (p *pair, err error) {
	p = &pair{}
	name := filepath.Join(at.dir, "rows.csv")
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewWriterSize(f, 1<<20)
	s, err := openStore(ctx, p, at, 0, lines)
	if err = errors.Join(err, lines.Flush(), f.Close()); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.product = many(1, func() error { return s.lookUp(ctx, false) })
	p.baseline = many(lookUpStep, func() error {
		grep := exec.CommandContext(ctx, "grep", "-F", "-c", "-e", address(s.r.IntN(s.rows))+",", name)
		grep.Env = append(os.Environ(), "LC_ALL=C")
		return grep.Run() // which fails where no line matches
	})
	p.against = fmt.Sprintf("grep -F over the same rows in a text file, of %d MiB", s.rows*200>>20)
	return p, nil
}

// haveGrep says that grep is missing.
func haveGrep() error {
	if _, err := exec.LookPath("grep"); err != nil {
		return errors.New("grep is not installed")
	}
	return nil
}

// scans compares reading by a condition that no index helps with reading all.
func scans(ctx context.Context, at place) (*pair, error) {
	p := &pair{}
	s, err := openStore(ctx, p, at, 0, nil)
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
}

// indexCases look rows up, and read them by a condition that no index helps.
// Those that are cold keep no description of a slice from one look-up to the
// next.
func indexCases() []comparison {
	return []comparison{
		{name: "index/look-up", unit: "look-ups/s", step: lookUpStep, against: "the same look-up without the index", open: lookUps(0)},
		{name: "index/look-up-cold", unit: "look-ups/s", step: lookUpStep, against: "the same look-up without the index", open: lookUps(-1)},
		{name: "index/look-up-grep", unit: "look-ups/s", step: lookUpStep, against: "grep -F over the same rows in a text file", needs: haveGrep, open: lookUpsByGrep},
		{name: "index/scan", unit: "MB/s", goal: .5, step: 1, against: "reading the same rows back, all of them", open: scans},
	}
}
