package holdfast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/deliver"
	"holdfast/internal/fault"
	"holdfast/internal/roster"
	"holdfast/sink"
)

// registrations returns the streams that a sink is registered with; an error
// where there are none.
func (db *DB) registrations(name string) ([]*stream, error) {
	var all []*stream
	known := []string{}
	for _, s := range db.streams {
		if own(s.Name) { // what reads that is no sink
			continue
		}
		for have := range s.journal.Sinks() {
			if have == name {
				all = append(all, s)
			} else if !slices.Contains(known, have) {
				known = append(known, have)
			}
		}
	}
	if all == nil {
		slices.Sort(known)
		f := fault.New(fault.UndefinedObject, "sink %q is not registered", name)
		if len(known) == 0 {
			return nil, f.WithHint("no sink is; name one under sinks in the configuration")
		}
		return nil, f.WithHint("these are: %q", known)
	}
	return all, nil
}

// running returns the deliveries of a sink; an error where it has none.
func (db *DB) running(name string) ([]*delivery, error) {
	all := slices.DeleteFunc(db.deliveries(), func(d *delivery) bool { return d.to.Name != name })
	if len(all) > 0 {
		return all, nil
	}
	if _, err := db.registrations(name); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.CannotConnectNow, "nothing delivers to sink %q", name).
		WithHint("start the server with a configuration that names it")
}

// Resume says how ResumeSink resumes.
type Resume struct {
	Stream    string // only this one; "": all of the sink's
	Replay    bool   // the cursor in the sink counts, wherever it stands: it gets again what it lacks
	AcceptGap bool   // rows that are no longer kept are given up, and noted in the sink
}

// ofStream leaves only the deliveries of a stream, where one is named.
func ofStream(all []*delivery, stream string) ([]*delivery, error) {
	if stream == "" {
		return all, nil
	}
	one := slices.DeleteFunc(slices.Clone(all), func(d *delivery) bool { return d.stream.Name != stream })
	if len(one) == 0 {
		return nil, fault.New(fault.UndefinedObject, "sink %q does not get stream %q", all[0].to.Name, stream).
			WithHint("holdfast sink list shows which it gets")
	}
	return one, nil
}

// PauseSink stops delivering a stream, all streams where it is "", to a sink
// until ResumeSink, over a restart as well. It does not wait for a commit that
// is under way. Rows are kept meanwhile.
func (db *DB) PauseSink(name, stream string) error {
	return db.setPaused(name, stream, true, func(d *delivery) { d.Pause() })
}

// ResumeSink ends what PauseSink began, and the halts that wait for it.
func (db *DB) ResumeSink(name string, how Resume) error {
	if how.Replay || how.AcceptGap {
		if _, err := db.running(name); err != nil {
			return err
		}
	}
	return db.setPaused(name, how.Stream, false, func(d *delivery) {
		d.Resume(deliver.Resumption{Replay: how.Replay, AcceptGap: how.AcceptGap})
	})
}

// setPaused notes whether a sink is paused, durably, and then does it.
func (db *DB) setPaused(name, only string, paused bool, do func(*delivery)) error {
	db.operating.Lock()
	defer db.operating.Unlock()
	streams, err := db.registrations(name)
	if err != nil {
		return err
	}
	if only != "" {
		streams = slices.DeleteFunc(streams, func(s *stream) bool { return s.Name != only })
	}
	if len(streams) == 0 {
		return fault.New(fault.UndefinedObject, "sink %q does not get stream %q", name, only).WithHint("holdfast sink list shows which it gets")
	}
	for _, s := range streams {
		if db.roster.Place(name, s.Name).Paused == paused {
			continue
		}
		if err := db.roster.ChangePlace(name, s.Name, func(p *roster.Place) { p.Paused = paused }); err != nil {
			return err
		}
	}
	for _, d := range db.deliveries() {
		if d.to.Name == name && slices.Contains(streams, d.stream) {
			do(d)
		}
	}
	return nil
}

// SeekSink moves a sink's cursor to seq, or to the last place before it where a
// transaction ends, and returns that place: rows up to it count as delivered,
// those behind it come. Rows that it steps over are noted in the sink as a gap.
// The stream may be "" where the sink has only one. It waits for the sink as
// long as ctx.
func (db *DB) SeekSink(ctx context.Context, name, stream string, seq uint64) (uint64, error) {
	all, err := db.running(name)
	if err != nil {
		return 0, err
	}
	if all, err = ofStream(all, stream); err != nil {
		return 0, err
	}
	if len(all) > 1 {
		return 0, fault.New(fault.InvalidParameterValue, "sink %q gets several streams, each with seqs of its own", name).
			WithHint("name one with --stream")
	}
	to, err := all[0].Seek(ctx, seq)
	if err != nil {
		return 0, fault.New(fault.InvalidParameterValue, "the cursor was not moved").Because(err).
			WithHint("holdfast status shows which rows are kept, and what the sink lacks")
	}
	return to.Seq, nil
}

