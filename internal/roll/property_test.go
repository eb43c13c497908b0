package roll

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	seed    = flag.Uint64("seed", 0, "seed of the random layouts; 0 takes one from the clock")
	layouts = flag.Int("layouts", 100_000, "how many random layouts are planned")
)

// TestRandomLayouts plans random layouts, and holds each plan against an oracle
// that tries every cut, and against what may never happen.
func TestRandomLayouts(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", *seed)
	seen := map[string]int{}
	for n := range *layouts {
		r := rand.New(rand.NewPCG(*seed, uint64(n)))
		l := randomLayout(r)
		p, err := Make(&l.st, l.rule)
		if err == nil {
			err = l.judge(p, seen)
		}
		if err != nil {
			text := ""
			if p != nil {
				b, _ := p.JSON()
				text = string(b)
			}
			t.Fatalf("seed %d, layout %d: %v\nstate: %+v\nrule: %+v\nplan: %s", *seed, n, err, l.st, l.rule, text)
		}
	}
	// A layout that never comes up tests nothing.
	for _, what := range []string{"met", "unmet", "removed", "moved warm", "moved cold", "gap", "watermark", string(Needed), string(Active), string(HeldBy), string(KeptBy), string(Linked), string(Shared), string(Foreign), "many"} {
		if seen[what] < *layouts/1000 {
			t.Errorf("%q came up %d times in %d layouts", what, seen[what], *layouts)
		}
	}
	t.Log(seen)
}

func (l *layout) judge(p *Plan, seen map[string]int) error {
	fates, err := l.fates(p)
	if err != nil {
		return err
	}
	for _, check := range []func(*Plan, [][]fate) error{l.pinned, l.whole, l.reached, l.told} {
		if err := check(p, fates); err != nil {
			return err
		}
	}
	for _, s := range p.Steps {
		switch {
		case s.Act == Remove:
			seen["removed"]++
		default:
			seen["moved "+string(s.To)]++
		}
	}
	for _, o := range p.Obstacles {
		seen[string(o.Why)]++
	}
	seen["gap"] += len(p.Gaps)
	seen["watermark"] += len(p.Watermarks)
	seen[map[bool]string{true: "met", false: "unmet"}[p.Met]]++
	if l.many {
		seen["many"]++
		return nil // links of two kinds: the oracle knows one
	}
	o, met := newOracle(l), true
	for _, g := range l.rule.Goals {
		met = o.reach(g) && met
	}
	if met != p.Met {
		return fmt.Errorf("met is %v, the oracle says %v", p.Met, met)
	}
	for i := range fates {
		if !slices.Equal(fates[i], o.fate[i]) {
			return fmt.Errorf("%s: fates %v, the least is %v", l.st.Stores[i].Name(), fates[i], o.fate[i])
		}
		if mark := l.mark(p, i); mark != o.mark[i] {
			return fmt.Errorf("%s: watermark %d, the least is %d", l.st.Stores[i].Name(), mark, o.mark[i])
		}
	}
	return nil
}

// find returns a store's position.
func (l *layout) find(stream string, index bool) int {
	return slices.IndexFunc(l.st.Stores, func(s Store) bool { return s.Stream == stream && s.IsIndex == index })
}

// fates reads a plan's steps, each of which must be about another file, in order.
func (l *layout) fates(p *Plan) ([][]fate, error) {
	all := make([][]fate, len(l.st.Stores))
	for i := range all {
		all[i] = make([]fate, len(l.st.Stores[i].Files))
	}
	moving, last := false, map[string]uint64{}
	for _, step := range p.Steps {
		i := l.find(step.Stream, step.Index)
		s := &l.st.Stores[i]
		n := slices.IndexFunc(s.Files, func(f Manifest) bool { return f.Number == step.Number })
		f := s.Files[n]
		to := leaves
		if step.To == Warm {
			to, moving = moves, true
		} else if moving {
			return nil, fmt.Errorf("step %v comes after moves to warm", step)
		}
		key := fmt.Sprint(step.Stream, step.Index, to)
		if step.Number <= last[key] {
			return nil, fmt.Errorf("step %v comes after number %d", step, last[key])
		}
		last[key] = step.Number
		if all[i][n] != stays || step.From != f.Tier || step.Bytes != f.Bytes || to == leaves && (step.To == Cold) != s.Cold {
			return nil, fmt.Errorf("step %v is not right for %+v", step, f)
		}
		all[i][n] = to
	}
	return all, nil
}

