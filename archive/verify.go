package archive

import (
	"cmp"
	"maps"
	"slices"
)

// Filed is one archived table as it was found.
type Filed struct {
	Entry
	Missing   bool // the catalogue lists it, but there is none
	Structure Structure
	Outside   []string // keys of rows whose date is not in the window
	Orphans   []string // keys of rows whose parent is not in the same archive
	MinID     *int64
	MaxID     *int64
	Rows      int64
	Digest    string
	Writable  bool
	Kept      *Kept // what was written down when it was closed; nil if by somebody else
}

// Kept is what an archived table held when it was closed.
type Kept struct {
	Rows   int64
	Digest string
}

// Live is one current table as it was found.
type Live struct {
	Missing   bool
	Structure Structure
	Unfit     []string // why it cannot be asked, or swapped
	Keyless   int64    // rows whose key is NULL, or no whole number
	Twice     []string // keys that several rows of a parent have
	Undated   []string // keys of rows that have no date
	Early     []string // keys of rows that belong in a window that is closed
	Orphans   []string // keys of rows whose parent is not in the current tables
	MinID     *int64   // smallest key; nil without rows
}

// Found is a family and its archives as they were found.
type Found struct {
	Live     map[int]Live // by type
	Filed    []Filed
	Mirrors  []Broken // of the current tables and of each archive
	Unlisted []string // tables that look like archives, which the catalogue does not list
}

// Verify holds found against every rule, and returns those that are broken.
func Verify(f *Family, found Found) []Broken {
	var all []Broken
	for _, t := range f.Tables {
		l, known := found.Live[t.Type]
		if !known || l.Missing {
			all = append(all, broken(RuleTables, t.Name, "there is no such table"))
			continue
		}
		for _, why := range l.Unfit {
			all = append(all, broken(RuleTables, t.Name, "%s", why))
		}
		if l.Keyless > 0 {
			all = append(all, broken(RuleTables, t.Name, "%d rows have no key: column %q is NULL in them, or no whole number", l.Keyless, t.Key))
		}
		all = append(all, withKeys(RuleParent, t.Name, "several rows have the same "+t.Key+", so that nobody can tell whose their child rows are", l.Twice)...)
		all = append(all, withKeys(RuleDate, t.Name, undated[f.Unit == UnitTime], l.Undated)...)
		all = append(all, withKeys(RuleComplete, t.Name, early[f.Late == LateReject], l.Early)...)
		all = append(all, withKeys(RuleParent, t.Name, "rows have no parent in the current "+t.Parent, l.Orphans)...)
	}
	for _, e := range found.Filed {
		all = append(all, verifyOne(f, found, e)...)
	}
	for _, name := range found.Unlisted {
		all = append(all, broken(RuleCatalogue, name, "it looks like an archived table, but the catalogue does not list it"))
	}
	all = append(all, verifySets(f, found)...)
	all = append(all, verifyIDs(f, found)...)
	return append(all, found.Mirrors...)
}

// early is what is said of rows that came late, where sinks refuse them and
// where they do not.
var early = map[bool]string{
	false: "rows are dated within a window that is closed",
	true:  "rows are dated within a window that is closed, and no sink of Holdfast brought them, or one that could not read their dates: take them out, or have the family say late: current or route",
}

// undated is what is said of rows without a date, where dates are seconds and
// where they are timestamps.
var undated = map[bool]string{
	false: "rows have no date: it is NULL, or no whole number of seconds",
	true:  "rows have no date: it is NULL, or no moment",
}

func withKeys(rule Rule, table, what string, keys []string) []Broken {
	if len(keys) == 0 {
		return nil
	}
	b := broken(rule, table, "%s", what)
	b.Keys = keys
	return []Broken{b}
}

