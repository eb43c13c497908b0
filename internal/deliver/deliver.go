// Package deliver carries rows from a stream to a sink, exactly once and in
// order, for as long as it takes.
//
// A Deliverer serves one stream and one sink. The truth of how far it got is
// the cursor in the sink, which commits together with the rows; the local
// mark only tells which segments may go. So after any error whatsoever the
// Deliverer does the same: it reads the cursor back and continues behind it.
// What stands between it and an error is only whether trying again can help:
//
//	where (connection, lock, disk, schema)   wait and try again, for ever
//	what (one row)                           set it aside durably, and go on
//	whose (fence, restored or foreign sink)  stop until an operator resumes
//	damage, rows that are gone               stop in front of them, never skip
//	a gap, made of damage by repair          pass over it, and say which rows
//
// docs/delivery.md tells operators what each of these looks like.
package deliver

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

// Stream is what a Deliverer reads from. Its methods must be safe for
// concurrent use.
type Stream interface {
	// ID returns the journal's own identity, and Name what the operator calls it.
	ID() string
	Name() string
	// End returns the last position that is durable.
	End() row.Position
	// Check returns nil where pos is a position of this journal. It returns an
	// error that wraps ErrOtherJournal where it is not, and may return one that
	// wraps ErrGone where it is too old to tell. Any other error is tried again.
	Check(pos row.Position) error
	// Reader returns a reader whose first block holds the row from. It returns
	// an error that wraps ErrGone where that row is no longer kept.
	Reader(from uint64) (Reader, error)
}

// Reader reads blocks in order. One goroutine uses it at a time.
type Reader interface {
	// Next returns the next block, and waits until there is a durable one. The
	// block is valid until the next call.
	Next(ctx context.Context) (*row.Block, error)
	// TryNext is Next without waiting: it returns nil, nil where there is none.
	TryNext() (*row.Block, error)
	// Close gives up what the reader holds.
	Close() error
}

// Backlog is implemented by streams that can tell how many bytes they hold
// behind a seq.
type Backlog interface {
	BytesAfter(seq uint64) int64
}

var (
	// ErrOtherJournal says that a position is not of this journal.
	ErrOtherJournal = errors.New("position is not of this journal")
	// ErrGone says that rows are no longer kept.
	ErrGone = errors.New("rows are no longer kept")
)

// Config is what a Deliverer needs. Stream, Sink, Name and Instance must be
// set; a zero in any other field means the default that it names.
type Config struct {
	Stream   Stream
	Sink     sink.Sink
	Name     string       // the sink's name
	Instance string       // a token that no other run of the server has
	Start    row.Position // where a sink begins that has no cursor yet
	Mark     uint64       // the last seq known, locally, to be committed in the sink; 0: none

	// Attached says that the sink had a cursor before, as noted locally: one that
	// is not there any more is lost, and delivery halts, also where all that was
	// committed is no longer kept. Without it, only Mark can tell that.
	Attached bool
	// Paused makes it begin as after Pause.
	Paused bool

	// Replay says that a cursor behind what was committed before counts (as
	// with on_rewind: replay), instead of halting delivery until Resume.
	Replay bool

	// Rewound is told that a cursor behind what was committed counts, before a row
	// behind it is sent: rejects that were retried since are no longer in the
	// sink, and must wait again. If nil, nobody is told.
	Rewound func(ctx context.Context, to row.Position) error

	// Rejects keeps the rows that the sink refuses for what they are. If nil, such
	// a row halts delivery.
	Rejects Rejects
	// RejectUnit says what goes where one row is refused; default UnitRow.
	RejectUnit Unit
	// RejectFlood is the share of refused rows, in a window of 10,000 rows or
	// more, above which delivery halts before it sets more aside, until Resume.
	// A hundred never do. Default 0.01; below 0: no share is too large.
	RejectFlood float64

	// Shape says what the sink gets of the rows. The zero Shape: all, as it is.
	Shape Shape

	// Failed is told each error that an attempt ends with, by one goroutine. It
	// must not wait. If nil, nobody is told.
	Failed func(err error)
	// Marked is told each seq that the sink has committed, in order, by one
	// goroutine. It may go back, where a restored sink gets its rows
	// again. If nil, nobody is told.
	Marked func(seq uint64)

	Rows  int   // a batch ends at the block that reaches so many rows; default 10,000
	Bytes int64 // or so many bytes; default 2 MiB

	// Most is how many batches of that size come as one while rows wait and the
	// sink commits them in no time; default 1. Sinks in which it shows where a
	// batch ended must not get more.
	Most int

	// Linger is the pause after a commit that left nothing behind, in which
	// rows gather: each commit is a flush that competes with those that writers
	// wait for. Default 50 ms; below 0: none.
	Linger time.Duration

	MinWait time.Duration // after the first failure; default 100 ms
	MaxWait time.Duration // doubling up to; default 30 s

	Log *slog.Logger // default: none
}

// withDefaults returns c with its zero fields filled.
func (c Config) withDefaults() Config {
	if c.Marked == nil {
		c.Marked = func(uint64) {}
	}
	if c.Failed == nil {
		c.Failed = func(error) {}
	}
	if c.Rows <= 0 {
		c.Rows = 10_000
	}
	if c.Bytes <= 0 {
		c.Bytes = 2 << 20
	}
	if c.RejectUnit == "" {
		c.RejectUnit = UnitRow
	}
	if c.RejectFlood == 0 {
		c.RejectFlood = floodShare
	}
	if c.Linger == 0 {
		c.Linger = 50 * time.Millisecond
	}
	if c.MinWait <= 0 {
		c.MinWait = 100 * time.Millisecond
	}
	if c.MaxWait < c.MinWait {
		c.MaxWait = max(c.MinWait, 30*time.Second)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// id returns which cursor is ours.
func (c Config) id() sink.ID {
	return sink.ID{StreamID: c.Stream.ID(), Stream: c.Stream.Name(), Sink: c.Name}
}
