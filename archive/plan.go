package archive

import (
	"fmt"
	"slices"
	"time"
)

// A Window is the period of an archive: whole seconds, both ends included.
type Window struct {
	Start int64 `json:"start_date"`
	End   int64 `json:"end_date"`
}

// String returns the window as people read dates.
func (w Window) String() string { return date(w.Start) + " to " + date(w.End) }

func date(second int64) string { return time.Unix(second, 0).UTC().Format("2006-01-02 15:04:05") }

// An Entry is one row of the catalogue.
type Entry struct {
	ID        int64  `json:"id"`
	ArchiveID int64  `json:"archive_id"`
	Type      int    `json:"table_type"`
	Name      string `json:"table_name"`
	Window
}

// Facts is what one current table looks like when the rows dated at or before
// some end are told from those after it. A child's date is that of its parent.
type Facts struct {
	Missing bool     // there is no such table
	Unfit   []string // why it cannot be swapped
	Rows    int64
	Undated int64    // rows without a date: NULL, or a parent that is not there
	Loose   []string // keys of a few of those
	Min     *int64   // smallest date; nil without dated rows
	Filed   int64    // rows at or before the end
	Staying int64    // rows after it, without those that have no date
	// MaxFiled and MinStaying are keys on both sides of the end, where the
	// table has the id rule.
	MaxFiled, MinStaying *int64
	// Disorder is the smallest date of a row at or before the end whose key is
	// above MinStaying.
	Disorder *int64
	// Unfinal is the smallest date of a row at or before the end that may
	// still change.
	Unfinal *int64
	// Late is the smallest date of a row at or before the end that came to the
	// current table after it was swapped.
	Late *int64
}

// State is what Decide looks at.
type State struct {
	End       int64 // the last second that is wished to be archived
	Catalogue []Entry
	Tables    map[int]Facts // by type
	Mirrors   []Broken      // of the current tables
	// Uncounted says that nobody looked at the rows, since a rule is broken anyway:
	// Facts tell of the tables alone.
	Uncounted bool
}

// Decision is what Decide comes to.
type Decision struct {
	Window  Window   `json:"window"`
	Back    *int64   `json:"-"` // where set, the end must be no later than this; ask again
	Why     []string `json:"why,omitempty"`
	Refused []Broken `json:"refused,omitempty"`
}

// Decide says whether the rows of f at or before s.End can be filed away, and
// where they begin. It says all that stands against it at once.
func Decide(f *Family, s State) Decision {
	d := Decision{Window: Window{End: s.End}, Refused: slices.Clone(s.Mirrors)}
	d.Refused = append(d.Refused, missing(f, s)...)
	start, last := begin(f, s)
	if start == nil {
		if len(d.Refused) == 0 && !s.Uncounted {
			d.Refused = append(d.Refused, broken(RuleWindow, "", "there is no row to archive"))
		}
		return d
	}
	d.Window.Start = *start
	if early := before(f, s, d.Window, last); len(early) > 0 {
		d.Refused = append(d.Refused, early...)
		return d
	}
	filed := int64(0)
	for _, t := range f.Tables {
		k := s.Tables[t.Type]
		filed += k.Filed
		if k.Undated > 0 {
			rule, what := RuleDate, "%d rows have no date"
			if t.Parent != "" {
				rule, what = RuleParent, "%d rows have no parent in "+t.Parent
			}
			b := broken(rule, t.Name, what, k.Undated)
			b.Keys = k.Loose
			d.Refused = append(d.Refused, b)
		}
		if last != nil && k.Min != nil && *k.Min <= *last {
			d.Refused = append(d.Refused, broken(RuleComplete, t.Name,
				"a row is dated %s, within a window that was closed at %s", date(*k.Min), date(*last)))
		}
		d.pull(t, RuleIDOrder, k.Disorder, "a row of %s has a key above one that stays")
		d.pull(t, RuleFinal, k.Unfinal, "a row of %s may still change")
		d.pull(t, RuleComplete, k.Late, "a row of %s came when the table was already swapped")
	}
	if d.Back == nil && filed == 0 && len(d.Refused) == 0 && !s.Uncounted {
		d.Refused = append(d.Refused, broken(RuleWindow, "", "no row is dated from %s", d.Window))
	}
	return d
}

