package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"holdfast"
	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/row"
)

// Holdfast is measured as it is in its daily work: what it writes goes into
// files that were segments before. Each session first writes as much as it
// keeps, twice.
const (
	segmentSize = 64 << 20
	history     = 2 * segmentSize
	aging       = 4 * segmentSize
)

// libraryColumns is how many columns the rows of the library have, 20 bytes each.
const libraryColumns = 10

// textColumns returns the columns of a table.
func textColumns(n int) []row.Column {
	cs := make([]row.Column, n)
	for i := range cs {
		cs[i] = row.Column{Name: fmt.Sprintf("column_%d", i), Type: "text"}
	}
	return cs
}

// openJournal opens Holdfast without its upper half, with rows of one column,
// which is what the peers store.
func openJournal(dir string, _ work) (*session, error) {
	dir = filepath.Join(dir, "stream")
	j, d, err := openAt(dir, journal.Limits{History: history})
	if err != nil {
		return nil, err
	}
	s := &session{writer: func() appender { return journalWriter(j) }}
	aged, err := age(s)
	s.held = func() (n int, err error) {
		if err := errors.Join(j.Close(), d.Close()); err != nil {
			return 0, err
		}
		j, d, err := openAt(dir, journal.Limits{}) // removes nothing while it is read
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, j.Close(), d.Close()) }()
		r, err := j.Reader(j.Oldest().Seq + 1)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		last := j.Oldest().Seq
		for {
			b, err := r.TryNext()
			if err != nil || b == nil {
				return int(last) - aged, err
			}
			for i := range b.Rows {
				if last++; b.Rows[i].Seq != last || len(b.Damage) > 0 {
					return 0, fmt.Errorf("the journal has row %d where row %d is expected; damage: %v", b.Rows[i].Seq, last, b.Damage)
				}
			}
		}
	}
	return s, err
}

// journalWriter appends to a journal, each record as a row of one column.
func journalWriter(j *journal.Journal) appender {
	schema := j.Intern("records", textColumns(1))
	var b row.Batch
	var v [1]row.Value
	ctx := context.Background()
	return func(records [][]byte) error {
		b.Reset()
		for _, r := range records {
			v[0].Text = r
			if err := b.Add(schema, 0, v[:]); err != nil {
				return err
			}
		}
		_, err := j.Append(ctx, &b, true)
		return err
	}
}

// openAt opens the journal in dir.
func openAt(dir string, l journal.Limits) (*journal.Journal, *disk.Real, error) {
	d, err := disk.OpenReal(dir)
	if err != nil {
		return nil, nil, err
	}
	j, err := journal.Open(d, journal.Options{Name: "peers", SegmentSize: segmentSize, Limits: l})
	return j, d, err
}

// openLibrary opens Holdfast as a program does that has it inside: rows of ten
// columns, one transaction per record or per batch.
func openLibrary(dir string, _ work) (*session, error) {
	o := holdfast.Options{Streams: []holdfast.Stream{{Name: holdfast.MainStream, Limits: holdfast.Limits{History: history}}}}
	dir = filepath.Join(dir, "library")
	db, err := holdfast.Open(dir, o)
	if err != nil {
		return nil, err
	}
	schema, err := db.Schema("records", textColumns(libraryColumns))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &session{writer: func() appender {
		var vs [libraryColumns]row.Value
		const width = recordSize / libraryColumns
		tx := db.Begin()
		ctx := context.Background()
		return func(records [][]byte) error {
			for _, r := range records {
				for i := range vs {
					vs[i].Text = r[i*width : (i+1)*width]
				}
				if err := tx.Insert(schema, vs[:]); err != nil {
					tx.Rollback()
					return err
				}
			}
			return tx.Commit(ctx, true)
		}
	}}
	aged, err := age(s)
	s.held = func() (n int, err error) {
		if err := db.Close(); err != nil {
			return 0, err
		}
		db, err := holdfast.Open(dir, holdfast.Options{}) // removes nothing while it is read
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		last := uint64(0)
		for r, err := range db.Read(context.Background(), holdfast.ReadOptions{}) {
			if err != nil {
				return 0, err
			}
			if last != 0 && r.Seq != last+1 {
				return 0, fmt.Errorf("the library has row %d where row %d is expected", r.Seq, last+1)
			}
			last = r.Seq
		}
		return int(last) - aged, nil
	}
	return s, err
}

// age writes until segments are used again, and returns how many records that were.
func age(s *session) (int, error) {
	const batch = 1000
	write, batches := s.writer(), aging/(batch*recordSize)
	records := sameRecords(batch)
	for range batches {
		if err := write(records); err != nil {
			return 0, err
		}
	}
	return batches * batch, nil
}
