package archive

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// model is a family's rows in memory: what a database holds, without one.
type model struct {
	f    *Family
	rows map[int][]modelRow // by type
	past []Entry
}

type modelRow struct {
	id, date, parent int64
	final            bool
}

// dated returns the date of a row, from its parent where it has none.
func (m *model) dated(t Table, r modelRow) (int64, bool) {
	if t.Parent == "" {
		return r.date, true
	}
	p := *m.f.Table(t.Parent)
	for _, up := range m.rows[p.Type] {
		if up.id == r.parent {
			return m.dated(p, up)
		}
	}
	return 0, false
}

func least(at **int64, v int64) {
	if *at == nil || v < **at {
		*at = &v
	}
}

func (m *model) look(end int64) (State, error) {
	s := State{End: end, Catalogue: m.past, Tables: map[int]Facts{}}
	for _, t := range m.f.Tables {
		k := Facts{Rows: int64(len(m.rows[t.Type]))}
		for _, r := range m.rows[t.Type] {
			d, ok := m.dated(t, r)
			switch {
			case !ok:
				k.Undated++
				continue
			case d <= end:
				k.Filed++
				if t.IDOrder && (k.MaxFiled == nil || r.id > *k.MaxFiled) {
					id := r.id
					k.MaxFiled = &id
				}
				if !r.final {
					least(&k.Unfinal, d)
				}
			default:
				k.Staying++
				if t.IDOrder {
					least(&k.MinStaying, r.id)
				}
			}
			least(&k.Min, d)
		}
		for _, r := range m.rows[t.Type] {
			if d, ok := m.dated(t, r); ok && d <= end && k.MinStaying != nil && r.id > *k.MinStaying {
				least(&k.Disorder, d)
			}
		}
		s.Tables[t.Type] = k
	}
	return s, nil
}

// generate makes a family's rows whose dates follow their keys up to a jitter,
// and some of which are not final.
func generate(r *rand.Rand, f *Family) *model {
	m := &model{f: f, rows: map[int][]modelRow{}}
	jitter, unfinal := r.Int64N(6), r.IntN(4) == 0
	for _, t := range f.Tables {
		for i := range 5 + r.Int64N(60) {
			row := modelRow{id: i + 1, date: 1000 + i*2 + r.Int64N(jitter+1), final: !unfinal || r.IntN(30) > 0}
			if t.Parent != "" {
				p := m.rows[f.Table(t.Parent).Type]
				at := min(i*int64(len(p))/70, int64(len(p))-1)
				row.parent = p[at].id
			}
			m.rows[t.Type] = append(m.rows[t.Type], row)
		}
	}
	return m
}

// TestSettle closes periods of generated families, and holds each against what
// was promised: nothing that must stay goes, keys are in order, windows follow
// each other, and the end is as late as it can be within one second of a rule.
func TestSettle(t *testing.T) {
	f, err := Profile("utm5")
	if err != nil {
		t.Fatal(err)
	}
	closed, pulled := 0, 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		m := generate(r, f)
		for wish := int64(1010); wish < 1160; wish += 1 + r.Int64N(60) {
			d, err := Settle(f, wish, m.look)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if len(d.Refused) > 0 {
				continue
			}
			if d.Window.End < wish {
				pulled++
			}
			closed++
			m.close(t, seed, d.Window, wish)
		}
	}
	if closed < 400 || pulled < 20 {
		t.Errorf("closed %d periods, pulled back %d times: too few to show anything", closed, pulled)
	}
}

