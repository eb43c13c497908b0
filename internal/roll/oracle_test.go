package roll

import (
	"slices"
)

// oracle decides by trying every cut, looking at rows only, one group at a time.
type oracle struct {
	*layout
	fate [][]fate
	mark []int64 // by store; nothing: none
}

func newOracle(l *layout) *oracle {
	o := &oracle{layout: l}
	for i := range l.st.Stores {
		s := &l.st.Stores[i]
		o.fate = append(o.fate, make([]fate, len(s.Files)))
		o.mark = append(o.mark, nothing)
		if s.HasMark {
			o.mark[i] = s.Watermark
		}
	}
	for range l.st.Stores { // long enough for marks to reach everybody
		for i := range l.st.Stores {
			for k := range l.st.Stores {
				if o.fallsWith(k, i) {
					o.mark[k] = max(o.mark[k], o.mark[i])
				}
			}
		}
	}
	return o
}

// fallsWith reports whether store k falls, at once, when store i does.
func (o *oracle) fallsWith(k, i int) bool {
	a, b := &o.st.Stores[k], &o.st.Stores[i]
	switch {
	case b.IsIndex:
		return false
	case a.IsIndex:
		return a.Stream == b.Stream
	case a.Parent != "":
		return a.Parent == b.Stream
	}
	return b.Parent == "" && a.Link != "" && a.Link == b.Link
}

// top is the highest id in file n and before.
func (o *oracle) top(i, n int) int64 { return o.tops[i][n] }

func (o *oracle) needed(i, n int) bool {
	s := &o.st.Stores[i]
	return slices.ContainsFunc(s.Needs, func(d Need) bool {
		return slices.ContainsFunc(o.rows[i][:n+1], func(list []link) bool {
			return slices.ContainsFunc(list, func(x link) bool { return x.seq >= d.Seq })
		})
	})
}

// fixed reports whether file n stays where it is, whatever is asked.
func (o *oracle) fixed(i, n int) bool {
	s := &o.st.Stores[i]
	f := &s.Files[n]
	if f.Held || !s.IsIndex && n == len(s.Files)-1 {
		return true
	}
	for _, earlier := range s.Files[:n+1] {
		if !earlier.Sealed {
			return true
		}
	}
	return o.kept(i, n)
}

func (o *oracle) kept(i, n int) bool {
	s := &o.st.Stores[i]
	if s.Keep.Since > 0 {
		for _, f := range s.Files[:n+1] {
			if f.LastTime >= s.Keep.Since {
				return true
			}
		}
	}
	for m := range n + 1 {
		files, bytes := 0, int64(0) // sealed ones behind m
		for _, f := range s.Files[m+1:] {
			if f.Sealed {
				files++
				bytes += f.Bytes
			}
		}
		if s.Files[m].Sealed && (files < s.Keep.Files || bytes < s.Keep.Bytes) {
			return true
		}
	}
	return false
}

// allowed reports whether the group may be cut at k: no row that must stay may
// be hidden. Where the planner cannot see rows, whole segments count.
func (o *oracle) allowed(roles []role, k int64, dropping bool) bool {
	for i := range o.st.Stores {
		s := &o.st.Stores[i]
		if roles[i] != leaver {
			continue
		}
		lowest := int64(everything)
		from := func(n int) int64 { // of whole segments
			low := o.top(i, n)
			for _, list := range o.rows[i][n:] {
				for _, x := range list {
					if x.has {
						low = min(low, x.id)
					}
				}
			}
			return low
		}
		for n := range s.Files {
			if o.kept(i, n) {
				lowest = min(lowest, from(n))
			}
		}
		for _, d := range s.Needs {
			n := slices.IndexFunc(s.Files, func(f Manifest) bool { return f.LastSeq >= d.Seq })
			switch {
			case n < 0 || dropping && s.DropOldest:
			case d.Known:
				lowest = min(lowest, d.Link, o.top(i, n))
			default:
				lowest = min(lowest, from(n))
			}
		}
		if k >= lowest {
			return false
		}
	}
	return true
}

