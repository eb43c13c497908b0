package holdfast

import (
	"fmt"
	"slices"

	"holdfast/internal/roll"
)

// takeSizes takes the sizes of streams' directories into use, as far as they are
// not a tenth smaller than before, or force is set.
func (db *DB) takeSizes(streams []Stream, force bool) error {
	given := map[string]int64{}
	for _, s := range streams {
		if !rolls(s.Name) {
			continue
		}
		given[s.Name] = s.Limits.Budget
		if len(s.More) > 0 {
			given[s.Name] = s.Size
		}
		for _, m := range slices.Concat(s.More, s.Warm) {
			given[budgetKey(s.Name, m.Dir)] = m.Size
		}
		if len(s.Index.Columns) > 0 {
			given[budgetKey(s.Name, indexKey)] = s.Index.Budget
			if s.Index.Warm.Dir != "" {
				given[budgetKey(s.Name, indexWarmKey)] = s.Index.Warm.Size
			}
		}
	}
	sizes, err := db.roller.Budgets(given, force)
	if err != nil {
		return err
	}
	budgets, ignored := map[string]budget{}, map[string][]string{}
	for _, s := range streams {
		holds, known := sizes[s.Name]
		if !known {
			continue
		}
		whole := holds > 0
		for _, m := range s.More {
			size := sizes[budgetKey(s.Name, m.Dir)]
			holds, whole = holds+size, whole && size > 0
		}
		if !whole && len(s.More) > 0 { // one without a size bounds nothing
			holds = s.Limits.Budget
		}
		budgets[s.Name] = budget{given: s.Limits.Budget, holds: holds}
		ignored[s.Name] = s.ignored(given, sizes)
	}
	db.resizing.Lock()
	db.sizes, db.budgets, db.ignored = sizes, budgets, ignored
	db.resizing.Unlock()
	return nil
}

// ignored tells which sizes were given and are not in use.
func (s *Stream) ignored(given, sizes map[string]int64) (all []string) {
	tell := func(what, dir string) {
		key := budgetKey(s.Name, dir)
		if is, want := sizes[key], given[key]; is != want {
			all = append(all, fmt.Sprintf("%s of %s is ignored, %s stays in use", roll.Size(want), what, roll.Size(is)))
		}
	}
	tell("hot", "")
	for _, m := range s.More {
		tell("hot in "+m.Dir, m.Dir)
	}
	for _, m := range s.Warm {
		tell("warm in "+m.Dir, m.Dir)
	}
	tell("the index", indexKey)
	tell("the warm tier of the index", indexWarmKey)
	return all
}

// Resize gives directories of streams that are open other sizes, at once: only
// sizes may differ from what the streams were opened with. One that is more than
// a tenth smaller is ignored, unless force is set, and told of by Status.
// SetLimits follows, with the sizes together as the budget.
func (db *DB) Resize(streams []Stream, force bool) error {
	if err := db.takeSizes(streams, force); err != nil {
		return err
	}
	for _, one := range streams {
		s, err := db.find(one.Name)
		if err != nil {
			return err
		}
		if !rolls(s.Name) {
			continue
		}
		sizes := map[string]int64{}
		for _, m := range slices.Concat(one.More, one.Warm) {
			sizes[s.ids[m.Dir]] = db.size(s.Name, m.Dir, m.Size)
		}
		s.journal.Resize(db.size(s.Name, "", one.Size), sizes)
		if s.index != nil {
			s.index.SetBudget(db.size(s.Name, indexKey, one.Index.Budget), db.size(s.Name, indexWarmKey, one.Index.Warm.Size))
		}
	}
	return nil
}
