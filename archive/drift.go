package archive

import (
	"fmt"
	"slices"
)

// Drift is how an archived table must change to look like the current one
// again.
type Drift struct {
	Added   []Added
	Changed []Changed
	Missing []string // indexes of the current table, as in a Structure
	Excess  []string // indexes that the current table does not have
}

// Added is a column that the current table has and the archived one lacks.
type Added struct {
	Column
	After string // the column that it stands behind; "" for the first
	Inner bool   // a column that both have stands behind it
}

// Changed is a column that both have, and that differs.
type Changed struct{ From, To Column }

// None says that nothing differs.
func (d Drift) None() bool { return len(d.Added)+len(d.Changed)+len(d.Missing)+len(d.Excess) == 0 }

// Drift returns how other must change to look like s, and what stands against
// it: what could lose a value is refused. widens says whether a column can take
// over each value of another type unchanged.
func (s Structure) Drift(other Structure, widens func(from, to string) bool) (d Drift, refused []string) {
	place := map[string]int{}
	for i, c := range s.Columns {
		place[c.Name] = i
	}
	had, last := map[string]Column{}, -1
	for _, c := range other.Columns {
		at, both := place[c.Name]
		switch {
		case !both:
			refused = append(refused, fmt.Sprintf("column %q is not in the current table: the values it holds would be lost", c.Name))
			continue
		case at < last:
			refused = append(refused, fmt.Sprintf("column %q stands at another place in the current table", c.Name))
		}
		last = max(last, at)
		had[c.Name] = c
	}
	for i, c := range s.Columns {
		from, both := had[c.Name]
		switch {
		case !both:
			one := Added{Column: c, Inner: i < last}
			if i > 0 {
				one.After = s.Columns[i-1].Name
			}
			d.Added = append(d.Added, one)
		case from != c:
			if why := from.loses(c, widens); why != "" {
				refused = append(refused, why)
			}
			d.Changed = append(d.Changed, Changed{from, c})
		}
	}
	d.Missing, d.Excess = without(s.Indexes, other.Indexes), without(other.Indexes, s.Indexes)
	return d, refused
}

// loses says why values of a column could be lost, or become others, once it is
// like to.
func (c Column) loses(to Column, widens func(from, to string) bool) string {
	switch {
	case c.Generated != to.Generated || c.Generated != "" && c.Type != to.Type:
		return fmt.Sprintf("column %q is computed in another way in the current table: %s there, %s here", c.Name, to, c)
	case c.Collation != to.Collation:
		return fmt.Sprintf("column %q has another collation in the current table: %s there, %s here", c.Name, to, c)
	case c.Type != to.Type && !widens(c.Type, to.Type):
		return fmt.Sprintf("column %q is %s here and %s in the current table, which may not hold each value as it is", c.Name, c.Type, to.Type)
	}
	return ""
}

// without returns what all has more often than other.
func without(all, other []string) (rest []string) {
	left := slices.Clone(other)
	for _, one := range all {
		if at := slices.Index(left, one); at >= 0 {
			left = slices.Delete(left, at, at+1)
		} else {
			rest = append(rest, one)
		}
	}
	return rest
}
