package holdfast

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"

	"holdfast/internal/deliver"
	"holdfast/internal/roster"
	"holdfast/row"
	"holdfast/sink"
)

// delivery is one sink's deliverer for one stream.
type delivery struct {
	*deliver.Deliverer
	to     Sink   // as it is called now
	given  string // what Open called it
	stream *stream
}

// deliveries returns what is delivering now.
func (db *DB) deliveries() []*delivery {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.Clone(db.sinks)
}

// gets reports whether the sink is to have the rows of a stream.
func (k *Sink) gets(stream string) bool {
	return !own(stream) && (k.Streams == nil || slices.Contains(k.Streams, stream))
}

// deliver registers the sinks and starts a deliverer for each of their streams.
func (db *DB) deliver() error {
	db.instance = rand.Text()
	if err := db.settleNotes(); err != nil {
		return err
	}
	for i := range db.o.Sinks {
		k, given := &db.o.Sinks[i], db.o.Sinks[i].Name
		note := db.roster.Note(given)
		if !note.Retired.IsZero() {
			db.o.Log.Error("sink is not used: it was retired, and is still configured; remove it, or give it another name", "sink", given, "retired", note.Retired)
			continue
		}
		if note.Renamed != "" {
			db.o.Log.Warn("sink was renamed; call it so in the configuration too", "sink", given, "renamed", note.Renamed)
			k.Name = note.Renamed
		}
		for _, s := range db.streams {
			if !k.gets(s.Name) {
				continue
			}
			d, err := db.engage(*k, given, s)
			if err != nil {
				return err
			}
			db.sinks = append(db.sinks, d)
		}
	}
	for _, d := range db.sinks {
		db.launch(d)
	}
	return nil
}

// launch begins to deliver.
func (db *DB) launch(d *delivery) { d.Start() }

// engage registers a sink with a stream and makes its deliverer.
func (db *DB) engage(k Sink, given string, s *stream) (*delivery, error) {
	start, mark, err := db.register(k, s)
	if err != nil {
		return nil, fmt.Errorf("register sink %q with stream %q: %w", k.Name, s.Name, err)
	}
	place := db.roster.Place(k.Name, s.Name)
	d := &delivery{to: k, given: given, stream: s}
	c := deliver.Config{
		Stream: source{s.journal}, Name: k.Name, Instance: db.instance, Log: db.o.Log,
		Sink: &noted{Sink: k.Sink, place: place, db: db, stream: s.Name, name: k.Name},
		Mark: mark, Attached: place.Attached, Paused: place.Paused, Replay: k.Replay, Start: start,
		Rejects: keptRejects{db.rejects, func() { db.Notify(given) }}, RejectFlood: k.RejectFlood, Shape: k.Shape,
		Marked: db.marker(d, mark),
		Failed: func(error) { db.Notify(given) },
		Rewound: func(ctx context.Context, _ row.Position) error {
			_, _, err := db.rejects.Reopen(ctx, s.journal.ID(), k.Name)
			return err
		},
	}
	if g, ok := k.Sink.(sink.Growing); ok {
		c.Most = g.MostBatches()
	}
	if k.WholeTransactions {
		c.RejectUnit = deliver.UnitTransaction
	}
	db.rejects.SetBudget(k.Name, k.RejectBudget)
	d.Deliverer = deliver.New(c)
	return d, nil
}

// marker returns what takes note of how far a sink has committed, beginning
// with mark. Where that goes back, rows must be kept again.
func (db *DB) marker(d *delivery, mark uint64) func(seq uint64) {
	return func(seq uint64) {
		j := d.stream.journal
		if seq < mark {
			if err := j.Rewind(d.to.Name, seq); err != nil {
				db.o.Log.Error("note that rows are needed again", "sink", d.to.Name, "stream", d.stream.Name, "seq", seq, "error", err)
			}
		} else {
			j.Mark(d.to.Name, seq)
		}
		mark = seq
	}
}

