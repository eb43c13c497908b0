package roller

import "time"

// Last returns the last roll that was committed, by this run or one before.
func (r *Roller) Last() (Event, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		return Event{}, false
	}
	return Event{Serial: r.last.Serial, Rule: r.last.Rule, By: r.last.By, At: time.UnixMicro(r.last.At), Undo: r.last.Undo}, true
}
