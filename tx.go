package holdfast

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"holdfast/internal/dedupe"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/row"
)

const (
	// stageAt is how many bytes of rows a transaction holds in memory.
	stageAt = 1 << 20
	// stagedAt is how many it holds once it is being staged: one block's worth,
	// so that its buffer stays as it is.
	stagedAt = 240 << 10
	// freeBytes is what each transaction holds without asking, so that small
	// ones share nothing but the journal.
	freeBytes = 16 << 10
	// askBytes is how much it asks for at a time, so that asking is rare.
	askBytes = 64 << 10
	// keptValues and keptText are how much room for a row an empty transaction
	// keeps.
	keptValues, keptText = 256, 16 << 10
)

// Tx is one transaction: its rows become durable together, or not at all. One
// goroutine uses it at a time. After Commit or Rollback it is empty and can be
// used again; it then holds no rows.
type Tx struct {
	db     *DB
	stream *stream    // nil while it is empty
	batch  *row.Batch // rows that are not staged; the newest row is always here
	stage  *journal.Stage
	rows   int
	bytes  int64 // of all rows
	asked  int64 // taken from db.memory
	failed error // why nothing more can be done but Rollback
	last   judged

	yields bool           // the next rows do
	zone   *time.Location // of times without one; nil: the database's
	timed  *moments       // of the last row's schema
	placed []row.Value    // the last row's values
	text   []byte         // of them
	move   *Move          // of a source, with the commit; nil: none

	once    *Answer       // of the request that this is; nil: it has no name
	claim   *dedupe.Claim // keys of the rows; nil: none has one, or they are handed over
	guard   *guard        // that the claim is of
	taking  bool          // rows are on disk, so each key is claimed when it comes
	repeats int           // rows that were dropped
	room    []byte        // for what is made of a key
	after   uint64        // seq up to which their first ones stand; 0: all are flushed
}

// Begin returns an empty transaction.
func (db *DB) Begin() *Tx { return &Tx{db: db} }

// Insert adds a row of schema s, which DB.Schema has returned. It copies
// values. A row that is refused leaves the transaction as it was.
func (t *Tx) Insert(s *row.Schema, values []row.Value) error {
	if err := t.judge(s, values); err != nil {
		return err
	}
	return t.add(s, 0, t.place(s, values))
}

// add adds a row that was judged.
func (t *Tx) add(s *row.Schema, flags row.Flags, values []row.Value) error {
	size := int64(row.Size(values))
	if t.batch == nil {
		t.batch = t.db.batches.Get().(*row.Batch)
	}
	if t.claim != nil && t.rows > 0 && !t.fits(size) {
		if t.failed = t.take(context.Background()); t.failed != nil {
			return t.failed
		}
		t.taking = true
	}
	if len(t.db.o.Dedupe) > 0 && flags&row.Malformed == 0 {
		to := t.db.byName[s.Stream]
		if p := to.guard.plan(s); p != nil {
			repeat, err := t.mark(to, p, values)
			if t.failed = err; repeat || err != nil {
				return err
			}
		}
	}
	if t.rows == 1 {
		t.batch.MarkLast(row.TxBegin) // only now it is known to be one of several
	}
	if t.rows > 0 && !t.fits(size) {
		if err := t.moveOut(); err != nil {
			t.failed = err
			return err
		}
	}
	if t.move != nil && t.rows == 0 {
		flags |= row.Moves
	}
	if t.yields {
		flags |= row.Yields
	}
	if err := t.batch.Add(s, flags, values); err != nil {
		t.failed = fault.New(fault.InternalError, "row for table %q cannot be encoded", s.Table).Because(err)
		return t.failed
	}
	if t.rows == 0 {
		t.stream = t.db.byName[s.Stream]
	}
	t.rows++
	t.bytes += size
	return nil
}

// judge refuses what cannot be part of this transaction.
func (t *Tx) judge(s *row.Schema, values []row.Value) error {
	if err := t.belongs(s, values); err != nil {
		return err
	}
	for i := range values {
		if v := &values[i]; !v.Null && !validText(v.Text) {
			return fault.New(fault.CharacterNotInRepertoire, "value for column %q of table %q is not UTF-8 text: %.64q", s.Columns[i].Name, s.Table, v.Text).
				WithHint("send UTF-8 without NUL bytes; encode binary data, for example in hex")
		}
	}
	return t.db.judgeRow(&t.last, s, values)
}