// mark returns the watermark of store i once the plan is carried out.
func (l *layout) mark(p *Plan, i int) int64 {
	s := &l.st.Stores[i]
	mark := int64(nothing)
	if s.HasMark {
		mark = s.Watermark
	}
	for _, w := range p.Watermarks {
		if l.find(w.Stream, w.Index) == i {
			if w.Below <= mark {
				return everything // it does not rise: no check takes this
			}
			mark = w.Below
		}
	}
	return mark
}

// pinned holds that nothing goes that must stay, and that gaps tell exactly what
// sinks lose.
func (l *layout) pinned(p *Plan, fates [][]fate) error {
	o := &oracle{layout: l}
	for i := range fates {
		s := &l.st.Stores[i]
		lost := map[uint64]bool{}
		for n, to := range fates[i] {
			f := &s.Files[n]
			if to != stays && (f.Held || !f.Sealed || o.fixed(i, n)) {
				return fmt.Errorf("segment %d of %s goes, and must stay: %+v", f.Number, s.Name(), f)
			}
			for _, x := range l.rows[i][n] {
				for _, d := range s.Needs {
					if x.seq < d.Seq {
						continue
					}
					if to == leaves && !s.DropOldest {
						return fmt.Errorf("row %d of %s leaves, and %s needs it", x.seq, s.Name(), d.Sink)
					}
					lost[x.seq] = lost[x.seq] || to == leaves
					hidden := x.has && x.id < l.mark(p, i)
					if hidden && !s.DropOldest && l.mark(p, i) != max(int64(nothing), newOracle(l).mark[i]) {
						return fmt.Errorf("row %d of %s is hidden, and %s needs it", x.seq, s.Name(), d.Sink)
					}
				}
			}
		}
		for _, g := range p.Gaps {
			for seq := g.First; seq <= g.Last && l.find(g.Stream, false) == i; seq++ {
				if !lost[seq] {
					return fmt.Errorf("the gap %v names row %d, which is not lost", g, seq)
				}
				delete(lost, seq)
			}
		}
		for seq, is := range lost {
			if is {
				return fmt.Errorf("row %d of %s is lost, and no gap says so", seq, s.Name())
			}
		}
	}
	return nil
}

// whole holds that no link is half there: a row that leaves is below the
// watermark, and nothing is above its parent's.
func (l *layout) whole(p *Plan, fates [][]fate) error {
	o := &oracle{layout: l}
	for i := range fates {
		mark := l.mark(p, i)
		for n, to := range fates[i] {
			if to != leaves {
				continue
			}
			for _, x := range l.rows[i][n] {
				if x.has && x.id >= mark {
					return fmt.Errorf("a row with id %d leaves %s, whose watermark is %d", x.id, l.st.Stores[i].Name(), mark)
				}
			}
		}
		for k := range fates {
			if o.fallsWith(k, i) && newOracle(l).mark[k] < mark && l.mark(p, k) < mark {
				return fmt.Errorf("%s is cut at %d, and %s below it at %d", l.st.Stores[i].Name(), mark, l.st.Stores[k].Name(), l.mark(p, k))
			}
		}
	}
	return nil
}

// reached holds that goals said to be met are met.
func (l *layout) reached(p *Plan, fates [][]fate) error {
	o := &oracle{layout: l}
	for n, g := range l.rule.Goals {
		if p.Goals[n].Met && o.lack(g, fates, false) > 0 {
			return fmt.Errorf("goal %d is said to be met and lacks %d", n, o.lack(g, fates, false))
		}
	}
	return nil
}

// told holds that a plan that does not reach its goals says why.
func (l *layout) told(p *Plan, _ [][]fate) error {
	if p.Met != (len(p.Obstacles) == 0) {
		return fmt.Errorf("met is %v, with obstacles %v", p.Met, p.Obstacles)
	}
	return nil
}
