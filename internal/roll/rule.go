package roll

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Rule returns what the message asks of a state. Now is what an age is counted
// back from.
//
// On /database it is about the streams given, or all of them, and their indexes
// are in no sum; on /index about the streams given together with every index
// that is tied to them, or, without a type, about all indexes alone.
func (m Message) Rule(st *State, now time.Time) (Rule, error) {
	r := Rule{Text: m.String()}
	if (m.Size == nil) == (m.Time == nil) {
		return r, wrong("a message is either %s or %s", sizeRoll, timeRoll).WithHint("read it with ParseMessage")
	}
	var types []string
	if m.Size != nil {
		types = m.Size.Types
	} else {
		types = m.Time.Types
	}
	stores, err := m.stores(st, types)
	if err != nil {
		return r, err
	}
	if m.Time != nil {
		before := m.Time.Date
		if m.Time.Age > 0 {
			before = now.Add(-m.Time.Age)
		}
		by := "by file time"
		if m.Time.ByRow {
			by = "by their newest row"
		}
		what := fmt.Sprintf("files of %s from before %s %s", names(st, stores), before.UTC().Format(time.RFC3339), by)
		r.Goals = []Goal{{What: what, Kind: Older, Limit: before.UnixMicro(), ByRow: m.Time.ByRow, Stores: stores}}
		return r, nil
	}
	g, err := m.Size.goal(st, stores)
	if err != nil {
		return r, err
	}
	r.Goals = []Goal{g}
	if m.Size.MaxSizeWarm > 0 {
		r.Goals = append(r.Goals, Goal{What: "size of " + names(st, stores) + " in the warm tier", Kind: MaxBytes, Tier: Warm, Limit: int64(m.Size.MaxSizeWarm), Stores: stores})
	}
	return r, nil
}

// goal returns the one limit on the hot tier.
func (r *SizeRoll) goal(st *State, stores []int) (Goal, error) {
	g := Goal{Kind: MaxBytes, Tier: Hot, Stores: stores}
	switch {
	case r.MinFree > 0:
		g.What, g.Kind, g.Limit = "free space on each volume of "+names(st, stores), MinFree, int64(r.MinFree)
	case r.MaxPercent > 0:
		total, seen := int64(0), map[string]bool{}
		for _, i := range stores {
			for _, name := range st.Stores[i].hotVolumes() {
				at := slices.IndexFunc(st.Volumes, func(v Volume) bool { return v.Name == name })
				if at < 0 {
					return g, wrong("the volume of %s is not known", st.Stores[i].Name()).WithHint("is it mounted?")
				}
				if v := st.Volumes[at]; !seen[v.Name] { // several directories on one volume share it
					seen[v.Name] = true
					total += v.Total
				}
			}
		}
		g.What = fmt.Sprintf("size of %s in the hot tier, %v percent of %s", names(st, stores), r.MaxPercent, Size(total).Resolved())
		g.Limit = int64(float64(total) / 100 * r.MaxPercent)
	default:
		g.What, g.Limit = "size of "+names(st, stores)+" in the hot tier", int64(r.MaxSize)
	}
	return g, nil
}

// stores returns which stores a message is about.
func (m Message) stores(st *State, types []string) ([]int, error) {
	streams := map[string]int{}
	for i := range st.Stores {
		if s := &st.Stores[i]; !s.IsIndex {
			streams[s.Stream] = i
		}
	}
	given, links := map[string]bool{}, map[Link]bool{}
	for _, name := range types {
		i, ok := streams[name]
		if !ok {
			return nil, wrong("type %q is not a stream", name).WithHint("%s", known(st))
		}
		given[name] = true
		if l := st.Stores[i].Link; l != "" {
			links[l] = true
		}
	}
	var all []int
	for i := range st.Stores {
		s := &st.Stores[i]
		take := given[s.Stream] || len(types) == 0 && m.Node == Database
		if s.IsIndex {
			take = m.Node == Index && (len(types) == 0 || given[s.Stream] || links[s.Link])
		}
		if take {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return nil, wrong("%s has nothing to roll", m.Node).WithHint("no stream has an index; name streams with type=")
	}
	return all, nil
}

// known names the streams that there are, up to a screenful.
func known(st *State) string {
	var all []string
	for i := range st.Stores {
		if s := &st.Stores[i]; !s.IsIndex && len(all) < 20 {
			all = append(all, s.Stream)
		}
	}
	if len(all) == 0 {
		return "there is none"
	}
	return "there are " + strings.Join(all, ", ")
}

// Room is what a synchronous roll asks for: that lack more bytes can be written
// to the hot tier of one store. A child or a parent goes along as in any roll.
func Room(st *State, store int, lack int64) Rule {
	s, used := &st.Stores[store], int64(0)
	for _, f := range s.Files {
		if f.Tier == Hot {
			used += f.Bytes
		}
	}
	what := "room for " + s.Name()
	return Rule{Text: what, Goals: []Goal{{What: what, Kind: MaxBytes, Tier: Hot, Limit: max(0, used-lack), UpTo: true, Stores: []int{store}}}}
}