// belongs refuses what has no place in this transaction, whatever is in it.
func (t *Tx) belongs(s *row.Schema, values []row.Value) error {
	switch {
	case t.failed != nil:
		return t.failed
	case t.db.byName[s.Stream] == nil:
		return fault.New(fault.InternalError, "schema of table %q is of another database", s.Table).WithHint("use one that Schema returned")
	case t.Rows() > 0 && t.stream.Name != s.Stream:
		return fault.New(fault.FeatureNotSupported, "table %q is in stream %q, and this transaction writes to stream %q", s.Table, s.Stream, t.stream.Name).
			WithHint("one transaction writes to one stream: commit before, or put both tables into one stream")
	case len(values) != len(s.Columns):
		return fault.New(fault.SyntaxError, "%d values for the %d columns of table %q", len(values), len(s.Columns), s.Table).
			WithHint("give one value for each column")
	case len(values) > row.MaxValues || row.Size(values) > row.MaxBytes:
		return fault.New(fault.LimitExceeded, "row for table %q takes %d bytes in %d columns", s.Table, row.Size(values), len(values)).
			WithHint("a row may take %d bytes in %d columns", row.MaxBytes, row.MaxValues)
	case t.bytes+int64(row.Size(values)) > t.db.o.MaxTransaction:
		return fault.New(fault.LimitExceeded, "transaction is larger than %d bytes", t.db.o.MaxTransaction).
			WithHint("commit more often")
	}
	return nil
}

func validText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }

// fits reports whether the rows at hand and size bytes more may stay in
// memory, and asks for that memory.
func (t *Tx) fits(size int64) bool {
	need := int64(t.batch.Len()) + size
	if need > stageAt || t.stage != nil && need > stagedAt {
		return false
	}
	for need > freeBytes+t.asked {
		if t.db.memory.Add(-askBytes) < 0 {
			t.db.memory.Add(askBytes)
			return false
		}
		t.asked += askBytes
	}
	return true
}

// moveOut moves the rows in memory to disk. One more row follows, always, so
// that the last one is at hand when the transaction ends.
func (t *Tx) moveOut() (err error) {
	if t.stage == nil {
		if t.stage, err = t.stream.journal.Stage(); err != nil {
			return err
		}
	}
	if err = t.stage.Add(t.batch); err != nil {
		return err
	}
	t.batch.Reset()
	return nil
}

// Rows returns how many rows Insert has taken since the Tx was empty, those that
// were dropped as repeats among them.
func (t *Tx) Rows() int { return t.rows + t.repeats }

// Bytes returns how many bytes the rows take in a segment that Insert has taken
// since the Tx was empty.
func (t *Tx) Bytes() int64 { return t.bytes }

// Commit makes the rows part of the stream. With durable set it returns once
// they are flushed, else once they are written: then they survive the end of
// the process, and a power cut after 200 ms. It is done at once for an empty
// Tx. An error with code 40003 or 57014 says that it is not known whether the
// rows are stored, any other that they are not. The Tx is empty afterwards.
func (t *Tx) Commit(ctx context.Context, durable bool) error {
	if t.move != nil {
		return t.commitMove(ctx)
	}
	return t.commit(ctx, durable)
}

// commit makes the rows part of the stream, and nothing else.
func (t *Tx) commit(ctx context.Context, durable bool) error {
	defer t.clear()
	switch {
	case t.failed != nil:
		return errors.Join(t.failed, t.abort())
	case t.Rows() == 0:
		return nil
	}
	if err := t.take(ctx); err != nil {
		return errors.Join(err, t.abort())
	}
	if t.rows == 0 && t.once == nil {
		return t.awaitFirsts(ctx, durable)
	}
	if t.rows > 1 {
		t.batch.MarkLast(row.TxEnd)
	}
	if err := t.addState(); err != nil {
		return errors.Join(err, t.abort())
	}
	if t.stage == nil {
		p, err := t.stream.journal.Send(ctx, t.batch, durable)
		if err != nil {
			return err
		}
		t.sent(p, durable)
		_, err = p.Wait(ctx)
		return err
	}
	if err := t.stage.Add(t.batch); err != nil {
		return errors.Join(err, t.abort())
	}
	if t.claim != nil { // whoever waits for its keys must learn what became of them
		ctx = context.WithoutCancel(ctx)
	}
	seq, err := t.stage.Commit(ctx)
	t.sent(dedupe.Settled{Seq: seq, Err: err}, true)
	return err
}

// Pending is a commit that Send has begun.
type Pending struct {
	rows journal.Pending
	over bool // there was nothing to wait for
	err  error
}

// done is what a Pending without anything to wait for returns.
var done = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Done is closed when Err can tell. Commits that are flushed together share
// one channel, so a goroutine that has many under way wakes once for them.
func (p *Pending) Done() <-chan struct{} {
	if p.over {
		return done
	}
	return p.rows.Done()
}

// Err returns, once Done is closed, what Commit would have returned.
func (p *Pending) Err() error {
	if p.over {
		return p.err
	}
	_, err := p.rows.Result()
	return err
}

// Send is Commit without waiting for the flush: for a caller that makes many
// transactions and does not want a goroutine for each. It waits only for a
// place among the rows of the next flush, or, with more than 1 MiB of rows,
// as Commit does. The Tx is empty afterwards.
func (t *Tx) Send(ctx context.Context, durable bool) Pending {
	if t.failed != nil || t.rows == 0 || t.stage != nil || t.move != nil || t.once != nil {
		return Pending{over: true, err: t.Commit(ctx, durable)}
	}
	defer t.clear()
	if err := t.take(ctx); err != nil || t.rows == 0 {
		if err == nil {
			err = t.awaitFirsts(ctx, durable)
		}
		return Pending{over: true, err: err}
	}
	if t.rows > 1 {
		t.batch.MarkLast(row.TxEnd)
	}
	rows, err := t.stream.journal.Send(ctx, t.batch, durable)
	if err == nil {
		t.sent(rows, durable)
	}
	return Pending{rows: rows, over: err != nil, err: err}
}

