package closing

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/archive"
	"holdfast/archive/dialect"
	"holdfast/internal/fault"
)

// Refusal is an error that names the rules which stand against a closing.
type Refusal struct{ Broken []archive.Broken }

// Error returns the first of the broken rules, and how many there are.
func (r *Refusal) Error() string {
	if len(r.Broken) == 1 {
		return "a rule is broken: " + r.Broken[0].String()
	}
	return fmt.Sprintf("%d rules are broken; the first: %s", len(r.Broken), r.Broken[0])
}

// Share is what a closing does with one table.
type Share struct {
	Table   string `json:"table"`
	Type    int    `json:"type"`
	Archive string `json:"archive"`
	Filed   int64  `json:"filed"`   // rows that go into the archive
	Staying int64  `json:"staying"` // rows that stay in the current table
}

// Plan is what a run would do.
type Plan struct {
	Family   string           `json:"family"`
	Decision archive.Decision `json:"decision"`
	Shares   []Share          `json:"tables"`
	InSwap   bool             `json:"in_swap"` // rows that stay are put back under the lock
	Prepare  []string         `json:"prepare"`
	Swap     []string         `json:"swap"`
	After    []string         `json:"after"`
	Late     []LateMove       `json:"late,omitempty"` // Preview alone says
	Form     []string         `json:"form,omitempty"` // once it is closed: stores it as the family wants it

	preview bool
	stamp   int64
	tables  []*dialect.Table
	low     map[string]int64
	routed  map[string]int64 // rows that would be moved into archives before, by table
	views   []string         // the last of Prepare, which others may hold up
	bare    []string         // the statements of Swap that put no row back
}

// maxInSwap is how many rows are put back under the lock: some tens of
// thousands a second can be. More of them are put back in steps behind it.
var maxInSwap int64 = 1_000 // tests lower it

// Make looks at the tables and plans the closing of the period up to end, in
// seconds, or up to now where end is 0. A rule that stands against it is a
// *Refusal; the plan is returned with it as far as it got.
func Make(ctx context.Context, s *dialect.Session, f *archive.Family, end int64) (*Plan, error) {
	return plan(ctx, s, f, end, false)
}

func plan(ctx context.Context, s *dialect.Session, f *archive.Family, end int64, preview bool) (*Plan, error) {
	now, err := s.Now(ctx)
	if err != nil {
		return nil, err
	}
	latest := now - f.Settle
	if end == 0 {
		end = latest
	}
	if end > latest {
		return nil, fault.New(fault.InvalidParameterValue, "the end, %s, lies behind the last second that can be closed now, %s", moment(end), moment(latest)).
			WithHint("name that one or an earlier, or none; rows may arrive %d seconds late", f.Settle)
	}
	if err := fits(ctx, s, f); err != nil {
		return nil, err
	}
	broken, _, err := Verify(ctx, s, f)
	if err != nil {
		return nil, err
	}
	p := &Plan{Family: f.Name, preview: preview}
	if p.stamp, err = fresh(ctx, s, now); err != nil {
		return nil, err
	}
	err = snapshot(ctx, s, f, func(l looker) error {
		if preview && !names(broken, archive.RuleTables) {
			if broken, err = p.foresee(ctx, &l, broken); err != nil {
				return err
			}
		}
		return p.make(ctx, l, end, len(broken) == 0)
	})
	if err == nil {
		p.Decision.Refused = once(append(broken, p.Decision.Refused...))
	}
	if err == nil && len(p.Decision.Refused) > 0 {
		err = &Refusal{p.Decision.Refused}
	}
	return p, err
}

// moment writes a second as people read it.
func moment(second int64) string { return time.Unix(second, 0).UTC().Format(time.DateTime) }

// once leaves out what was said before.
func once(all []archive.Broken) (kept []archive.Broken) {
	said := map[string]bool{}
	for _, b := range all {
		if !said[b.String()] {
			kept = append(kept, b)
		}
		said[b.String()] = true
	}
	return kept
}

func (p *Plan) make(ctx context.Context, l looker, end int64, sound bool) error {
	entries, err := l.catalogue(ctx)
	if err != nil {
		return err
	}
	if l.stay = l.stays(entries); l.routed != nil {
		l.stay = l.routed
	}
	if p.tables, err = describe(ctx, l); err != nil {
		return err
	}
	fit := sound && len(p.tables) == len(l.f.Tables)
	for _, t := range p.tables {
		fit = fit && len(t.Unfit) == 0
	}
	var last archive.State
	p.Decision, err = archive.Settle(l.f, end, func(end int64) (archive.State, error) {
		last = archive.State{End: end, Catalogue: entries, Tables: map[int]archive.Facts{}, Uncounted: !fit}
		if !fit {
			for _, t := range p.tables {
				last.Tables[l.f.Table(t.Name).Type] = archive.Facts{Unfit: t.Unfit}
			}
			return last, nil
		}
		return last, l.state(ctx, &last, l.current, nil)
	})
	if err != nil || len(p.Decision.Refused) > 0 || !fit {
		return err
	}
	if p.share(l.f, last); l.routed != nil { // they are gone by then
		l.stay, l.routed = nil, nil
	}
	before := map[string][]string{}
	for _, e := range entries {
		if t := l.f.OfType(e.Type); t != nil {
			before[t.Name] = append(before[t.Name], e.Name)
		}
	}
	script := l.s.Script(p.tables, p.stamp, before)
	p.Prepare, p.views = slices.Concat(script.Prepare, script.Views), script.Views
	p.Swap, p.bare, p.InSwap = script.Swap, slices.Clip(script.Swap), p.InSwap && !script.Alone
	if p.InSwap {
		p.Swap = append(p.bare, p.putBack(l)...)
	}
	p.After = after(l, p)
	if p.Form, err = p.form(ctx, l, before); err != nil || !p.preview {
		return err
	}
	return p.tell(ctx, l, entries)
}

