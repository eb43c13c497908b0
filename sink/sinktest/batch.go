package sinktest

import (
	"context"
	"fmt"

	"holdfast/row"
	"holdfast/sink"
)

// Batch is a sink.Batch over rows in memory. As the contract allows, it makes
// what Row returned unreadable at the next call of Next, so that a sink that
// keeps a row without copying it is found out.
type Batch struct {
	rows []row.Row
	end  row.Position
	at   int
	last row.Row
	fail error // returned by Err once failAt rows were given
	stop int
	each func(i int) row.Row // instead of rows
}

var _ sink.Batch = (*Batch)(nil)

// NewBatch returns a batch of rows that ends at end. The rows are not changed.
func NewBatch(rows []row.Row, end row.Position) *Batch {
	return &Batch{rows: rows, end: end, stop: len(rows)}
}

// NewLargeBatch returns a batch of n rows that are made one by one, by each,
// so that it takes no memory however large it is.
func NewLargeBatch(n int, each func(i int) row.Row, end row.Position) *Batch {
	return &Batch{each: each, end: end, stop: n}
}

// FailAfter makes the batch end with err after n rows.
func (b *Batch) FailAfter(n int, err error) *Batch {
	b.stop, b.fail = n, err
	return b
}

// Next advances to the next row.
func (b *Batch) Next() bool {
	for i := range b.last.Values {
		spoil(b.last.Values[i].Text)
	}
	if b.at >= b.stop {
		b.last = row.Row{}
		return false
	}
	r := row.Row{}
	if b.each != nil {
		r = b.each(b.at)
	} else {
		r = b.rows[b.at]
	}
	b.at++
	b.last = r
	b.last.Values = make([]row.Value, len(r.Values))
	for i, v := range r.Values {
		b.last.Values[i] = row.Value{Text: append([]byte(nil), v.Text...), Null: v.Null}
	}
	return true
}

func spoil(text []byte) {
	for i := range text {
		text[i] = '!'
	}
}

// Row returns the current row.
func (b *Batch) Row() *row.Row { return &b.last }

// Err returns what FailAfter was given, once the rows before it were read.
func (b *Batch) Err() error {
	if b.at >= b.stop {
		return b.fail
	}
	return nil
}

// End returns where the batch ends. It panics where the contract forbids to
// ask: before the last row was read, and after an error.
func (b *Batch) End() row.Position {
	if b.at < b.stop || b.fail != nil {
		panic(fmt.Sprintf("sinktest: End called after %d of %d rows, Err %v", b.at, b.stop, b.fail))
	}
	return b.end
}

// Rejects keeps what a sink refuses.
type Rejects struct {
	Rows    []row.Row // copies
	Why     []*sink.RowError
	Settled bool  // whether Settle was called behind the last row
	Fail    error // what Refuse returns, instead of setting the row aside
	Unsafe  error // what Settle returns
}

var _ sink.Rejects = (*Rejects)(nil)

// Refuse keeps a copy of r.
func (j *Rejects) Refuse(r *row.Row, why *sink.RowError) error {
	if j.Fail != nil {
		return j.Fail
	}
	c := *r
	c.Values = make([]row.Value, len(r.Values))
	for i, v := range r.Values {
		c.Values[i] = row.Value{Text: append([]byte(nil), v.Text...), Null: v.Null}
	}
	j.Rows, j.Why, j.Settled = append(j.Rows, c), append(j.Why, why), false
	return nil
}

// Settle notes that it was called.
func (j *Rejects) Settle(context.Context) error {
	j.Settled = j.Unsafe == nil
	return j.Unsafe
}