// RollbackTo drops every row but the first rows ones. That needs them, and what
// is dropped, in memory: after an error the transaction can only be rolled back
// as a whole.
func (t *Tx) RollbackTo(rows int) error {
	switch {
	case rows == 0:
		t.Rollback()
		return nil
	case t.failed != nil:
		return t.failed
	case rows >= t.Rows():
		return nil
	}
	left := rows - (t.rows - t.batch.Rows())
	if left < 1 || t.taking { // the newest row must be at hand, for the mark of the end
		t.failed = fault.New(fault.LimitExceeded, "transaction cannot go back to its row %d: it has more than %d bytes of rows, and that one is on disk", rows, stageAt).
			WithHint("roll the whole transaction back, and make savepoints in smaller ones")
		return t.failed
	}
	before := t.batch.Len()
	t.batch.Cut(left)
	if t.claim != nil {
		t.claim.Cut(rows)
	}
	t.rows, t.bytes = rows, t.bytes-int64(before-t.batch.Len())
	return nil
}

// Rollback drops the rows.
func (t *Tx) Rollback() {
	if err := t.abort(); err != nil {
		t.db.o.Log.Error("remove the files of a transaction that was rolled back", "stream", t.stream.Name, "error", err)
	}
	t.clear()
}

func (t *Tx) abort() error {
	if t.stage == nil {
		return nil
	}
	return t.stage.Abort()
}

// clear empties the Tx and gives its memory back.
func (t *Tx) clear() {
	if t.claim != nil {
		t.guard.Release(t.claim)
	}
	if t.batch != nil {
		t.batch.Reset()
		t.db.batches.Put(t.batch)
	}
	if t.asked > 0 {
		t.db.memory.Add(t.asked)
	}
	if cap(t.placed) > keptValues || cap(t.text) > keptText || cap(t.room) > keptText {
		t.placed, t.text, t.room = nil, nil, nil
	}
	clear(t.placed[:cap(t.placed)]) // they point into what the caller gave
	*t = Tx{db: t.db, last: t.last, zone: t.zone, timed: t.timed, placed: t.placed, text: t.text, room: t.room}
}

// Insert stores one row durably. A value is a string, a []byte with text, any
// integer or float, a bool (t or f), a time.Time, a row.Value, or nil for
// NULL. A column that is not known yet becomes numeric for a number, and text
// for all else.
func (db *DB) Insert(ctx context.Context, table string, columns []string, values ...any) error {
	if len(values) != len(columns) {
		return fault.New(fault.SyntaxError, "%d values for %d columns of table %q", len(values), len(columns), table).
			WithHint("give one value for each column")
	}
	cols, vals := make([]row.Column, len(columns)), make([]row.Value, len(columns))
	for i, v := range values {
		var err error
		cols[i] = row.Column{Name: columns[i]}
		if vals[i], cols[i].Type, err = valueOf(v); err != nil {
			return fault.New(fault.DatatypeMismatch, "value for column %q of table %q cannot be taken", columns[i], table).Because(err).
				WithHint("convert it to a string")
		}
	}
	s, err := db.Schema(table, cols)
	if err != nil {
		return err
	}
	t := db.Begin()
	if err := t.Insert(s, vals); err != nil {
		t.Rollback()
		return err
	}
	return t.Commit(ctx, true)
}

// valueOf returns v as PostgreSQL writes it, and the type for its column.
func valueOf(v any) (row.Value, string, error) {
	switch v := v.(type) {
	case nil:
		return row.Null, "text", nil
	case row.Value:
		return v, "text", nil
	case string:
		return row.Text(v), "text", nil
	case []byte:
		return row.Value{Text: v}, "text", nil
	case bool:
		return row.Text(strconv.FormatBool(v)[:1]), "text", nil
	case time.Time:
		return row.Text(v.Format("2006-01-02 15:04:05.999999Z07:00")), "text", nil
	case float32:
		return number(float64(v), 32)
	case float64:
		return number(v, 64)
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return row.Text(fmt.Sprint(v)), "numeric", nil
	}
	return row.Value{}, "", fmt.Errorf("it is a %T", v)
}

func number(f float64, bits int) (row.Value, string, error) {
	switch {
	case math.IsNaN(f):
		return row.Text("NaN"), "numeric", nil
	case math.IsInf(f, 1):
		return row.Text("Infinity"), "numeric", nil
	case math.IsInf(f, -1):
		return row.Text("-Infinity"), "numeric", nil
	}
	return row.Text(strconv.FormatFloat(f, 'g', -1, bits)), "numeric", nil
}
