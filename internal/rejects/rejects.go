// Package rejects keeps the rows that sinks refuse for what they are: each with
// its values and the database's own words, until it is brought into the sink or
// an operator gives it up.
//
// Rejects live in a stream (by design named "rejects") as a log of events:
// refused, edited, retried, discarded. What is in force is the fold over them,
// so there is one file format, one way to survive a crash, and a history of who
// did what. In memory a reject that waits is about 130 bytes, whatever its
// values are.
//
// # Exactly once
//
// A row is either in the sink or waits here, never in both and never in
// neither, because of the order in which things become durable:
//
//	first refusal   Keep, durable  ->  the sink's commit without the row
//	retry           the sink's commit with the row and its key  ->  Retried, durable
//
// Killed in the middle of the first line, the row is here and will come again in
// the batch: Kept says so, and it is left out. Killed in the middle of the second,
// the row is in the sink and still waits here: the next retry brings it again, the
// sink finds its key (holdfast_retry) and leaves it out, and Retried is told the
// same outcome. Both lines rest on the key (stream id, sink, seq), which is the
// row's for ever; neither compares values, so an edit changes nothing of it.
//
// One duty stays with whoever retries: only rejects that the sink's cursor has
// passed (Filter.To) may be retried. A row behind the cursor may still come in a
// batch, which knows nothing of holdfast_retry.
//
// # Putting a sink back
//
// A sink that is restored to an older copy loses what retries brought since, and
// the keys with it. Reopen makes all that was delivered wait again; what is there
// nonetheless is left out by its key.
package rejects

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/row"
)

// SinkName is under what name the store registers with its journal, so that no
// segment goes that holds the newest values of a reject that waits.
const SinkName = "holdfast-rejects"

// State is what has become of a reject.
type State string

// The states.
const (
	StateOpen      State = "open"      // it waits
	StateDelivered State = "delivered" // a retry brought it into the sink
	StateDiscarded State = "discarded" // an operator gave it up
)

// Key is which row for which sink; it never changes.
type Key struct {
	StreamID string
	Sink     string
	Seq      uint64
}

// Reject is a row that a sink refused.
type Reject struct {
	StreamID, Stream, Sink string

	Row  row.Row // as it is in the stream
	Code string  // the database's own
	Why  string  // in the database's own words
}

// Entry is a reject as it stands.
type Entry struct {
	ID uint64 // for people: the seq, in the stream of rejects, of the event that refused it first
	Key
	Stream   string
	Table    string
	State    State
	Code     string    // of the last refusal
	Why      string    // of the last refusal
	Attempts uint32    // refusals, the first included
	Edits    uint32    // by operators; 0: its values are those that were refused
	Refused  time.Time // first
	Changed  time.Time // by the last event
	Note     string    // of the last event

	Row  *row.Row // its values as they are to be written; nil where not asked for, or lost
	Lost string   // why there are no values; ""
}

// Errors that callers tell apart.
var (
	// ErrBudget says that no more rejects are kept. Nothing was stored.
	ErrBudget = errors.New("budget of rejects is used up")
	// ErrNoReject says that there is no such reject, or not in that state.
	ErrNoReject = errors.New("no such reject")
)

// Options configure Open. The zero value of each field means the default.
type Options struct {
	PerSink int              // rejects that wait, for each sink; default 10,000
	Total   int              // of all sinks; bounds memory, about 130 bytes each; default 250,000
	Log     *slog.Logger     // nil: none
	Now     func() time.Time // nil: time.Now

	small, closed int64 // for tests; see smallLog and rememberClosed
}

const (
	defaultPerSink = 10_000
	defaultTotal   = 250_000
	// rememberClosed is how many rejects that no longer wait are known without
	// asking the disk: more than any batch has, since what matters is what
	// happened between a Keep and the commit that goes with it.
	rememberClosed = 1 << 16
	// smallLog is up to how many bytes the whole log is read at start, closed
	// rejects included.
	smallLog = 64 << 20
)

// Store keeps rejects. Its methods are safe for concurrent use. It starts no
// goroutine, and closing its journal is all there is to close.
type Store struct {
	j     *journal.Journal
	o     Options
	event *row.Schema

	// writing is held, as the one token in it, by who appends: while a disk is
	// stuck, others can give up waiting.
	writing chan struct{}
	fold    folding // only who holds writing

	mu      sync.Mutex
	x       index
	budgets map[string]int // by sink, where it is not the default
	totals  Totals
	damage  []Damage
}