// tooLate is the first second of the year 5138. Milliseconds lie behind it since 1973.
const tooLate = 100_000_000_000

// before says why nothing can lie between the start of a window and its end.
func before(f *Family, s State, w Window, last *int64) (all []Broken) {
	for _, t := range f.Tables {
		if at := s.Tables[t.Type].Min; f.Unit == UnitUnix && t.Date != "" && at != nil && *at > tooLate {
			all = append(all, broken(RuleDate, t.Name, "the smallest value of column %q, %d, would be %s: dates must be whole seconds since 1970 (are these milliseconds?)", t.Date, *at, date(*at)))
		}
	}
	switch {
	case len(all) > 0 || w.End >= w.Start:
	case last == nil:
		all = append(all, broken(RuleWindow, "", "the end, %s, lies before the first row, which is dated %s", date(w.End), date(w.Start)))
	default:
		at := slices.IndexFunc(s.Catalogue, func(e Entry) bool { return f.OfType(e.Type) != nil && e.End == *last })
		all = append(all, broken(RuleWindow, "", "archive %d already ends at %s, and the end would be %s: the next period begins at %s", s.Catalogue[at].ArchiveID, date(*last), date(w.End), date(w.Start)))
	}
	return all
}

// begin returns the first second of the next window, and the last of those
// that were closed. Without archives it begins at the smallest date.
func begin(f *Family, s State) (start, last *int64) {
	for _, e := range s.Catalogue {
		if f.OfType(e.Type) != nil && (last == nil || e.End > *last) {
			end := e.End
			last = &end
		}
	}
	if last != nil {
		next := *last + 1
		return &next, last
	}
	for _, t := range f.Tables {
		if k := s.Tables[t.Type]; k.Min != nil && (start == nil || *k.Min < *start) {
			start = k.Min
		}
	}
	return start, nil
}

func missing(f *Family, s State) (all []Broken) {
	for _, t := range f.Tables {
		k, known := s.Tables[t.Type]
		if !known || k.Missing {
			all = append(all, broken(RuleTables, t.Name, "there is no such table"))
		}
		for _, why := range k.Unfit {
			all = append(all, broken(RuleTables, t.Name, "%s", why))
		}
	}
	return all
}

// pull moves the end to before at, the date of a row that must stay; where that
// is before the start, nothing can be archived.
func (d *Decision) pull(t Table, rule Rule, at *int64, why string) {
	if at == nil {
		return
	}
	back := *at - 1
	if back < d.Window.Start {
		d.Refused = append(d.Refused, broken(rule, t.Name, why+", and nothing lies before it", date(*at)))
		return
	}
	d.Why = append(d.Why, fmt.Sprintf("%s: %s: "+why, rule, t.Name, date(*at)))
	if d.Back == nil || back < *d.Back {
		d.Back = &back
	}
}

// maxPulls is how often Settle moves an end: data where rows pull it back that
// often is not ordered by date at all.
const maxPulls = 100

// Settle decides with the state that look returns for an end, and again with
// an earlier end, until no row pulls it back.
func Settle(f *Family, end int64, look func(end int64) (State, error)) (Decision, error) {
	var why []string
	for range maxPulls {
		s, err := look(end)
		if err != nil {
			return Decision{}, err
		}
		d := Decide(f, s)
		why = append(why, d.Why...)
		d.Why = why
		if len(d.Refused) > 0 || d.Back == nil {
			return d, nil
		}
		if *d.Back >= end {
			return Decision{}, fmt.Errorf("the end %s was to be pulled back to %s", date(end), date(*d.Back))
		}
		end = *d.Back
	}
	return Decision{Window: Window{End: end}, Why: why, Refused: []Broken{
		broken(RuleIDOrder, "", "keys and dates disagree too often: the end was pulled back %d times, to %s", maxPulls, date(end))}}, nil
}