// describe reads the family's tables, parents first; those that are not there
// are left out.
func describe(ctx context.Context, l looker) (all []*dialect.Table, err error) {
	if all, err = fitting(ctx, l); err != nil {
		return nil, err
	}
	return all, l.s.CheckViews(ctx, l.q, all)
}

// fitting reads them without a look at the views over them.
func fitting(ctx context.Context, l looker) (all []*dialect.Table, err error) {
	for _, t := range l.f.Tables {
		one, err := l.s.Table(ctx, l.q, t.Name)
		if err != nil {
			return nil, err
		}
		if one != nil {
			all = append(all, one)
		}
	}
	l.s.Judge(l.f, all)
	return all, nil
}

// state fills in what the tables look like for s.End. late, where set, finds
// rows that came after a swap.
func (l looker) state(ctx context.Context, s *archive.State, in scope, late func(t archive.Table, end int64) (*int64, error)) error {
	for _, t := range l.f.Tables {
		k, err := l.facts(ctx, t, in, s.End)
		if err == nil && late != nil {
			k.Late, err = late(t, s.End)
		}
		if err != nil {
			return fmt.Errorf("look at the rows of table %q: %w", t.Name, err)
		}
		s.Tables[t.Type] = k
	}
	var err error
	s.Mirrors, err = l.mirrors(ctx, in, "")
	return err
}

// share notes what happens to each table, and from which key on the rows are
// that stay, those that are yet to come included.
func (p *Plan) share(f *archive.Family, s archive.State) {
	p.low = map[string]int64{}
	staying := int64(0)
	for _, t := range f.Tables {
		k := s.Tables[t.Type]
		staying += k.Staying
		p.Shares = append(p.Shares, Share{t.Name, t.Type, dialect.Archived(t.Name, p.stamp), k.Filed, k.Staying - p.routed[t.Name]})
		switch {
		case k.MinStaying != nil:
			p.low[t.Name] = *k.MinStaying
		case k.MaxFiled != nil:
			p.low[t.Name] = *k.MaxFiled + 1
		}
	}
	p.InSwap = staying <= maxInSwap
}

// putBack returns the statements that put back, under the lock, the rows that
// stay. They look at keys from the lowest of those on, so that they need not
// read what is archived; what they miss is put back behind the swap.
func (p *Plan) putBack(l looker) (all []string) {
	var still, again []string
	for _, t := range p.tables {
		a, b := l.s.Still(t)
		still, again = append(still, a...), append(again, b...)
	}
	m := mover{looker: l, tables: p.tables, stamp: p.stamp, low: p.low}
	for _, t := range l.f.Tables {
		if t.Parent == "" {
			all = append(all, m.statements(t, m.after(t, p.Decision.Window.End))...)
		}
	}
	return append(append(still, all...), again...)
}

// few reports whether it is still few rows that stay. Rows have come since the
// plan was made, and the tables are locked while it looks: it counts keys, and
// stops where they are too many.
func (p *Plan) few(ctx context.Context, l looker) (bool, error) {
	var counts []string
	for _, t := range l.f.Tables {
		if low, ok := p.low[t.Name]; ok {
			counts = append(counts, fmt.Sprintf("(SELECT COUNT(*) FROM (SELECT 1 FROM %s WHERE %s >= %d LIMIT %d) x)", l.s.Quote(t.Name), l.s.Column(t.Key), low, maxInSwap+1))
		}
	}
	if len(counts) == 0 { // the tables were empty
		return true, nil
	}
	n, err := l.numbers(ctx, "SELECT "+strings.Join(counts, " + "))
	if err != nil {
		return false, err
	}
	return *n[0] <= maxInSwap, nil
}

// after tells what happens behind the swap.
func after(l looker, p *Plan) (all []string) {
	var columns []string
	for _, t := range p.tables {
		all = append(all, l.s.ReadOnly(t, dialect.Archived(t.Name, p.stamp))...)
	}
	for _, h := range p.Shares {
		columns = append(columns, fmt.Sprintf("(next, %d, %s, %d, %d)", h.Type, l.s.Text(h.Archive), p.Decision.Window.Start, p.Decision.Window.End))
	}
	return append(all, "INSERT INTO "+l.s.Quote(l.f.Catalogue)+" (archive_id, table_type, table_name, start_date, end_date) VALUES "+strings.Join(columns, ", "))
}
