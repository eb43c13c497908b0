package roll

// obstacles lists what stands in the way of a goal that is not met.
func (p *planner) obstacles(m *meter) {
	type key struct {
		store int
		why   Why
		who   string
	}
	at := map[key]int{}
	on := map[string]int64{} // bytes that are kept, by volume
	add := func(i, n int, why Why, who string) {
		w := &p.stores[i]
		o, ok := at[key{i, why, who}]
		if !ok {
			o = len(p.plan.Obstacles)
			at[key{i, why, who}] = o
			p.plan.Obstacles = append(p.plan.Obstacles, Obstacle{Why: why, Who: who, Stream: w.Stream, Index: w.IsIndex, Number: w.Files[n].Number})
		}
		p.plan.Obstacles[o].Files++
		p.plan.Obstacles[o].Bytes += w.Files[n].Bytes
		on[w.volume(n)] += w.Files[n].Bytes
	}
	for i := range p.stores {
		w := &p.stores[i]
		if w.role == apart {
			continue
		}
		for n := range w.Files {
			if v := w.volume(n); w.role == mover && m.Kind == MinFree && w.WarmVolume == v && m.lack[v] > 0 {
				if w.tier(n) == Hot {
					add(i, n, Shared, "")
				}
				continue
			}
			if w.fate[n] == leaves || w.role == mover && w.tier(n) != Hot || m.gain(i, n, w.to()) <= 0 {
				continue
			}
			why, who := p.why(i, n)
			add(i, n, why, who)
		}
	}
	for _, v := range m.lacking() {
		if lack := m.lack[v] - on[v]; lack > 0 {
			p.plan.Obstacles = append(p.plan.Obstacles, Obstacle{Why: Foreign, Who: v, Bytes: lack})
		}
	}
}

// why returns why file n of store i stays, and who keeps it.
func (p *planner) why(i, n int) (why Why, who string) {
	w := &p.stores[i]
	switch {
	case w.Files[n].Held:
		return HeldBy, ""
	case n >= w.end:
		return Active, ""
	case w.role == leaver && n >= w.needed && !w.drops(p.dropOK):
		for _, need := range w.Needs { // the one that is furthest behind
			if w.Files[n].LastSeq >= need.Seq && (who == "" || need.Seq < w.seqOf(who)) {
				who = need.Sink
			}
		}
		return Needed, who
	case n >= w.kept:
		return KeptBy, ""
	}
	b := p.floor(w.group)
	if b.link == everything {
		return Linked, "no link"
	}
	return Linked, p.stores[b.store].Name()
}

// seqOf returns what a sink needs.
func (w *work) seqOf(sink string) uint64 {
	for _, need := range w.Needs {
		if need.Sink == sink {
			return need.Seq
		}
	}
	return 0
}
