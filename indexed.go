package holdfast

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/index"
	"holdfast/internal/journal"
	"holdfast/internal/place"
	"holdfast/internal/where"
	"holdfast/row"
)

// Index configures the index of a stream: slices that tell which segments, and
// which parts of them, can hold a row with a value. They are derived from the
// segments, and made anew where they are lost or damaged. The zero Index makes
// none.
type Index struct {
	Columns []string // that conditions look for, of all tables of the stream
	Dir     string   // where slices are; "": beside the segments
	Exists  bool     // Dir must be there already
	Budget  int64    // bytes of all slices there; 0: no bound

	// Warm is where the oldest slices move when Budget is full, and from where
	// they leave when that is full, too. Without one they leave at once.
	Warm Directory
}

// Explained tells how a Read came to its rows.
type Explained struct {
	Opened  int    // segments that were read, in part or whole
	Skipped int    // segments that were not, because no row in them could match
	Slices  int    // index slices that were asked for that
	Bytes   int64  // that were read of them
	Rows    uint64 // rows that were looked at
	Failed  int    // rows of which a part of the condition could not be computed; they do not match
	Why     string // of the first of them
}

// IndexStatus is how the index of a stream is doing.
type IndexStatus = index.Status

// openIndex opens the index of a stream, where it has one; home is the
// directory of its MANIFEST.
func (db *DB) openIndex(s *stream, home disk.FS) (err error) {
	if len(s.Index.Columns) == 0 {
		return nil
	}
	s.indexFiles = home
	if s.Index.Dir != "" {
		p, err := s.enter(db, place.Want{Path: s.Index.Dir, Tier: "index", Exist: s.Index.Exists})
		if err != nil && s.Index.Exists {
			return fmt.Errorf("open directory of the index of stream %q: %w", s.Name, err)
		}
		if err != nil { // an index is no reason to refuse rows
			db.o.Log.Error("the index is not there; segments are read whole", "stream", s.Name, "dir", s.Index.Dir, "error", err)
			return nil
		}
		s.indexFiles = p.FS
	}
	if err := s.openIndexWarm(db); err != nil {
		return err
	}
	s.index, err = index.Open(index.Options{
		Name: s.Name, Source: indexed{s.journal}, FS: s.indexFiles, Columns: s.Index.Columns, Budget: db.size(s.Name, indexKey, s.Index.Budget),
		Warm: s.indexWarm, WarmTo: db.size(s.Name, indexWarmKey, s.Index.Warm.Size),
		Cache: db.cached, MinFree: s.Limits.MinFree, Changed: s.changed, Log: db.o.Log,
	})
	if err != nil {
		db.o.Log.Error("the index cannot be opened; segments are read whole", "stream", s.Name, "error", err)
		s.index = nil
	}
	return nil
}

// openIndexWarm opens the warm tier of an index. Without it an index is smaller,
// and nothing worse.
func (s *stream) openIndexWarm(db *DB) error {
	w := s.Index.Warm
	if w.Dir == "" {
		return nil
	}
	p, err := s.enter(db, place.Want{Path: w.Dir, Tier: "warm index", Exist: w.Exists, Watch: true})
	switch {
	case err != nil && w.Exists:
		return fmt.Errorf("open the warm directory of the index of stream %q: %w", s.Name, err)
	case err != nil:
		db.o.Log.Error("the warm directory of the index is not there; slices leave when the index is full", "stream", s.Name, "dir", w.Dir, "error", err)
		return nil
	}
	s.indexWarm = p.FS
	return nil
}

// indexKey and indexWarmKey are under which the sizes of an index are remembered,
// in the place of a directory's path.
const (
	indexKey     = "(index)"
	indexWarmKey = "(index warm)"
)

// tellIndex makes the index look around: segments were sealed, or have gone.
func (s *stream) tellIndex() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// closeIndex ends the making of slices.
func (s *stream) closeIndex() {
	if s.index != nil {
		s.index.Close()
	}
}

// indexed shows a journal to its index, in the index's words.
type indexed struct{ *journal.Journal }

var _ index.Source = indexed{}

// Sealed implements index.Source.
func (s indexed) Sealed() []index.Segment {
	all := s.Journal.Sealed()
	out := make([]index.Segment, len(all))
	for i, one := range all {
		out[i] = index.Segment(one)
	}
	return out
}

// Scan implements index.Source.
func (s indexed) Scan(ctx context.Context, number uint64, each func(*row.Block) error) error {
	err := s.ScanSealed(ctx, number, each)
	if errors.Is(err, journal.ErrGone) {
		return &translated{err, fs.ErrNotExist}
	}
	return err
}

// sift is what a Read asks of rows besides their table.
type sift struct {
	where  *where.Where // nil: nothing
	since  int64
	picker *index.Picker // nil: every segment is read
}

// sift compiles the condition of a Read.
func (db *DB) sift(ctx context.Context, s *stream, o ReadOptions) (f sift, err error) {
	f.since = math.MinInt64
	if o.Since.IsZero() && o.Where == "" {
		return f, nil
	}
	q := index.Query{Since: f.since}
	if !o.Since.IsZero() {
		f.since = o.Since.UnixMicro()
		q.Since = f.since
	}
	if o.Where != "" {
		if o.Table == "" {
			return f, fault.New(fault.InvalidParameterValue, "a condition is about the columns of one table").WithHint("name the table, too")
		}
		columns, err := db.Columns(o.Table)
		if fault.Code(err) == fault.UndefinedTable {
			err = fault.New(fault.UndefinedTable, "table %q is not known", o.Table).WithHint("a condition needs its columns; rows without one are read all the same")
		}
		if err != nil {
			return f, err
		}
		if f.where, err = where.Compile(o.Where, o.Table, columns); err != nil {
			return f, err
		}
		q.Condition = f.where.Condition()
	}
	x := s.index
	if o.NoIndex {
		x = nil
	}
	f.picker = index.NewPicker(ctx, x, q, indexed{s.journal}.Sealed())
	return f, nil
}

// pick implements journal.Pick.
func (f *sift) pick(s journal.Sealed) ([]journal.Range, bool) {
	ranges, ok := f.picker.Pick(index.Segment(s))
	if !ok {
		return nil, false
	}
	out := make([]journal.Range, len(ranges))
	for i, r := range ranges {
		out[i] = journal.Range(r)
	}
	return out, true
}

// wants tells whether a row is asked for.
func (f *sift) wants(r *row.Row) bool {
	return r.Received >= f.since && (f.where == nil || f.where.Match(r))
}

// explain tells how it went.
func (f *sift) explain(opened int, rows uint64) Explained {
	e := Explained{Opened: opened, Rows: rows}
	if f.picker != nil {
		p := f.picker.Explained
		e.Skipped, e.Slices, e.Bytes = p.Skipped, p.Slices, p.Bytes
	}
	if f.where != nil {
		var err error
		if e.Failed, err = f.where.Failed(); err != nil {
			e.Why = cmp.Or(fault.Of(err).Message, err.Error())
		}
	}
	return e
}

// SettleIndexes waits until the slices of all segments that are sealed now are
// made, or cannot be.
func (db *DB) SettleIndexes(ctx context.Context) error {
	for _, s := range db.streams {
		if s.index == nil {
			continue
		}
		if err := s.index.Settle(ctx); err != nil {
			return err
		}
	}
	return nil
}