func (o *oracle) roles(g Goal) []role {
	roles := make([]role, len(o.st.Stores))
	for _, i := range g.Stores {
		roles[i] = mover
		if g.Kind == Older || g.Kind == MaxBytes && g.Tier == Warm || o.st.Stores[i].WarmVolume == "" {
			roles[i] = leaver
		}
	}
	for range roles {
		for i := range roles {
			for k := range roles {
				if roles[i] == leaver && o.fallsWith(k, i) {
					roles[k] = leaver
				}
			}
		}
	}
	return roles
}

// try returns the fates after a cut at k; without cut, only what earlier marks hid.
func (o *oracle) try(roles []role, k int64, cut, dropping bool) ([][]fate, []int64) {
	fates, marks := make([][]fate, len(o.fate)), slices.Clone(o.mark)
	for i := range fates {
		s := &o.st.Stores[i]
		fates[i] = slices.Clone(o.fate[i])
		if roles[i] == leaver && cut {
			marks[i] = max(marks[i], k+1)
		}
		for n := range s.Files {
			if roles[i] == apart || o.fixed(i, n) {
				continue
			}
			if o.top(i, n) < marks[i] && (dropping && s.DropOldest || !o.needed(i, n)) {
				fates[i][n] = leaves
			} else if roles[i] == mover && cut && o.top(i, n) <= k && s.Files[n].Tier == Hot && fates[i][n] == stays {
				fates[i][n] = moves
			}
		}
	}
	return fates, marks
}

// lack is how much of a goal is missing; strictly says that a limit must be
// kept below, not met.
func (o *oracle) lack(g Goal, fates [][]fate, strictly bool) int64 {
	used := int64(0)
	free := map[string]int64{}
	for _, v := range o.st.Volumes {
		free[v.Name] = v.Free
	}
	for i := range fates {
		s := &o.st.Stores[i]
		counted := slices.Contains(g.Stores, i)
		young := false
		for n, to := range fates[i] {
			f := &s.Files[n]
			tier, volume, now := f.Tier, s.HotVolume, s.HotVolume
			if tier == Warm {
				volume, now = s.WarmVolume, s.WarmVolume
			}
			if to == moves {
				tier, now = Warm, s.WarmVolume
			}
			if to == leaves || now != volume {
				free[volume] += f.Bytes
			}
			at := f.FileTime
			if g.ByRow {
				at = f.LastTime
			}
			young = young || at >= g.Limit
			switch {
			case to == leaves || !counted:
			case g.Kind == Older && !young:
				used++
			case g.Kind == MaxBytes && tier == g.Tier:
				used += f.Bytes
			}
		}
	}
	switch g.Kind {
	case Older:
		return used
	case MaxBytes:
		if strictly && !g.UpTo {
			return max(0, used-g.Limit+1)
		}
		return max(0, used-g.Limit)
	}
	lack := int64(0)
	for _, v := range o.st.Volumes {
		if slices.ContainsFunc(g.Stores, func(i int) bool { return o.st.Stores[i].HotVolume == v.Name }) {
			lack += max(0, g.Limit-free[v.Name])
		}
	}
	return lack
}

// reach carries out the least that reaches a goal, or comes nearest to it.
func (o *oracle) reach(g Goal) (met bool) {
	roles := o.roles(g)
	var tops []int64
	for i := range o.fate {
		for n := range o.fate[i] {
			tops = append(tops, o.top(i, n))
		}
	}
	slices.Sort(tops)
	started := false
	for _, dropping := range []bool{false, true} {
		if dropping && g.Kind == Older {
			break
		}
		o.fate, o.mark = o.try(roles, 0, false, dropping)
		if o.lack(g, o.fate, started) == 0 {
			return true
		}
		least := o.lack(g, o.fate, true)
		best, bestMark := o.fate, o.mark
		for _, k := range slices.Compact(tops) {
			if !o.allowed(roles, k, dropping) {
				continue
			}
			fates, marks := o.try(roles, k, true, dropping)
			if l := o.lack(g, fates, true); l < least {
				best, bestMark, least, started = fates, marks, l, true
			}
			if least == 0 {
				break
			}
		}
		o.fate, o.mark = best, bestMark
		if least == 0 {
			return true
		}
	}
	return false
}
