package holdfast

import (
	"time"

	"holdfast/internal/roll"
)

// Rolling is how a stream rolls: what keeps its oldest rows, and what went
// last.
type Rolling struct {
	PinnedBy  string // what keeps the oldest segment, in words; "": nothing, or there is none
	Pinned    string // why: "needed", "held", "kept", "active" or "linked"; "" likewise
	Who       string // the sink, the hold, or the stream that a link leads to
	Watermark *int64 // rows whose link is below it are gone; nil: there was no roll
	Link      string // the column that the watermark is of, or "time"
	Tiers     []TierRoom
	Cold      *ColdTier // nil: there is none
	Trash     int64     // bytes of the hot tier that wait in the trash

	Ignored    []string  // sizes that were given and are not in use, because they are more than a tenth smaller
	Stuck      string    // why nothing can be moved out of the hot tier; "": it can, or need not
	StuckSince time.Time // since when
	Silent     []Silent  // directories of the warm tiers that do not answer

	At       time.Time // when something went last; zero: not known
	Rule     string    // by which rule
	By       string
	Serial   uint64 // of the roll; 0: a limit of the stream
	Segments int    // that went by it
	Bytes    int64  // of them; 0 where that was before the start

	Tried    time.Time // when something was to go last
	Asked    string    // by which rule
	InTheWay []string  // what stood in the way of that

	Removed      uint64 // segments since the start
	RemovedBytes uint64
}

// Silent is a directory that does not answer, as one on NFS whose server is away.
type Silent struct {
	Dir   string
	Since time.Time
}

// silent returns which of the stream's directories do not answer.
func (s *stream) silent() (all []Silent) {
	for _, p := range s.places {
		if since := p.Silent(); !since.IsZero() {
			all = append(all, Silent{p.Path(), since})
		}
	}
	return all
}

// TierRoom is what one tier of a stream takes.
type TierRoom struct {
	Tier  string
	Bytes int64
	Limit int64 // budget; 0: none
}

// pins returns what keeps the oldest segment of each stream, by name. It is
// told as not known where a directory cannot be asked for its room.
func (db *DB) pins() map[string]roll.Pin {
	all := map[string]roll.Pin{}
	pins, err := db.roller.Pins()
	if err != nil {
		return all // the stream's state says what is wrong with its directory
	}
	for _, p := range pins {
		all[p.Stream] = p
	}
	return all
}

// rolling returns how a stream rolls; nil for those of Holdfast's own.
func (db *DB) rolling(s *stream, pin roll.Pin) *Rolling {
	if !rolls(s.Name) {
		return nil
	}
	a := db.roller.Account(s.Name)
	r := &Rolling{
		PinnedBy: pin.String(), Pinned: string(pin.Why), Who: pin.Who, Trash: s.journal.Trash(),
		At: a.At, Rule: a.Rule, By: a.By, Serial: a.Serial, Segments: a.Segments, Bytes: a.Bytes,
		Tried: a.Tried, Asked: a.Asked, InTheWay: a.InTheWay, Removed: a.Removed, RemovedBytes: a.RemovedBytes,
	}
	if w := s.journal.Watermark(); w.Roll != 0 {
		r.Watermark, r.Link = &w.Below, w.Link
	}
	j := s.journal.Status()
	r.Tiers = []TierRoom{{Tier: string(roll.Hot), Bytes: j.Bytes, Limit: j.Limit}}
	if len(s.Warm) > 0 {
		warm := TierRoom{Tier: string(roll.Warm)}
		bounded := true
		for _, d := range s.journal.Directories() {
			if d.Warm {
				warm.Bytes, warm.Limit, bounded = warm.Bytes+d.Bytes, warm.Limit+d.Size, bounded && d.Size > 0
			}
		}
		if !bounded {
			warm.Limit = 0
		}
		r.Tiers = append(r.Tiers, warm)
	}
	db.resizing.Lock()
	r.Ignored = db.ignored[s.Name]
	db.resizing.Unlock()
	stuck := db.roller.Stuck(s.Name)
	r.Stuck, r.StuckSince, r.Silent = stuck.Why, stuck.Since, s.silent()
	if s.cold != nil {
		r.Cold = db.coldTier(s)
		r.Tiers = append(r.Tiers, TierRoom{Tier: string(roll.Cold), Bytes: r.Cold.Waiting, Limit: s.Cold.Size})
	}
	return r
}