// verifyOne holds one archived table against the rules that are about it alone.
func verifyOne(f *Family, found Found, e Filed) []Broken {
	var all []Broken
	if e.ArchiveID == 0 {
		all = append(all, broken(RuleCatalogue, e.Name, "its archive_id is 0"))
	}
	t := f.OfType(e.Type)
	if t == nil {
		return append(all, broken(RuleCatalogue, e.Name, "its type %d is none of family %s", e.Type, f.Name))
	}
	if e.Missing {
		return append(all, broken(RuleCatalogue, e.Name, "the catalogue lists it in archive %d, but there is no such table", e.ArchiveID))
	}
	if l, ok := found.Live[e.Type]; ok && !l.Missing {
		for _, d := range l.Structure.Differences(e.Structure) {
			all = append(all, broken(RuleStructure, e.Name, "%s", d))
		}
	}
	all = append(all, withKeys(RuleWindow, e.Name, "rows are dated outside "+e.Window.String(), e.Outside)...)
	all = append(all, withKeys(RuleParent, e.Name, "rows have no parent in the same archive", e.Orphans)...)
	if e.Writable {
		all = append(all, broken(RuleReadOnly, e.Name, "it can be written to"))
	}
	if e.Kept != nil && (e.Kept.Rows != e.Rows || e.Kept.Digest != e.Digest) {
		all = append(all, broken(RuleDigest, e.Name, "it holds %d rows with digest %s, and was closed with %d and %s", e.Rows, e.Digest, e.Kept.Rows, e.Kept.Digest))
	}
	return all
}

// verifySets holds the archives against each other: each whole, with one
// window, behind the one before.
func verifySets(f *Family, found Found) []Broken {
	var all []Broken
	sets := map[int64][]Filed{}
	for _, e := range found.Filed {
		sets[e.ArchiveID] = append(sets[e.ArchiveID], e)
	}
	ids := slices.SortedFunc(maps.Keys(sets), func(a, b int64) int {
		return cmp.Or(cmp.Compare(sets[a][0].Start, sets[b][0].Start), cmp.Compare(a, b))
	})
	var before *Window
	for _, id := range ids {
		set := sets[id]
		seen := map[int]int{}
		for _, e := range set {
			seen[e.Type]++
			if e.Window != set[0].Window {
				all = append(all, broken(RuleTogether, e.Name, "archive %d: its window is %s, that of %s is %s", id, e.Window, set[0].Name, set[0].Window))
			}
		}
		for _, t := range f.Tables {
			if n := seen[t.Type]; n != 1 {
				all = append(all, broken(RuleTogether, t.Name, "archive %d lists it %d times", id, n))
			}
		}
		w := set[0].Window
		switch {
		case w.End < w.Start:
			all = append(all, broken(RuleWindow, "", "archive %d ends before it starts: %s", id, w))
		case before != nil && w.Start <= before.End:
			all = append(all, broken(RuleWindow, "", "archive %d, %s, overlaps the one before, which ends at %s", id, w, date(before.End)))
		case before != nil && w.Start != before.End+1:
			all = append(all, broken(RuleWindow, "", "archive %d starts at %s, the one before ends at %s: no archive holds what lies between", id, date(w.Start), date(before.End)))
		}
		before = &w
	}
	return all
}

// verifyIDs holds the id rule: each table's keys rise from archive to archive,
// and on into the current table.
func verifyIDs(f *Family, found Found) []Broken {
	var all []Broken
	for _, t := range f.Tables {
		if !t.IDOrder {
			continue
		}
		var line []Filed
		for _, e := range found.Filed {
			if e.Type == t.Type && e.MinID != nil && e.MaxID != nil {
				line = append(line, e)
			}
		}
		slices.SortFunc(line, func(a, b Filed) int { return cmp.Compare(a.Start, b.Start) })
		var highest *Filed
		for i, e := range line {
			if highest != nil && *e.MinID <= *highest.MaxID {
				all = append(all, broken(RuleIDOrder, e.Name, "its smallest key is %d, but %s, which is earlier, holds %d", *e.MinID, highest.Name, *highest.MaxID))
			}
			if highest == nil || *e.MaxID > *highest.MaxID {
				highest = &line[i]
			}
		}
		if l := found.Live[t.Type]; highest != nil && l.MinID != nil && *l.MinID <= *highest.MaxID {
			all = append(all, broken(RuleIDOrder, t.Name, "its smallest key is %d, but %s holds %d", *l.MinID, highest.Name, *highest.MaxID))
		}
	}
	return all
}