// DrainSink waits until a sink has committed every row that is acknowledged now,
// or until ctx ends. The error names the rows that it has not.
func (db *DB) DrainSink(ctx context.Context, name string) error {
	all, err := db.running(name)
	if err != nil {
		return err
	}
	if err := errors.Join(db.flush(ctx), drain(ctx, all)); err != nil {
		return fault.New(fault.CannotConnectNow, "sink %q has not got everything", name).Because(err).
			WithHint("holdfast status says why; draining again goes on")
	}
	return nil
}

// RotateSinks makes every sink that keeps files open for other programs close
// them, one sink where name is not "". It returns the names of those that did.
func (db *DB) RotateSinks(name string) (rotated []string, err error) {
	if name != "" {
		if _, err := db.running(name); err != nil {
			return nil, err
		}
	}
	var errs []error
	done := map[sink.Sink]bool{}
	for _, d := range db.deliveries() {
		r, ok := d.to.Sink.(sink.Rotator)
		if !ok || done[d.to.Sink] || name != "" && name != d.to.Name {
			continue
		}
		done[d.to.Sink] = true
		if err := r.Rotate(); err != nil {
			errs = append(errs, fmt.Errorf("rotate the files of sink %q: %w", d.to.Name, err))
			continue
		}
		rotated = append(rotated, d.to.Name)
	}
	slices.Sort(rotated)
	return rotated, errors.Join(errs...)
}

// Retired is what RetireSink did.
type Retired struct {
	Streams []string // that the sink was registered with
	Rows    uint64   // durable rows that it has not committed, and that are no longer kept for it
	Cursors int      // cursors that were removed from the sink
	Error   string   // why not all of them; ""
}

// RetireSink ends the registration of a sink with all of its streams: rows are
// no longer kept for it, and it gets no more. It is refused where the sink has
// not committed all rows, unless force is set. Rows that are in the sink stay
// there. Its cursors are removed where it can be reached within a few seconds.
// It works for a sink that is not configured any more, too; one that still is
// stays unused under this name, at the next start as well. Retiring again ends
// what a crash left half done.
func (db *DB) RetireSink(ctx context.Context, name string, force bool) (Retired, error) {
	db.operating.Lock()
	defer db.operating.Unlock()
	streams, err := db.registrations(name)
	if err != nil {
		return Retired{}, err
	}
	done := Retired{}
	for _, s := range streams {
		done.Streams = append(done.Streams, s.Name)
		if mark, end := s.journal.Sinks()[name], s.journal.End().Seq; end > mark {
			done.Rows += end - mark
		}
	}
	if done.Rows > 0 && !force {
		return Retired{}, fault.New(fault.InvalidParameterValue, "sink %q has not committed %d rows, which would no longer be kept for it", name, done.Rows).
			WithHint("let it catch up (holdfast sink drain), or say --force")
	}
	if n := db.openRejects(name); n > 0 && !force {
		return Retired{}, fault.New(fault.InvalidParameterValue, "sink %q has refused %d rows that still wait", name, n).
			WithHint("holdfast rejects list --sink %s shows them; retry or discard them, or say --force", name)
	}
	to := db.part(name)
	if err := db.roster.Change(func(notes map[string]roster.Note) {
		notes[name] = roster.Note{Retired: time.Now().UTC().Truncate(time.Second), Streams: notes[name].Streams}
	}); err != nil {
		return Retired{}, errors.Join(err, db.join(to))
	}
	var errs []error
	for _, s := range streams {
		if err := s.journal.Retire(name); err != nil {
			errs = append(errs, fmt.Errorf("retire sink %q from stream %q: %w", name, s.Name, err))
		}
	}
	if len(errs) > 0 {
		return done, errors.Join(errs...)
	}
	done.Cursors, err = removeCursors(ctx, name, to)
	if err != nil {
		done.Error = err.Error()
	}
	db.o.Log.Warn("sink is retired", "sink", name, "streams", done.Streams, "rows_not_delivered", done.Rows, "cursors_removed", done.Cursors)
	return done, nil
}

