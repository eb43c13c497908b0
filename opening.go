package holdfast

import (
	"errors"
	"fmt"
	"sync"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
)

// opening is a stream that is about to be opened.
type opening struct {
	*stream
	dir     disk.FS
	options journal.Options
	err     error // of the journal
}

// atOnce is how many journals are opened side by side.
const atOnce = 16

// openStreams opens all streams, their journals side by side: each waits for
// the disk a few times, and a hundred would do so one behind the other.
func (db *DB) openStreams() error {
	all := make([]*opening, 0, len(db.o.Streams))
	for _, o := range db.o.Streams {
		n := &opening{stream: &stream{Stream: o, changed: make(chan struct{}, 1)}}
		all = append(all, n)
		if err := db.prepare(n); err != nil {
			return errors.Join(err, db.keep(all))
		}
	}
	turn := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for _, n := range all {
		turn <- struct{}{}
		wg.Go(func() {
			n.journal, n.err = journal.Open(n.dir, n.options)
			<-turn
		})
	}
	wg.Wait()
	return db.keep(all)
}

// prepare readies the directories of a stream.
func (db *DB) prepare(n *opening) (err error) {
	n.options = db.journalOptions(n.Stream)
	n.options.Changed = n.tellIndex
	if n.dir, err = n.directories(db, &n.options); err != nil {
		return fmt.Errorf("open directories of stream %q: %w", n.Name, err)
	}
	return db.keepManifests(n.stream, &n.options)
}

// keep makes those of all that have a journal the database's, with what their
// start has found and their indexes, and gives up what was readied for others.
func (db *DB) keep(all []*opening) error {
	var errs []error
	var begun []string
	for _, n := range all {
		if n.journal == nil {
			errs = append(errs, n.err, n.closePlaces())
			continue
		}
		db.streams = append(db.streams, n.stream)
		db.byName[n.Name] = n.stream
		begun = append(begun, n.Name)
		db.tellRecovery(n.stream)
		errs = append(errs, db.openIndex(n.stream, n.dir))
	}
	if err := db.book.Begin(begun); err != nil { // a full disk is no reason to refuse a start
		db.o.Log.Warn("streams were not noted as begun; one whose files go before the next start may begin anew then", "error", err)
	}
	return errors.Join(errs...)
}

// tellRecovery logs what the start of a stream has found.
func (db *DB) tellRecovery(s *stream) {
	r := s.journal.Recovery()
	for _, d := range r.Damage {
		db.o.Log.Error("damage found at start", "stream", d.Stream, "segment", d.Segment, "offset", d.Offset, "first", d.First, "last", d.Last, "what", d.What)
	}
	if r.Cut > 0 {
		db.o.Log.Warn("what the last run had not flushed was cut", "stream", s.Name, "bytes", r.Cut)
	}
}