// close checks that w can be closed, and takes its rows away.
func (m *model) close(t *testing.T, seed uint64, w Window, wish int64) {
	t.Helper()
	if w.End > wish || w.End < w.Start {
		t.Fatalf("seed %d: window %v for the wish %d", seed, w, wish)
	}
	if n := len(m.past); n > 0 && w.Start != m.past[n-1].End+1 {
		t.Fatalf("seed %d: window %v behind %v", seed, w, m.past[n-1].Window)
	}
	if broken := m.wrong(w); len(broken) > 0 {
		t.Fatalf("seed %d: window %v: %v", seed, w, broken)
	}
	if w.End < wish { // one second later something must be in the way, up to the wish
		for end := w.End + 1; end <= wish; end++ {
			if len(m.wrong(Window{w.Start, end})) == 0 {
				t.Fatalf("seed %d: the end was pulled back to %d, but %d is as good", seed, w.End, end)
			}
		}
	}
	left := map[int][]modelRow{}
	for _, table := range m.f.Tables {
		for _, r := range m.rows[table.Type] {
			if d, _ := m.dated(table, r); d > w.End {
				left[table.Type] = append(left[table.Type], r)
			}
		}
	}
	m.rows = left
	m.past = append(m.past, Entry{ArchiveID: int64(len(m.past) + 1), Type: 1, Window: w})
}

// wrong says what stands against w, by looking at each row.
func (m *model) wrong(w Window) (all []string) {
	for _, t := range m.f.Tables {
		highest, lowest := int64(-1), int64(1<<62)
		for _, r := range m.rows[t.Type] {
			d, _ := m.dated(t, r)
			if d > w.End {
				lowest = min(lowest, r.id)
				continue
			}
			highest = max(highest, r.id)
			if d < w.Start {
				all = append(all, fmt.Sprintf("%s %d is early", t.Name, r.id))
			}
			if !r.final {
				all = append(all, fmt.Sprintf("%s %d is not final", t.Name, r.id))
			}
		}
		if t.IDOrder && highest > lowest {
			all = append(all, fmt.Sprintf("%s: %d is filed, %d stays", t.Name, highest, lowest))
		}
	}
	return all
}

