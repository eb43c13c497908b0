package archive

import "fmt"

// A Hold keeps archives of a family as they are: nothing takes them away,
// changes them or adds to them until it is removed.
type Hold struct {
	Name    string `json:"hold"`
	Archive int64  `json:"archive_id,omitempty"` // 0: not by number
	From    int64  `json:"from,omitempty"`       // archives that have this second, or later ones; 0: from the first
	To      int64  `json:"to,omitempty"`         // and this one, or earlier ones; 0: without end
	Note    string `json:"note,omitempty"`
	By      string `json:"by,omitempty"`
	Made    int64  `json:"made"` // in seconds
}

// Covers reports whether the archive numbered id, of that window, is held.
func (h Hold) Covers(id int64, w Window) bool {
	return (h.Archive == 0 || h.Archive == id) && w.End >= h.From && (h.To == 0 || w.Start <= h.To)
}

// Held returns a broken rule for each of sets that a hold covers; what says what
// it is kept from.
func Held(holds []Hold, sets []Set, what string) (all []Broken) {
	for _, s := range sets {
		for _, h := range holds {
			if h.Covers(s.ID, s.Window) {
				why := ""
				if h.Note != "" {
					why = fmt.Sprintf(" (%s)", h.Note)
				}
				all = append(all, broken(RuleHold, "", "archive %d is kept from being %s by hold %q%s", s.ID, what, h.Name, why))
			}
		}
	}
	return all
}
