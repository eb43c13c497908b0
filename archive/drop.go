package archive

import (
	"cmp"
	"slices"
)

// A Set is the tables of one archive.
type Set struct {
	ID int64
	Window
	Entries []Entry // in the order of the catalogue
}

// Sets returns the archives of f that the catalogue lists, oldest first.
func Sets(f *Family, entries []Entry) (all []Set) {
	for _, e := range entries {
		if f.OfType(e.Type) == nil {
			continue
		}
		at := slices.IndexFunc(all, func(s Set) bool { return s.ID == e.ArchiveID })
		if at < 0 {
			at, all = len(all), append(all, Set{ID: e.ArchiveID, Window: e.Window})
		}
		all[at].Entries = append(all[at].Entries, e)
	}
	slices.SortStableFunc(all, func(a, b Set) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID)) })
	return all
}

// Leave returns the archives that leave when the one numbered id is to go, or,
// where id is 0, all that end before a second: the oldest ones, so that windows
// still follow each other. The newest stays, because the next one begins where
// it ends, with a number and with keys above its own.
func Leave(f *Family, entries []Entry, id, before int64) (leave []Set, refused []Broken) {
	all := Sets(f, entries)
	for i, s := range all {
		switch {
		case id != 0 && s.ID != id || id == 0 && s.End >= before:
			continue
		case i != len(leave):
			refused = append(refused, broken(RuleWindow, "", "archive %d is not the oldest: without it, no archive would hold %s; archive %d, %s, comes first", s.ID, s.Window, all[len(leave)].ID, all[len(leave)].Window))
		case i == len(all)-1:
			refused = append(refused, broken(RuleWindow, "", "archive %d is the newest: the next one begins where it ends, and so it stays until then", s.ID))
		default:
			leave = append(leave, s)
		}
	}
	if id != 0 && len(leave)+len(refused) == 0 {
		refused = append(refused, broken(RuleCatalogue, "", "the catalogue lists no archive %d of family %s", id, f.Name))
	}
	return leave, refused
}
