package holdfast

import (
	"context"
	"strconv"
	"sync"
	"time"

	"holdfast/internal/journal"
	"holdfast/internal/roller"
	"holdfast/row"
)

// LedgerStream is the stream in which it stands what was removed, when and by
// which rule. Where it is among the streams given to Open, Holdfast writes it;
// no table is routed there, no sink gets it, and no roll takes from it.
const LedgerStream = "ledger"

// ledgerColumns are those of the one table in the ledger, which is called as
// the stream is.
var ledgerColumns = []row.Column{
	{Name: "at", Type: "timestamptz"}, {Name: "what", Type: "text"}, {Name: "stream", Type: "text"}, {Name: "segment", Type: "int8"},
	{Name: "first_seq", Type: "int8"}, {Name: "last_seq", Type: "int8"}, {Name: "bytes", Type: "int8"},
	{Name: "first_time", Type: "timestamptz"}, {Name: "last_time", Type: "timestamptz"},
	{Name: "roll", Type: "int8"}, {Name: "rule", Type: "text"}, {Name: "by", Type: "text"},
}

// maxLedger bounds how many entries wait to be written, and how many rolls are
// remembered for those to come.
const maxLedger = 100_000

// ledger writes down what goes, off the path of whoever removes it: a ledger
// that cannot be written must not keep a disk full.
type ledger struct {
	db      *DB
	journal *journal.Journal
	wake    chan struct{}
	stop    chan struct{}
	ended   chan struct{}

	mu    sync.Mutex
	todo  [][]row.Value
	lost  int
	rolls map[uint64]roller.Event
}

// openLedger starts it, where the stream is there.
func (db *DB) openLedger() {
	s := db.byName[LedgerStream]
	if s == nil {
		return
	}
	db.ledger.journal = s.journal
	db.ledger.start()
}

func newLedger(db *DB) *ledger {
	return &ledger{db: db, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}), rolls: map[uint64]roller.Event{}}
}

func (l *ledger) start() { go l.run() }

// close writes what is left, and ends it.
func (l *ledger) close() {
	if l == nil || l.journal == nil {
		return
	}
	close(l.stop)
	<-l.ended
}

// rolled notes that a roll was committed.
func (l *ledger) rolled(e roller.Event) {
	what := "roll"
	if e.Undo != 0 {
		what = "undo of roll " + strconv.FormatUint(e.Undo, 10)
	}
	l.mu.Lock()
	if len(l.rolls) >= maxLedger {
		clear(l.rolls)
	}
	l.rolls[e.Serial] = e
	l.mu.Unlock()
	l.add([]row.Value{stamp(e.At.UnixMicro()), row.Text(what), row.Null, row.Null, row.Null, row.Null, row.Null, row.Null, row.Null,
		integer(e.Serial), row.Text(e.Rule), row.Text(e.By)})
}

// The rule of what goes without a roll, and who is behind it.
const (
	limitsRule = "limits of the stream"
	limitsBy   = "holdfast"
)

// roll returns a roll that was committed since the start, or the last before.
func (l *ledger) roll(serial uint64) (roller.Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, known := l.rolls[serial]
	return e, known
}

// removed notes that a segment went.
func (l *ledger) removed(stream string, r journal.Removed) {
	what, rule, by, serial := "removed", row.Text(limitsRule), row.Text(limitsBy), row.Null
	if r.Trash {
		what = "to the trash"
	}
	if r.Roll != 0 {
		e, known := l.roll(r.Roll)
		serial, rule, by = integer(r.Roll), row.Null, row.Null
		if known {
			rule, by = row.Text(e.Rule), row.Text(e.By)
		}
	}
	if r.To != "" && !r.Trash {
		what = "to the cold tier: " + r.To
	}
	l.add([]row.Value{stamp(time.Now().UnixMicro()), row.Text(what), row.Text(stream), integer(r.Number), integer(r.FirstSeq), integer(r.LastSeq),
		integer(uint64(r.Bytes)), stamp(r.FirstTime), stamp(r.LastTime), serial, rule, by})
}

func stamp(us int64) row.Value {
	return row.Text(time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05.000000Z07:00"))
}

func integer(n uint64) row.Value { return row.Text(strconv.FormatUint(n, 10)) }

func (l *ledger) add(values []row.Value) {
	l.mu.Lock()
	if len(l.todo) < maxLedger {
		l.todo = append(l.todo, values)
	} else {
		l.lost++
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// ledgerBatch is how many entries are written together.
const ledgerBatch = 500

// ledgerPause is how long the ledger waits after it could not be written.
const ledgerPause = 5 * time.Second

// run writes what there is to write until it is stopped.
func (l *ledger) run() {
	defer close(l.ended)
	for {
		select {
		case <-l.wake:
		case <-l.stop:
			_ = l.write() // told in the log
			return
		}
		for l.write() != nil {
			select {
			case <-time.After(ledgerPause):
			case <-l.stop:
				return
			}
		}
	}
}

// write writes all that waits.
func (l *ledger) write() error {
	for {
		l.mu.Lock()
		n, lost := min(len(l.todo), ledgerBatch), l.lost
		todo := l.todo[:n:n]
		l.lost = 0
		l.mu.Unlock()
		if lost > 0 {
			l.db.o.Log.Error("the ledger could not be written for so long that entries are missing in it", "entries", lost)
		}
		if n == 0 {
			return nil
		}
		var b row.Batch
		s := l.journal.Intern(LedgerStream, ledgerColumns)
		for _, values := range todo {
			if err := b.Add(s, 0, values); err != nil {
				return err
			}
		}
		if _, err := l.journal.Append(context.Background(), &b, true); err != nil {
			l.db.o.Log.Error("write the ledger", "error", err)
			return err
		}
		l.mu.Lock()
		l.todo = l.todo[n:]
		l.mu.Unlock()
	}
}