// openRejects returns how many rejects of a sink wait.
func (db *DB) openRejects(name string) (n int) {
	for _, c := range db.rejects.Counts() {
		if c.Sink == name {
			n += c.Open
		}
	}
	return n
}

// cursorTimeout bounds how long a sink that may be away is waited for.
const cursorTimeout = 10 * time.Second

// removeCursors removes the cursors of a sink whose deliverers have stopped, and
// closes it.
func removeCursors(ctx context.Context, name string, was []*delivery) (n int, err error) {
	if len(was) == 0 {
		return 0, fmt.Errorf("sink %q is not configured, so its cursor stays in holdfast_cursor, if it has one", name)
	}
	ctx, cancel := context.WithTimeout(ctx, cursorTimeout)
	defer cancel()
	for _, d := range was {
		err = d.to.Sink.Retire(ctx, sink.ID{StreamID: d.stream.journal.ID(), Stream: d.stream.Name, Sink: name})
		if err != nil {
			break
		}
		n++
	}
	return n, errors.Join(err, was[0].to.Sink.Close())
}

// part stops the deliverers of a sink and returns them.
func (db *DB) part(name string) []*delivery {
	db.mu.Lock()
	var gone []*delivery
	db.sinks = slices.DeleteFunc(slices.Clone(db.sinks), func(d *delivery) bool {
		if d.to.Name == name {
			gone = append(gone, d)
			return true
		}
		return false
	})
	db.mu.Unlock()
	for _, d := range gone {
		_ = d.Close() // never fails
	}
	return gone
}

// join makes deliverers anew for those that part has stopped, each under the
// name that is registered with its stream.
func (db *DB) join(gone []*delivery) error {
	var errs []error
	for _, was := range gone {
		k := was.to
		if note := db.roster.Note(k.Name); note.Renamed != "" {
			if _, still := was.stream.journal.Sinks()[k.Name]; !still {
				k.Name = note.Renamed
			}
		}
		d, err := db.engage(k, was.given, was.stream)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		db.mu.Lock()
		db.sinks = append(db.sinks, d)
		db.mu.Unlock()
		db.launch(d)
	}
	return errors.Join(errs...)
}

// RenameSink gives a sink another name: its registration goes on under it, with
// all that is kept for it, and so does its cursor, which is renamed in the sink
// before anything more is delivered. A configuration that still has the old
// name means the new one, until it has both. After an error, or a crash, the
// same call or the next start ends what was begun.
func (db *DB) RenameSink(name, to string) error {
	db.operating.Lock()
	defer db.operating.Unlock()
	if to == "" || len(to) > 63 || !streamName.MatchString(to) {
		return fault.New(fault.InvalidName, "%q cannot be the name of a sink", to).WithHint("use a-z, 0-9, _ and -")
	}
	streams, err := db.registrations(name)
	if err != nil {
		return err
	}
	for _, s := range db.streams {
		if _, taken := s.journal.Sinks()[to]; taken && db.roster.Note(name).Renamed != to {
			return fault.New(fault.InvalidParameterValue, "sink %q is registered already", to).
				WithHint("choose another name, or retire that one")
		}
	}
	gone := db.part(name)
	err = db.rename(name, to, streams)
	return errors.Join(err, db.join(gone))
}

func (db *DB) rename(name, to string, streams []*stream) error {
	if err := db.roster.Change(func(notes map[string]roster.Note) {
		next := roster.Note{Streams: map[string]roster.Place{}}
		for _, s := range streams {
			p := notes[name].Streams[s.Name]
			// It may not have followed yet, or followed without that being noted.
			p.Was = slices.DeleteFunc(append(slices.Clone(p.Was), name), func(was string) bool { return was == to })
			next.Streams[s.Name] = p
		}
		for old, n := range notes {
			if n.Renamed == name {
				n.Renamed = to
				notes[old] = n
			}
		}
		notes[name], notes[to] = roster.Note{Renamed: to}, next
	}); err != nil {
		return err
	}
	for _, s := range streams {
		if err := s.journal.Rename(name, to); err != nil {
			return fmt.Errorf("rename sink %q to %q in stream %q: %w", name, to, s.Name, err)
		}
		if err := db.rejects.Rename(context.Background(), s.journal.ID(), name, to); err != nil {
			return fmt.Errorf("rename what sink %q has refused: %w", name, err)
		}
	}
	db.o.Log.Info("sink is renamed", "sink", name, "renamed", to)
	return nil
}
