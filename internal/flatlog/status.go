package flatlog

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"holdfast/internal/inode"
)

// States of a follower.
const (
	Starting  = "starting"
	Following = "following" // everything that is complete is stored, or about to be
	Waiting   = "waiting"   // for the next attempt; Error tells why
	Held      = "held"      // some files are not read; Notes tell which and why
)

// maxNotes bounds how much a status tells.
const maxNotes = 20

// Status is how a follower is.
type Status struct {
	State   string
	Error   string   // why it waits
	Notes   []string // what somebody should look at
	Rows    uint64   // stored since the start
	Rejects uint64   // lines stored as malformed since the start
	Bytes   uint64   // of lines stored since the start
	Pending int64    // bytes in files that are not stored
	Oldest  time.Time
	Files   int // that are followed
	Open    int // of them

	held int
}

// Status returns how the follower is.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Notes = slices.Clone(s.Notes)
	return s
}

// count renews what the status says of files.
func (f *Follower) count() {
	var s Status
	held := map[string]bool{}
	note := func(format string, args ...any) {
		if len(held) < maxNotes {
			held[fmt.Sprintf(format, args...)] = true
		}
	}
	holds := 0
	for _, one := range f.files {
		s.Files++
		if one.f != nil {
			s.Open++
		}
		n := one.pending()
		if one.Copy != (inode.ID{}) {
			note("%s is not read: it is a copy of %s", one.path(), f.positions.at[one.Copy].Name)
			continue
		}
		s.Pending += n
		if n > 0 && !one.since.IsZero() && (s.Oldest.IsZero() || one.since.Before(s.Oldest)) {
			s.Oldest = one.since
		}
		if f.readable(one) {
			continue
		}
		if holds++; one.hold != "" {
			note("%s is not read: %s", one.path(), one.hold)
		} else {
			note("files of table %q are not read: %s", one.Table, f.tables[one.Table].hold)
		}
	}
	f.mu.Lock()
	f.status.Files, f.status.Open, f.status.Pending, f.status.Oldest = s.Files, s.Open, s.Pending, s.Oldest
	f.status.held = holds
	f.mu.Unlock()
	for _, text := range slices.Sorted(maps.Keys(held)) {
		f.remarkOnce(text)
	}
}

// note takes note of how a round ended.
func (f *Follower) note(err error) {
	f.mu.Lock()
	was := f.status.Error
	f.status.State, f.status.Error = Following, ""
	if f.status.held+f.unread > 0 {
		f.status.State = Held
	}
	if err != nil {
		f.status.State, f.status.Error = Waiting, err.Error()
	}
	now := f.status.Error
	f.mu.Unlock()
	if now != was && now != "" {
		f.o.Log.Error("rows of files wait", "dir", f.o.Dir, "error", now)
	} else if now != was {
		f.o.Log.Info("rows of files are stored again", "dir", f.o.Dir)
	}
}

func (f *Follower) remarkOnce(text string) {
	f.mu.Lock()
	known := slices.Contains(f.status.Notes, text)
	f.mu.Unlock()
	if !known {
		f.remark("%s", text)
	}
}