// Open reads the log of rejects in j. It costs time by what waits, and at most
// a second by what no longer does. Damage is no error: see Damage.
func Open(j *journal.Journal, o Options) (*Store, error) {
	if o.PerSink <= 0 {
		o.PerSink = defaultPerSink
	}
	if o.Total <= 0 {
		o.Total = defaultTotal
	}
	if o.small == 0 {
		o.small = smallLog
	}
	if o.closed == 0 {
		o.closed = rememberClosed
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{j: j, o: o, writing: make(chan struct{}, 1), budgets: map[string]int{}, x: newIndex(int(o.closed))}
	s.event = j.Intern(eventTable, eventColumns)
	mark, err := j.Register(SinkName)
	if err != nil {
		return nil, fmt.Errorf("open rejects: %w", err)
	}
	oldest := j.Oldest().Seq
	if mark < oldest {
		s.hurt(Damage{First: mark + 1, Last: oldest, What: "these events are no longer kept"})
	}
	s.fold.to = max(mark, oldest)
	if j.BytesAfter(oldest) <= o.small {
		s.fold.to = oldest
	}
	err = s.catchUp()
	if errors.Is(err, journal.ErrGone) && s.fold.to < mark { // what is closed may go at any moment; what waits is behind the mark
		s.x, s.fold, s.damage = newIndex(int(o.closed)), folding{to: mark}, nil
		err = s.catchUp()
	}
	if err != nil {
		return nil, fmt.Errorf("open rejects: %w", err)
	}
	s.foldEnds()
	s.release()
	return s, nil
}

// lock waits for the right to append, and for what was appended without its
// outcome being known.
func (s *Store) lock(ctx context.Context) error {
	select {
	case s.writing <- struct{}{}:
	case <-ctx.Done():
		return fault.New(fault.QueryCanceled, "cancelled while waiting for the stream of rejects; nothing was stored").Because(ctx.Err())
	}
	if err := s.catchUp(); err != nil {
		s.unlock()
		return err
	}
	return nil
}

func (s *Store) unlock() { <-s.writing }

// SetBudget sets how many rejects of a sink may wait; 0: the default.
func (s *Store) SetBudget(sink string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n <= 0 {
		delete(s.budgets, sink)
		return
	}
	s.budgets[sink] = n
}

// release tells the journal what it may remove.
func (s *Store) release() {
	s.mu.Lock()
	at := s.x.pinned()
	s.mu.Unlock()
	if at == 0 {
		at = s.fold.to + 1
	}
	s.j.Mark(SinkName, at-1)
}

// Count is how many rejects of one kind wait.
type Count struct {
	Stream, Sink, Table, Code string
	Open                      int
}

// Totals count since Open.
type Totals struct {
	Kept      uint64 // refused and stored
	Again     uint64 // retries that were refused
	Delivered uint64 // by retries
	Discarded uint64
	Full      uint64 // calls of Keep that a budget refused
}

// Counts returns how many rejects wait, by stream, sink, table and code, sorted.
func (s *Store) Counts() []Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.x.counts()
}

// Totals returns what happened since Open.
func (s *Store) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals
}

// Oldest returns when the reject was refused that waits longest; the zero time
// where none waits.
func (s *Store) Oldest() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.x.oldest(); e != nil {
		return time.UnixMicro(e.refused)
	}
	return time.Time{}
}

// Damage is events that cannot be read. Their seqs are those of the stream of
// rejects, and so the ids of rejects that may be lost: rejects refused there are
// gone from here, edits made there are undone, and rejects that were delivered or
// discarded there may wait again (a delivered one is not written twice).
type Damage struct {
	First, Last uint64
	What        string
	Gap         bool // given up by repair
	IDs         []ID // rejects that are known to have waited, and whose values are lost
}

// ID is what is left of a reject whose values are lost.
type ID struct {
	ID uint64
	Key
	Table string
}

// mostDamage bounds what is listed.
const mostDamage = 1000

// Damage returns what could not be read, the first thousand places of it.
func (s *Store) Damage() []Damage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Damage(nil), s.damage...)
}

// hurt notes damage, once.
func (s *Store) hurt(d Damage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, have := range s.damage {
		if have.First == d.First && have.Last == d.Last && len(have.IDs) == len(d.IDs) {
			return
		}
	}
	s.o.Log.Error("rejects may be lost: events cannot be read", "first", d.First, "last", d.Last, "rejects", len(d.IDs), "error", d.What)
	if len(s.damage) < mostDamage {
		s.damage = append(s.damage, d)
	}
}
