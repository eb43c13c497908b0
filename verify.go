package holdfast

import (
	"context"
	"fmt"
	"time"

	"holdfast/internal/deliver"
	"holdfast/internal/journal"
	"holdfast/row"
)

// Scrub says how fast each stream's sealed segments are read again in the
// background, so that damage is named before a sink meets it. Nothing is ever
// mended by it.
type Scrub struct {
	Rate  int64         // bytes per second; 0: not at all
	Pause time.Duration // from the end of one round to the next; 0: 24 h
}

// Scrubbed is how far that got.
type Scrubbed struct {
	Bytes  uint64    // read since Open
	Damage uint64    // places that nobody had met before
	Rounds uint64    // ended since Open
	Ended  time.Time // when the last full round did; zero: none has since Open
}

// Verified is how much Verify, or Repair, has read.
type Verified struct {
	Streams  int
	Segments int
	Rows     uint64 // that are readable
	Bytes    int64
	Damaged  int // places reported, gaps apart
	Gaps     int // ranges of rows that were given up before
}

// Verify reads everything that a stream keeps, all streams for "", and calls
// report for each place that is not as it was written, gaps included; files of
// the data directory itself, which are in no stream, are told with all. It ends
// early with report's error. Writers and sinks go on meanwhile.
func (db *DB) Verify(ctx context.Context, name string, report func(row.Damage) error) (Verified, error) {
	var beside int
	if name == "" {
		for _, text := range db.Troubles() {
			if err := report(row.Damage{What: text}); err != nil {
				return Verified{}, err
			}
			beside++
		}
	}
	v, err := db.examine(ctx, name, func(ctx context.Context, s *stream, all *Verified) (journal.Verified, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		var stopped error
		v, err := s.journal.Verify(ctx, func(d row.Damage) {
			if stopped != nil {
				return
			}
			if d.Gap {
				all.Gaps++
			} else {
				all.Damaged++
			}
			if stopped = report(d); stopped != nil {
				cancel(stopped)
			}
		})
		if stopped != nil {
			err = stopped
		}
		return v, err
	})
	v.Damaged += beside
	return v, err
}

// Repair is one damage, and what is, or would be, done about it.
type Repair = journal.Repair

// Repair reads everything that a stream keeps, all streams for "", and calls
// report for each damage with what there is to do about it. With apply set
// that is done first: the bytes are copied aside, and rows that cannot be read
// become a gap, which readers and sinks pass over. Without it nothing is
// changed. It ends early with report's error. Writers and sinks go on
// meanwhile; a sink that was halted by the damage goes on at once.
func (db *DB) Repair(ctx context.Context, name string, apply bool, report func(Repair) error) (Verified, error) {
	return db.examine(ctx, name, func(ctx context.Context, s *stream, all *Verified) (journal.Verified, error) {
		v, err := s.journal.Repair(ctx, apply, func(r Repair) error {
			all.Damaged++
			return report(r)
		})
		if apply {
			db.resume(s.Name)
		}
		return v, err
	})
}

// resume ends the pause of the sinks that damage has halted.
func (db *DB) resume(stream string) {
	for _, d := range db.deliveries() {
		if s := d.Status(); s.Stream == stream && s.Reason == deliver.Damage {
			d.Resume(deliver.Resumption{})
		}
	}
}

// examine calls each for the stream of that name, for all of them where it is
// "", and sums up what they read.
func (db *DB) examine(ctx context.Context, name string, each func(context.Context, *stream, *Verified) (journal.Verified, error)) (Verified, error) {
	streams := db.streams
	if name != "" {
		s, err := db.find(name)
		if err != nil {
			return Verified{}, err
		}
		streams = []*stream{s}
	}
	var all Verified
	for _, s := range streams {
		v, err := each(ctx, s, &all)
		all.Streams++
		all.Segments += v.Segments
		all.Rows += v.Rows
		all.Bytes += v.Bytes
		if err != nil {
			return all, fmt.Errorf("read stream %q through: %w", s.Name, err)
		}
	}
	return all, nil
}
