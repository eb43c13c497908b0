package holdfast

import (
	"slices"

	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/internal/roll"
	"holdfast/internal/roller"
)

// Hold keeps rows from every limit and every roll until it is removed.
type Hold = journal.Hold

// HoldRange is a range in a Hold, both ends included.
type HoldRange = journal.Ends

// RollMessage asks that the oldest rows leave: a sizeRoll or a timeRoll.
type RollMessage = roll.Message

// RollPlan is what a RollMessage would do.
type RollPlan = roll.Plan

// Rolled is what became of a RollMessage.
type Rolled = roller.Result

// ParseRoll reads a message's name and parameters, as sent to a node, in the
// grammar of the NetWitness Core database: docs/roll.md has it.
func ParseRoll(node, name, params string) (RollMessage, error) {
	return roll.ParseMessage(node, name, params)
}

// openRoller reads what rolls have committed, before any stream is opened.
func (db *DB) openRoller() (err error) {
	db.ledger = newLedger(db)
	db.roller, err = roller.Open(db.disk, roller.Options{Undo: db.o.Undo, Log: db.o.Log, Done: db.ledger.rolled})
	if err != nil {
		return err
	}
	if e, ok := db.roller.Last(); ok { // what it removed may still have to be told of
		db.ledger.rolls[e.Serial] = e
	}
	return db.takeSizes(db.o.Streams, !db.o.KeepBudgets)
}

// budget is the size that a stream was given, and the one in use.
type budget struct{ given, holds int64 }

// held returns the limits that hold where some are given: those with the size
// that is in use in the place of one that is ignored.
func (db *DB) held(stream string, l Limits) Limits {
	db.resizing.Lock()
	b, known := db.budgets[stream]
	db.resizing.Unlock()
	if !known || l.Budget != b.given || b.given == b.holds {
		return l
	}
	if l.History == l.Budget { // it is the whole budget
		l.History = b.holds
	}
	l.Budget = b.holds
	return l
}

// journalOptions returns how a stream's journal is opened.
func (db *DB) journalOptions(s Stream) journal.Options {
	o := journal.Options{
		Name: s.Name, Link: journal.Link(s.Link), Limits: journal.Limits(db.held(s.Name, s.Limits)), Scrub: journal.Scrub(db.o.Scrub), Log: db.o.Log,
	}
	if !rolls(s.Name) {
		o.Remembered = func(files []string) []journal.Hold { db.missed(files); return nil }
		return o
	}
	o.Remembered = func(files []string) []journal.Hold { db.missed(files); return db.roller.Remembered(files) }
	o.Removed = func(r journal.Removed) {
		db.ledger.removed(s.Name, r)
		if !r.Trash {
			db.roller.Removed(s.Name, r.Roll, r.Bytes, limitsRule, limitsBy)
		}
	}
	o.Cut, o.Holds, o.Aging = db.roller.Cut(s.Name), db.roller.Holds(), db.roller.Aging
	if s.Link != "" || len(s.Warm) > 0 || s.Cold.Dir != "" || s.Cold.Store != nil {
		o.Room = func(lack int64, drop bool) (bool, error) { return db.roller.MakeRoom(s.Name, lack, drop) }
	}
	return o
}

// rolls tells whether a stream takes part in rolls: rejects stay until they are
// settled, and the ledger is trimmed by its own budget.
func rolls(stream string) bool { return !own(stream) }

// own tells whether Holdfast alone writes to a stream: no table is routed
// there, and no sink gets it.
func own(stream string) bool { return stream == RejectsStream || stream == LedgerStream }

// attachRoller gives the roller its streams.
func (db *DB) attachRoller() {
	var all []roller.Stream
	for _, s := range db.streams {
		if rolls(s.Name) {
			all = append(all, roller.Stream{Name: s.Name, Journal: s.journal, Link: journal.Link(s.Link), Parent: s.Parent, Warm: len(s.Warm) > 0, Cold: roller.Cold{Store: s.cold, OnFull: roller.OnColdFull(s.Cold.OnFull)}, Limits: s.journal.Limits, Index: s.index, IndexFS: s.indexFiles, IndexWarm: s.indexWarm})
		}
	}
	db.roller.Attach(all)
}

// judgeLinks refuses streams that are tied to what is not there.
func (o *Options) judgeLinks() error {
	at := func(name string) int {
		return slices.IndexFunc(o.Streams, func(s Stream) bool { return s.Name == name })
	}
	for _, s := range o.Streams {
		switch i := at(s.Parent); {
		case own(s.Name) && (s.Link != "" || s.Parent != ""):
			return fault.New(fault.InvalidParameterValue, "stream %q is tied to no other", s.Name)
		case s.Link != "" && s.Limits.KeepDelivered:
			return fault.New(fault.InvalidParameterValue, "stream %q cannot remove each row when it is delivered, because a link ties it to others", s.Name)
		case s.Parent == "":
		case i < 0 || own(s.Parent):
			return fault.New(fault.InvalidParameterValue, "stream %q has the unknown parent %q", s.Name, s.Parent)
		case s.Link == "" || o.Streams[i].Link != s.Link:
			return fault.New(fault.InvalidParameterValue, "stream %q and its parent %q are not tied by the same link", s.Name, s.Parent)
		}
		for up, steps := s.Parent, 0; up != "" && at(up) >= 0; up, steps = o.Streams[at(up)].Parent, steps+1 {
			if steps > len(o.Streams) {
				return fault.New(fault.InvalidParameterValue, "stream %q is its own ancestor", s.Name)
			}
		}
	}
	return nil
}

// Roll plans what a message asks of the streams, and, with apply set, carries
// it out: in one commit, after which files leave. by is told in the ledger.
func (db *DB) Roll(m RollMessage, by string, apply bool) (Rolled, error) {
	return db.roller.Roll(m, by, apply)
}

// UndoRoll takes back a roll by its serial, 0 for the last one, as long as its
// files wait in the trash. It returns the serial.
func (db *DB) UndoRoll(serial uint64, by string) (uint64, error) { return db.roller.Undo(serial, by) }

// AddHold puts a hold into force, durably.
func (db *DB) AddHold(h Hold) error { return db.roller.AddHold(h) }

// RemoveHold lifts a hold.
func (db *DB) RemoveHold(name string) error { return db.roller.RemoveHold(name) }

// Holds returns the holds.
func (db *DB) Holds() []Hold { return db.roller.Holds() }