// TestDecideRefuses names each rule that stands against a closing.
func TestDecideRefuses(t *testing.T) {
	f, err := Parse(strings.NewReader(`{"name":"f","tables":[{"type":1,"name":"a","date":"d","id_order":true},
		{"type":2,"name":"b","parent":"a","parent_key":"a_id"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	at := func(v int64) *int64 { return &v }
	past := []Entry{{ArchiveID: 1, Type: 1, Window: Window{50, 99}}, {ArchiveID: 1, Type: 2, Window: Window{50, 99}}}
	good := func() State {
		return State{End: 200, Catalogue: past, Tables: map[int]Facts{
			1: {Rows: 3, Min: at(100), Filed: 2, Staying: 1}, 2: {Rows: 1, Min: at(100), Filed: 1}}}
	}
	for name, test := range map[string]struct {
		spoil func(*State)
		want  []Rule
		win   Window
	}{
		"nothing":         {func(*State) {}, nil, Window{100, 200}},
		"the first":       {func(s *State) { s.Catalogue = nil; set(s, 1, func(k *Facts) { k.Min = at(120) }) }, nil, Window{100, 200}},
		"another family":  {func(s *State) { s.Catalogue = append(s.Catalogue, Entry{Type: 9, Window: Window{1, 500}}) }, nil, Window{100, 200}},
		"no table":        {func(s *State) { delete(s.Tables, 2) }, []Rule{RuleTables}, Window{100, 200}},
		"unfit":           {func(s *State) { set(s, 1, func(k *Facts) { k.Unfit = []string{"x", "y"} }) }, []Rule{RuleTables, RuleTables}, Window{100, 200}},
		"no date":         {func(s *State) { set(s, 1, func(k *Facts) { k.Undated = 1 }) }, []Rule{RuleDate}, Window{100, 200}},
		"no parent":       {func(s *State) { set(s, 2, func(k *Facts) { k.Undated = 1 }) }, []Rule{RuleParent}, Window{100, 200}},
		"late":            {func(s *State) { set(s, 1, func(k *Facts) { k.Min = at(99) }) }, []Rule{RuleComplete}, Window{100, 200}},
		"mirror":          {func(s *State) { s.Mirrors = []Broken{{Rule: RuleMirror}} }, []Rule{RuleMirror}, Window{100, 200}},
		"order, at once":  {func(s *State) { set(s, 1, func(k *Facts) { k.Disorder = at(100) }) }, []Rule{RuleIDOrder}, Window{100, 200}},
		"final, at once":  {func(s *State) { set(s, 2, func(k *Facts) { k.Unfinal = at(100) }) }, []Rule{RuleFinal}, Window{100, 200}},
		"no row at all":   {func(s *State) { s.Catalogue = nil; s.Tables = map[int]Facts{1: {}, 2: {}} }, []Rule{RuleWindow}, Window{0, 200}},
		"none in window":  {func(s *State) { s.Tables = map[int]Facts{1: {Min: at(300)}, 2: {}} }, []Rule{RuleWindow}, Window{100, 200}},
		"end before last": {func(s *State) { s.End = 99; set(s, 1, func(k *Facts) { k.Filed = 1 }) }, []Rule{RuleWindow}, Window{100, 99}},
		"end before all":  {func(s *State) { s.End, s.Catalogue = 99, nil; set(s, 1, func(k *Facts) { k.Filed = 0 }) }, []Rule{RuleWindow}, Window{100, 99}},
		"closed already":  {func(s *State) { s.End = 40; set(s, 1, func(k *Facts) { k.Disorder = at(30) }) }, []Rule{RuleWindow}, Window{100, 40}},
		"milliseconds":    {func(s *State) { set(s, 1, func(k *Facts) { k.Min, k.Filed = at(1_700_000_000_000), 0 }) }, []Rule{RuleDate}, Window{100, 200}},
		"all of them":     {func(s *State) { s.Catalogue = nil; s.Tables = map[int]Facts{1: {Min: at(1_700_000_000_000)}, 2: {}} }, []Rule{RuleDate}, Window{1_700_000_000_000, 200}},
		"unseen": {func(s *State) {
			s.Uncounted, s.Tables = true, map[int]Facts{1: {Unfit: []string{"x"}}, 2: {}}
		}, []Rule{RuleTables}, Window{100, 200}},
		"unseen, the first": {func(s *State) {
			s.Uncounted, s.Catalogue, s.Tables = true, nil, map[int]Facts{1: {Unfit: []string{"x"}}, 2: {}}
		}, []Rule{RuleTables}, Window{0, 200}},
		"unseen, and fit": {func(s *State) { s.Uncounted, s.Catalogue, s.Tables = true, nil, map[int]Facts{1: {}, 2: {}} }, nil, Window{0, 200}},
	} {
		s := good()
		test.spoil(&s)
		d := Decide(f, s)
		var rules []Rule
		for _, b := range d.Refused {
			rules = append(rules, b.Rule)
		}
		if !slices.Equal(rules, test.want) || d.Window != test.win || d.Back != nil {
			t.Errorf("%s: got %v, %v, back %v, want %v, %v", name, d.Refused, d.Window, d.Back, test.want, test.win)
		}
	}
	s := good()
	s.End = 99
	if d := Decide(f, s); len(d.Refused) != 1 || d.Refused[0].What != "archive 1 already ends at 1970-01-01 00:01:39, and the end would be 1970-01-01 00:01:39: the next period begins at 1970-01-01 00:01:40" {
		t.Errorf("got %v", d.Refused)
	}
	s = good()
	set(&s, 1, func(k *Facts) { k.Disorder = at(150) })
	set(&s, 2, func(k *Facts) { k.Unfinal = at(140) })
	if d := Decide(f, s); d.Back == nil || *d.Back != 139 || len(d.Refused) > 0 || len(d.Why) != 2 {
		t.Errorf("got %+v", d)
	}
	stuck := func(int64) (State, error) {
		s := good()
		set(&s, 1, func(k *Facts) { k.Disorder = at(300) })
		return s, nil
	}
	if _, err := Settle(f, 200, stuck); err == nil {
		t.Error("an end that does not move is no error")
	}
}

func set(s *State, kind int, change func(*Facts)) {
	k := s.Tables[kind]
	change(&k)
	s.Tables[kind] = k
}
