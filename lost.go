package holdfast

import (
	"sync"

	"holdfast/internal/roster"
)

// lost is what became of the files beside the streams.
type lost struct {
	mu     sync.Mutex // held while the streams are told, too
	missed error      // what went wrong when a stream missed one
}

// missed is told by a stream that is being opened, beside others, which files
// there were.
func (db *DB) missed(files []string) {
	err := db.roster.Missing(files)
	db.lost.mu.Lock()
	defer db.lost.mu.Unlock()
	if err != nil && db.lost.missed == nil {
		db.lost.missed = err
	}
}

// settleLost pauses every sink that a lost SINKS may have spoken of: one may have
// been paused, or its name retired or renamed, and nothing is delivered then
// before somebody has looked. From then on the streams remember that there is one.
func (db *DB) settleLost() error {
	if db.lost.missed != nil {
		return db.lost.missed
	}
	if bad := db.roster.Damaged(); bad != nil {
		if err := db.roster.Assume(db.pauseAll); err != nil {
			return err
		}
		db.o.Log.Error("what operators said of sinks is lost; every sink is paused", "error", bad, "do", db.roster.Trouble())
	}
	db.roster.OnChange(db.remember)
	db.remember()
	return nil
}

// pauseAll pauses each sink that is known here, or was, for each stream.
func (db *DB) pauseAll(notes map[string]roster.Note) {
	pause := func(sink, stream string) {
		n := notes[sink]
		if n.Streams == nil {
			n.Streams = map[string]roster.Place{}
		}
		p := n.Streams[stream]
		p.Paused = true
		n.Streams[stream] = p
		notes[sink] = n
	}
	for _, s := range db.streams {
		if own(s.Name) {
			continue
		}
		for name := range s.journal.Sinks() {
			pause(name, s.Name)
		}
		for _, name := range s.journal.Departed() {
			pause(name, s.Name)
		}
		for _, k := range db.o.Sinks {
			if k.gets(s.Name) {
				pause(k.Name, s.Name)
			}
		}
	}
}

// remember has the streams know whether SINKS says something.
func (db *DB) remember() {
	db.lost.mu.Lock()
	defer db.lost.mu.Unlock()
	says := db.roster.Says()
	for _, s := range db.streams {
		s.journal.Remember(roster.FileName, says)
	}
}

// Troubles tells what is wrong with the files beside the streams, and what to do
// about each.
func (db *DB) Troubles() (all []string) {
	for _, trouble := range []func() string{db.roller.Trouble, db.roster.Trouble, db.catalog.Trouble} {
		if text := trouble(); text != "" {
			all = append(all, text)
		}
	}
	return all
}
