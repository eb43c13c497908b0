package holdfast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

// Status is how a database is.
type Status struct {
	Streams []StreamStatus // sorted by name
	Sinks   []SinkStatus   // sorted by name and stream
	Dedupe  []DedupeStatus // tables whose repeats are dropped, by stream and name
}

// StreamStatus is one stream.
type StreamStatus struct {
	Name     string
	ID       string       // its identity, a UUID
	FirstSeq uint64       // oldest row kept; EndSeq+1 where none is
	EndSeq   uint64       // last durable row
	Segments int          // files that hold rows
	Bytes    int64        // of all its files, reservations included
	Limit    int64        // budget in bytes; 0: none
	Free     int64        // bytes left on the volume
	State    string       // "ok", "full" or "failing"
	Error    string       // why it is not "ok"
	Oldest   time.Time    // receipt of the oldest row kept; zero: unknown, or none
	Damage   []row.Damage // found since Open
	Gaps     []row.Damage // rows that Repair gave up, the newest ranges
	GapRows  uint64       // in all of them that are still met
	Scrub    Scrubbed
	Rolling  *Rolling     // nil where nothing rolls
	Index    *IndexStatus // nil where it has none

	Appended  uint64        // rows committed since Open
	Written   uint64        // bytes written for them
	Flushes   uint64        // since Open
	FlushTime time.Duration // in all of them
}

// Detached is the state of a sink that is registered, so that rows are kept
// for it, but was not given to Open. The other states are those of delivery:
// connecting, delivering, idle, waiting (for the next attempt), paused (by
// PauseSink) and halted (until somebody looks).
const Detached = "detached"

// SinkStatus is one stream's rows in one sink.
type SinkStatus struct {
	Name      string
	Given     string // the name that Open was given, where it was renamed since; else Name; "" where it is detached
	Stream    string
	State     string
	Reason    string    // why it is halted
	Since     time.Time // when State became what it is; zero: unknown
	Seq       uint64    // last row committed, as far as is known here
	LagRows   uint64    // durable rows that it has not
	LagBytes  int64     // about, on disk
	Oldest    time.Time // about when the oldest of them was received; zero: unknown, or none
	LastError string    // of the last attempt that failed; "" once one worked
	Retries   uint64    // attempts that failed since Open
	Rows      uint64    // committed since Open
	Commits   uint64    // since Open
	GapRows   uint64    // passed over since Open, because Repair gave them up
	Size      int64     // bytes on this machine's disk; 0: unknown

	RowsPerSecond float64       // that it took lately
	Left          time.Duration // until it has them all, at that pace; 0: nobody can tell, or it has
	RejectsOpen   int           // rows that it refused and that wait
	Rejects       uint64        // set aside since Open
}

// Status returns how the database is. It does not wait for a sink.
func (db *DB) Status() Status {
	var all Status
	pins := db.pins()
	for _, s := range db.streams {
		one := s.status()
		one.Rolling = db.rolling(s, pins[s.Name])
		if s.index != nil {
			index := s.index.Status()
			one.Index = &index
		}
		all.Streams = append(all.Streams, one)
	}
	all.Dedupe = db.dedupes()
	for _, d := range db.deliveries() {
		all.Sinks = append(all.Sinks, d.status())
	}
	counts := db.rejects.Counts()
	for _, s := range db.streams {
		if !own(s.Name) { // what reads that is no sink
			all.Sinks = append(all.Sinks, s.detached(all.Sinks)...)
		}
	}
	for i := range all.Sinks {
		k := &all.Sinks[i]
		for _, c := range counts {
			if c.Sink == k.Name && c.Stream == k.Stream {
				k.RejectsOpen += c.Open
			}
		}
	}
	slices.SortFunc(all.Sinks, func(a, b SinkStatus) int {
		return strings.Compare(a.Name+"\x00"+a.Stream, b.Name+"\x00"+b.Stream)
	})
	return all
}

func (s *stream) status() StreamStatus {
	j := s.journal.Status()
	out := StreamStatus{
		Name: s.Name, ID: s.journal.ID(), FirstSeq: j.FirstSeq, EndSeq: j.EndSeq, Segments: j.Segments,
		Bytes: j.Bytes, Limit: j.Limit, Free: j.Free, State: j.State, Error: j.Error, Damage: j.Damage,
		Gaps: j.Gaps, GapRows: j.GapRows, Scrub: Scrubbed(j.Scrub),
		Appended: j.Appended, Written: j.AppendedBytes, Flushes: j.Flushes, FlushTime: j.FlushTime,
	}
	if j.OldestTime > 0 && j.FirstSeq <= j.EndSeq {
		out.Oldest = time.UnixMicro(j.OldestTime)
	}
	return out
}

func (d *delivery) status() SinkStatus {
	s := d.Status()
	out := SinkStatus{
		Name: s.Name, Given: d.given, Stream: s.Stream, State: string(s.State), Reason: string(s.Reason), Since: s.Since,
		Seq: s.Seq, LagRows: s.LagRows, LagBytes: s.LagBytes, Oldest: s.Oldest, LastError: s.LastError,
		Retries: s.Retries, Rows: s.Rows, Commits: s.Commits, GapRows: s.GapRows, Rejects: s.Rejects,
	}
	out.RowsPerSecond, out.Left = s.DrainRate, s.ETA
	if k, ok := d.to.Sink.(sink.Stats); ok {
		// A size that cannot be told now is told as unknown.
		out.Size, _ = k.Size()
	}
	return out
}

// detached returns the registered sinks of s that are not among known.
func (s *stream) detached(known []SinkStatus) (out []SinkStatus) {
	for name, mark := range s.journal.Sinks() {
		if slices.ContainsFunc(known, func(k SinkStatus) bool { return k.Name == name && k.Stream == s.Name }) {
			continue
		}
		k := SinkStatus{Name: name, Stream: s.Name, State: Detached, Seq: mark, LagBytes: s.journal.BytesAfter(mark)}
		if end := s.journal.End().Seq; end > mark {
			k.LagRows = end - mark
		}
		out = append(out, k)
	}
	return out
}

// Seal closes the active segment of each stream, so that it is immutable when
// Seal returns. One without rows stays.
func (db *DB) Seal(ctx context.Context) error {
	var errs []error
	for _, s := range db.streams {
		if err := s.journal.Seal(ctx); err != nil {
			errs = append(errs, fmt.Errorf("seal stream %q: %w", s.Name, err))
		}
	}
	return errors.Join(errs...)
}
