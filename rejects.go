package holdfast

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"holdfast/internal/deliver"
	"holdfast/internal/fault"
	"holdfast/internal/rejects"
	"holdfast/row"
)

// Reject is a row that a sink refused for what it is, as it stands.
type Reject = rejects.Entry

// RejectFilter says which rejects are meant; the zero value means all that wait.
type RejectFilter = rejects.Filter

// keptRejects shows the store of rejects to deliver, in deliver's words.
type keptRejects struct {
	store  *rejects.Store
	notify func() // of rows that passed the door, and not the sink
}

var _ deliver.Rejects = keptRejects{}

// Keep implements deliver.Rejects.
func (k keptRejects) Keep(ctx context.Context, all []deliver.Reject) error {
	own := make([]rejects.Reject, len(all))
	for i, r := range all {
		own[i] = rejects.Reject(r)
	}
	k.notify()
	err := k.store.Keep(ctx, own)
	if errors.Is(err, rejects.ErrBudget) {
		return &translated{err, deliver.ErrBudget}
	}
	return err
}

// Kept implements deliver.Rejects.
func (k keptRejects) Kept(ctx context.Context, streamID, sink string, from uint64) ([]uint64, error) {
	return k.store.Kept(ctx, streamID, sink, from)
}

// Rejects returns the rejects that f means, by id, without their values.
func (db *DB) Rejects(ctx context.Context, f RejectFilter) iter.Seq2[Reject, error] {
	return db.rejects.List(ctx, f)
}

// ExportRejects is Rejects with the values of each.
func (db *DB) ExportRejects(ctx context.Context, f RejectFilter) iter.Seq2[Reject, error] {
	return db.rejects.Export(ctx, f)
}

// Reject returns one reject with its values.
func (db *DB) Reject(ctx context.Context, id uint64) (Reject, error) { return db.rejects.Show(ctx, id) }

// EditReject changes values of a reject that waits, by column, for the next
// retry.
func (db *DB) EditReject(ctx context.Context, id uint64, changes map[string]row.Value) (Reject, error) {
	return db.rejects.Edit(ctx, id, changes)
}

// DiscardRejects gives up the rejects that wait and that f means, and returns
// how many; note says why. They are never written to their sinks.
func (db *DB) DiscardRejects(ctx context.Context, f RejectFilter, note string) (int, error) {
	return db.rejects.Discard(ctx, f, note)
}

// Retried is what RetryRejects did.
type Retried struct {
	Delivered int      // in their sinks now
	Refused   int      // again
	Skipped   int      // not tried
	Why       []string // why not, or why again: the first few reasons that differ
}

// because notes a reason, where it is a new one of few.
func (r *Retried) because(why string) {
	if len(r.Why) < maxWhys && !slices.Contains(r.Why, why) {
		r.Why = append(r.Why, why)
	}
}

const maxWhys = 20

// RetryRejects brings the rejects that wait and that f means into their sinks,
// each exactly once whatever happens meanwhile. It waits for a sink that is away
// as long as ctx. A retry that was cut short is simply done again.
func (db *DB) RetryRejects(ctx context.Context, f RejectFilter) (Retried, error) {
	if f.State != "" && f.State != rejects.StateOpen {
		return Retried{}, fault.New(fault.InvalidParameterValue, "rejects that are %s cannot be retried", f.State).WithHint("only those that wait can")
	}
	var done Retried
	reached := map[rejects.Key]bool{}
	for _, d := range db.deliveries() {
		k := rejects.Key{StreamID: d.stream.journal.ID(), Sink: d.to.Name}
		reached[k] = true
		if f.Sink != "" && f.Sink != k.Sink || f.Stream != "" && f.Stream != d.stream.Name {
			continue
		}
		if err := db.retry(ctx, d, f, &done); err != nil {
			return done, fault.New(fault.CannotConnectNow, "rejects of sink %q cannot be retried now", k.Sink).Because(err).
				WithHint("holdfast sink list says what the sink lacks; retrying again goes on")
		}
	}
	for e, err := range db.rejects.List(ctx, f) {
		if err != nil {
			return done, err
		}
		if !reached[rejects.Key{StreamID: e.StreamID, Sink: e.Sink}] {
			done.Skipped++
			done.because(fmt.Sprintf("nothing delivers stream %q to sink %q", e.Stream, e.Sink))
		}
	}
	return done, nil
}

// What one transaction of a retry takes: some statements' worth.
const (
	retryRows  = 1000
	retryBytes = 1 << 20
)

// retry does so for one sink and stream.
func (db *DB) retry(ctx context.Context, d *delivery, f RejectFilter, done *Retried) error {
	// The cursor may have gone on by the time: then some wait for the next retry.
	k := rejects.Key{StreamID: d.stream.journal.ID(), Sink: d.to.Name, Seq: d.Status().Seq}
	var part []Reject
	bytes := 0
	for e, err := range db.rejects.Pending(ctx, k, f) {
		switch {
		case err != nil:
			return err
		case e.Row == nil:
			done.Skipped++
			done.because(fmt.Sprintf("the values of reject %d are lost: %s", e.ID, e.Lost))
			continue
		case e.Row.Flags&row.Malformed != 0:
			done.Skipped++
			done.because(fmt.Sprintf("reject %d is a line that its source could not parse: export it, send it again, and discard it", e.ID))
			continue
		}
		part = append(part, e)
		if bytes += row.Size(e.Row.Values); len(part) < retryRows && bytes < retryBytes {
			continue
		}
		if err := db.retryPart(ctx, d, part, done); err != nil {
			return err
		}
		part, bytes = part[:0], 0
	}
	return db.retryPart(ctx, d, part, done)
}

// retryPart retries some rejects and takes note of what became of them. If that
// note is lost, the next retry finds their keys in the sink.
func (db *DB) retryPart(ctx context.Context, d *delivery, part []Reject, done *Retried) error {
	if len(part) == 0 {
		return nil
	}
	rows := make([]deliver.Reject, len(part))
	for i, e := range part {
		rows[i] = deliver.Reject{StreamID: e.StreamID, Stream: e.Stream, Sink: e.Sink, Row: *e.Row, Code: e.Code, Why: e.Why}
	}
	refused, err := d.Retry(ctx, rows)
	if err != nil {
		return err
	}
	again := make(map[uint64]deliver.Reject, len(refused))
	for _, r := range refused {
		again[r.Row.Seq] = r
	}
	outcomes := make([]rejects.Outcome, len(part))
	for i, e := range part {
		r, no := again[e.Seq]
		outcomes[i] = rejects.Outcome{ID: e.ID, Edits: e.Edits, Delivered: !no, Code: r.Code, Why: r.Why}
		if no {
			done.Refused++
			done.because(r.Why)
		} else {
			done.Delivered++
		}
	}
	return db.rejects.Retried(ctx, outcomes)
}