// register enters a sink, and returns where it begins if it has no cursor yet.
// A sink that has lost its cursor must not begin behind rows that it lacks: so
// the place that it was told counts only as long as it has committed nothing.
func (db *DB) register(k Sink, s *stream) (start row.Position, mark uint64, err error) {
	if _, known := s.journal.Sinks()[k.Name]; !known && k.Now {
		// Noted before it is registered: if that does not come to pass, the next
		// start notes it anew.
		start = s.journal.End()
		if err = db.roster.ChangePlace(k.Name, s.Name, func(p *roster.Place) { p.Start = &start }); err != nil {
			return start, 0, err
		}
		mark, err = s.journal.RegisterAt(k.Name, start.Seq)
		return start, mark, err
	}
	start = s.journal.Oldest()
	if mark, err = s.journal.Register(k.Name); err != nil {
		return start, 0, err
	}
	if told := db.roster.Place(k.Name, s.Name).Start; told != nil && told.Seq == mark {
		start = *told
	}
	return start, mark, nil
}

// settleNotes ends what a crash has left half done of what operators said, and
// forgets what was said of names that nobody uses any more.
func (db *DB) settleNotes() error {
	notes, given := db.roster.Notes(), map[string]bool{}
	for _, k := range db.o.Sinks {
		given[k.Name] = true
	}
	old := false
	for name, n := range notes {
		for _, s := range db.streams {
			var err error
			if _, known := s.journal.Sinks()[name]; known && n.Renamed != "" {
				err = s.journal.Rename(name, n.Renamed)
			} else if known && !n.Retired.IsZero() {
				err = s.journal.Retire(name)
			}
			if err == nil && n.Renamed != "" && !own(s.Name) {
				err = db.rejects.Rename(context.Background(), s.journal.ID(), name, n.Renamed)
			}
			if err != nil {
				return fmt.Errorf("end what was begun with sink %q: %w", name, err)
			}
		}
		old = old || stale(name, n, given)
	}
	if !old || len(given) == 0 { // without sinks, nobody says which names are used
		return nil
	}
	return db.roster.Change(func(notes map[string]roster.Note) {
		for name, n := range notes {
			if stale(name, n, given) {
				delete(notes, name)
			}
		}
	})
}

// stale reports whether n tells of a name that is given up: one that is not
// used any more, or that is used beside the new one, and so for another sink.
func stale(name string, n roster.Note, given map[string]bool) bool {
	return (!n.Retired.IsZero() || n.Renamed != "") && (!given[name] || given[n.Renamed])
}

// noted is a sink of which it is noted that it has a cursor, and which may still
// have it under an older name. The registration was renamed first, so that rows
// are kept at every moment; the cursor follows before anything is delivered, as
// often as it takes.
type noted struct {
	sink.Sink
	db           *DB
	name, stream string

	mu    sync.Mutex
	place roster.Place // as it was noted last
}

// Attach renames the cursor, where that is due, and then attaches.
func (n *noted) Attach(ctx context.Context, id sink.ID, instance string, start row.Position, sound func(sink.Cursor) error) (sink.Session, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, was := range n.place.Was {
		old := id
		old.Sink = was
		if err := n.Sink.Rename(ctx, old, id.Sink); err != nil && !errors.Is(err, sink.ErrNoCursor) {
			return nil, fmt.Errorf("rename the cursor of sink %q to %q: %w", old.Sink, id.Sink, err)
		}
	}
	session, err := n.Sink.Attach(ctx, id, instance, start, sound)
	if err != nil {
		return nil, err
	}
	session = &watched{session, n}
	if len(n.place.Was) == 0 && n.place.Attached {
		return session, nil
	}
	n.place.Was, n.place.Attached = nil, true
	err = n.db.roster.ChangePlace(n.name, n.stream, func(p *roster.Place) { p.Was, p.Attached = nil, true })
	if err != nil {
		n.place.Attached = false // so that it is tried again
		return nil, errors.Join(err, session.Close())
	}
	return session, nil
}

// watched is a session whose errors make the door look at the sink's tables
// again: they may have changed.
type watched struct {
	sink.Session
	of *noted
}

// Apply implements sink.Session.
func (w *watched) Apply(ctx context.Context, b sink.Batch, r sink.Rejects) error {
	err := w.Session.Apply(ctx, b, r)
	if err != nil && ctx.Err() == nil {
		w.of.db.Notify(w.of.name)
	}
	return err
}

// drain waits until each of all has committed what is durable now.
func drain(ctx context.Context, all []*delivery) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, d := range all {
		wg.Go(func() { errs[i] = d.Drain(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
