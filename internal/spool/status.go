package spool

import (
	"fmt"
	"slices"
	"time"
)

// States of a spool.
const (
	Starting  = "starting"
	Following = "following" // everything that is complete is stored
	Waiting   = "waiting"   // for the next attempt; Error tells why
	Taking    = "taking"    // files are being stored
	Held      = "held"      // some files are left where they are; Notes tell which and why
	Away      = "away"      // it takes no new files, and its volume is not mounted
)

// maxNotes bounds how much a status tells.
const maxNotes = 20

// Status is how a spool is.
type Status struct {
	State   string
	Error   string    // why it waits
	Notes   []string  // what somebody should look at
	Rows    uint64    // stored since the start
	Rejects uint64    // lines stored as malformed since the start
	Bytes   uint64    // of files stored since the start
	Bad     uint64    // files that were moved to bad/ since the start
	Files   int       // that wait, as far as the last look has counted
	Oldest  time.Time // of those that were looked at

	held, away bool
}

// since notes how old a file is that waits.
func (st *Status) since(t time.Time) {
	if st.Oldest.IsZero() || t.Before(st.Oldest) {
		st.Oldest = t
	}
}

// Status returns how the spool is.
func (s *Spool) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.status
	out.Notes = slices.Clone(out.Notes)
	return out
}

// tell adds a note to the look that is under way.
func (s *Spool) tell(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(s.seen.Notes) < maxNotes && !slices.Contains(s.seen.Notes, text) {
		s.seen.Notes = append(s.seen.Notes, text)
	}
}

// hold says that a file, or all of a directory, is left where it is.
func (s *Spool) hold(format string, args ...any) {
	s.seen.held = true
	s.tell(format, args...)
}

// note renews the status behind a look.
func (s *Spool) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.status.Error
	s.status.Notes, s.status.Oldest, s.status.Error, s.status.State = s.seen.Notes, s.seen.Oldest, "", Following
	if err == nil || s.seen.Files > 0 {
		s.status.Files = s.seen.Files
	}
	switch {
	case err != nil:
		s.status.State, s.status.Error = Waiting, err.Error()
		if was != s.status.Error {
			s.o.Log.Warn("files are not taken in, they wait", "dir", s.o.Dir, "error", err)
		}
	case s.seen.held:
		s.status.State = Held
	case s.seen.away:
		s.status.State = Away
	}
	if err == nil && was != "" {
		s.o.Log.Info("files are taken in again", "dir", s.o.Dir)
	}
}

// progress shows what waits while a look is under way.
func (s *Spool) progress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Files, s.status.Oldest = s.seen.Files, s.seen.Oldest
	if s.batch != nil && !s.batch.oldest.IsZero() {
		s.status.since(s.batch.oldest)
	}
	if s.seen.Files > 0 && s.status.State != Waiting {
		s.status.State = Taking
	}
}
