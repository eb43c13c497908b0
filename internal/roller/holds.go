package roller

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
)

const (
	holdsName = "HOLDS"
	maxHolds  = 4 << 20 // bytes; some ten thousand

	// holdsDamaged and holdsMissing are holds on everything: while HOLDS cannot be
	// read, or is not there and must be, nobody can tell what has to stay.
	holdsDamaged = "damaged-holds-file"
	holdsMissing = "missing-holds-file"
)

// holdsFile is the content of HOLDS.
type holdsFile struct {
	Version int            `json:"version"`
	Holds   []journal.Hold `json:"holds"`
}

// readHolds reads HOLDS. One that is damaged is an error: nobody could tell
// what must stay.
func readHolds(d disk.FS) ([]journal.Hold, error) {
	text, err := disk.ReadFile(d, holdsName, maxHolds)
	var f holdsFile
	if err == nil {
		err = unseal(text, &f)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", holdsName, err)
	}
	if f.Version != version {
		return nil, fmt.Errorf("%s has version %d, this program knows %d: start the newer holdfast that wrote it", holdsName, f.Version, version)
	}
	return f.Holds, nil
}

// openHolds takes what HOLDS says into force. That there is none says nothing,
// unless the streams know better.
func (r *Roller) openHolds() (err error) {
	r.holds, err = readHolds(r.d)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.noHolds = true
	case errors.Is(err, errDamaged):
		r.holdAll(holdsDamaged, err.Error())
	case err != nil:
		return err
	}
	return nil
}

// holdAll holds everything, because what the holds were is not known.
func (r *Roller) holdAll(name, why string) {
	r.holds = []journal.Hold{{Name: name, Note: why}}
	r.o.Log.Error("everything is held until it is settled which holds there are", "error", why, "do", "holdfast hold add for each hold that there was, then holdfast hold remove "+name)
}

// Remembered is told by a stream that is being opened which files there were, and
// returns the holds: that HOLDS is not there, although it had holds, holds
// everything.
func (r *Roller) Remembered(files []string) []journal.Hold {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.noHolds && len(r.holds) == 0 && slices.Contains(files, holdsName) {
		r.holdAll(holdsMissing, "HOLDS is missing from the data directory, and there were holds")
	}
	return slices.Clone(r.holds)
}

// Trouble tells what is wrong with HOLDS, and what to do; "": nothing.
func (r *Roller) Trouble() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.holds {
		if h.Name == holdsDamaged || h.Name == holdsMissing {
			return fmt.Sprintf("%s, so everything is held: restore it while no server runs, or add each hold again, then: holdfast hold remove %s", h.Note, h.Name)
		}
	}
	return ""
}

// remember has the streams know whether there are holds, now that HOLDS says so.
// Roller.mu is held.
func (r *Roller) remember() {
	for _, s := range r.streams {
		s.Journal.Remember(holdsName, len(r.holds) > 0)
	}
}

// writeHolds replaces HOLDS.
func writeHolds(d disk.FS, all []journal.Hold) error {
	text, err := seal(holdsFile{version, all})
	if err != nil {
		return fmt.Errorf("write %s: %w", holdsName, err)
	}
	if err := disk.ReplaceOnFull(d, "", holdsName, text); err != nil {
		return fault.Unwritten(holdsName, disk.IsFull(err), err)
	}
	return nil
}

// holdName is what a hold may be called.
var holdName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$`)

// maxHoldsNumber bounds how many holds there are.
const maxHoldsNumber = 1000

// Holds returns the holds, in the order in which they were added.
func (r *Roller) Holds() []journal.Hold {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.holds)
}

// AddHold puts a hold into force. It is durable when AddHold returns, and no
// roll is under way then that does not know of it.
func (r *Roller) AddHold(h journal.Hold) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !holdName.MatchString(h.Name) {
		return fault.New(fault.InvalidParameterValue, "hold %q has no name that can be used", h.Name).WithHint("use letters, digits, _, - and .")
	}
	if slices.ContainsFunc(r.holds, func(o journal.Hold) bool { return o.Name == h.Name }) {
		return fault.New(fault.InvalidParameterValue, "hold %q is there already", h.Name).WithHint("give this one another name")
	}
	for _, name := range h.Streams {
		if !slices.ContainsFunc(r.streams, func(s Stream) bool { return s.Name == name }) {
			return fault.New(fault.UndefinedObject, "stream %q does not exist, or does not roll", name).WithHint("holdfast status lists the streams")
		}
	}
	for _, one := range []*journal.Ends{h.Seqs, h.Times, h.Links} {
		if one != nil && one.First > one.Last {
			return fault.New(fault.InvalidParameterValue, "the range from %d to %d is empty", one.First, one.Last).WithHint("give the smaller one first")
		}
	}
	if err := r.linked(h); err != nil {
		return err
	}
	if len(r.holds) >= maxHoldsNumber {
		return fault.New(fault.LimitExceeded, "there are %d holds already", len(r.holds)).WithHint("remove some, or make one of several")
	}
	h.Made = r.o.Now().UnixMicro()
	return r.setHolds(append(slices.Clone(r.holds), h))
}

// linked refuses a hold by links on a stream without one, of which it would
// keep nothing. One that names no stream is on those that have a link.
func (r *Roller) linked(h journal.Hold) error {
	if h.Links == nil {
		return nil
	}
	some := false
	for _, s := range r.streams {
		some = some || s.Link != ""
		if s.Link == "" && slices.Contains(h.Streams, s.Name) {
			return fault.New(fault.InvalidParameterValue, "stream %q has no link, so the hold would keep nothing of it", s.Name).
				WithHint("hold its rows by their seqs or times")
		}
	}
	if !some {
		return fault.New(fault.InvalidParameterValue, "no stream has a link, so the hold would keep nothing").WithHint("hold rows by their seqs or times")
	}
	return nil
}

// RemoveHold lifts a hold.
func (r *Roller) RemoveHold(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(r.holds), func(h journal.Hold) bool { return h.Name == name })
	if len(left) == len(r.holds) {
		return fault.New(fault.UndefinedObject, "hold %q is not there", name).WithHint("holdfast hold list")
	}
	return r.setHolds(left)
}

// setHolds takes holds into force, those that are new before they are durable,
// those that go after that.
func (r *Roller) setHolds(all []journal.Hold) error {
	if len(all) > len(r.holds) {
		r.tell(all)
	}
	if err := writeHolds(r.d, all); err != nil {
		r.tell(r.holds)
		return err
	}
	r.holds = all
	r.tell(all)
	r.remember()
	return nil
}

func (r *Roller) tell(all []journal.Hold) {
	for _, s := range r.streams {
		s.Journal.SetHolds(all)
	}
}
