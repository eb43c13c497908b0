package reconcile

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"holdfast/internal/deliver"
	"holdfast/row"
	"holdfast/sink"
)

// table is one table of the sink.
type table struct {
	name    string
	salt    uint64         // tells its digests from those of others
	tag     uint64         // its number, as the tags of its rows have it
	seen    *sink.Compared // nil: the sink has no such table
	keyed   bool
	plans   map[string]*plan // by row.Schema.Key
	last    *row.Schema      // whose plan was used last
	plan    *plan
	rows    []row.Row // that wait for the database
	expect  uint64
	digest  uint64
	found   uint64
	places  []Place
	sums    []Sum // of the rows of each
	came    Sum   // rows of the stream that are there and came since the ledger was written
	yielded Sum   // those of them that yield: the row that is there may be an older one
	lost    spans // seqs of rows that the sink has no table for
}

// plan is where the values of rows of one schema go.
type plan struct {
	schema *row.Schema // with the columns that are compared
	from   []int       // index of the value; -1: the row leaves it out
}

// placeBits is how many of a tag's bits tell the place; the others its table.
const placeBits = 20

// table returns what is known of the table that a row goes to.
func (r *run) table(ctx context.Context, s *row.Schema) (*table, error) {
	if t := r.tables[s.Table]; t != nil {
		return t, nil
	}
	if len(r.order) == maxTables {
		return nil, fmt.Errorf("more than %d tables cannot be compared", maxTables)
	}
	h := fnv.New64a()
	h.Write([]byte(s.Table)) //nolint:errcheck // it never fails
	t := &table{name: s.Table, salt: h.Sum64(), tag: uint64(len(r.order)) << seqBits, plans: map[string]*plan{}}
	r.tables[s.Table], r.order = t, append(r.order, t)
	seen, err := r.k.Table(ctx, s.Table)
	if err != nil || seen == nil {
		return t, err
	}
	if len(seen.Places) >= 1<<placeBits {
		return nil, fmt.Errorf("table %q has too many archives: %d", s.Table, len(seen.Places))
	}
	t.seen = seen
	for _, c := range seen.All {
		if !r.dropped[t.name][c] {
			seen.Columns = append(seen.Columns, c)
		}
	}
	for _, a := range r.o.Shape.Add { // a column that holds the seq is the best key
		if at := slices.IndexFunc(seen.Columns, func(c string) bool { return strings.EqualFold(c, a.Column) }); at >= 0 && a.Fill == deliver.Seq {
			seen.Key = []string{seen.Columns[at]}
		}
	}
	for _, c := range seen.Key {
		if !slices.Contains(seen.Columns, c) {
			seen.Key = nil
			break
		}
	}
	t.keyed = len(seen.Key) > 0
	for _, name := range seen.Names {
		t.places, t.sums = append(t.places, Place{Name: name}), append(t.sums, Sum{})
	}
	return t, nil
}

// planFor returns where the values of rows like these go.
func (r *run) planFor(t *table, s *row.Schema) (*plan, error) {
	if t.last == s {
		return t.plan, nil
	}
	key := s.Key()
	p := t.plans[key]
	if p == nil {
		p = &plan{schema: &row.Schema{Table: s.Table}}
		narrower := false
		for _, c := range t.seen.Columns {
			at := slices.IndexFunc(s.Columns, func(x row.Column) bool { return x.Name == c })
			if at < 0 {
				at = slices.IndexFunc(s.Columns, func(x row.Column) bool { return strings.EqualFold(x.Name, c) })
			}
			one := row.Column{Name: c}
			if at >= 0 {
				one.Type = s.Columns[at].Type
			} else if t.seen.Filled[c] {
				if r.dropped[t.name] == nil {
					r.dropped[t.name] = map[string]bool{}
				}
				r.dropped[t.name][c], narrower = true, true
			}
			p.schema.Columns, p.from = append(p.schema.Columns, one), append(p.from, at)
		}
		if narrower {
			return nil, errNarrower
		}
		t.plans[key] = p
	}
	t.last, t.plan = s, p
	return p, nil
}

// expect takes in a row that must be in the sink.
func (r *run) expect(ctx context.Context, one *row.Row) error {
	t, err := r.table(ctx, one.Schema)
	if err != nil {
		return err
	}
	if one.Flags&row.Yields == 0 {
		t.expect++
		r.report.Expected++
	}
	if t.seen == nil {
		t.lost.add(one.Seq)
		return nil
	}
	if len(t.seen.Columns) == 0 {
		return fmt.Errorf("no column of table %q can be compared: the database fills all of them", t.name)
	}
	p, err := r.planFor(t, one.Schema)
	if err != nil {
		return err
	}
	formed := row.Row{Seq: one.Seq, Flags: one.Flags, Schema: p.schema, Values: make([]row.Value, len(p.from))}
	for i, at := range p.from {
		formed.Values[i] = row.Null
		if at >= 0 && !one.Values[at].Null {
			formed.Values[i] = row.Text(string(one.Values[at].Text)) // the stream uses its memory again
		}
	}
	if t.rows = append(t.rows, formed); len(t.rows) >= batch {
		return r.flush(ctx, t)
	}
	return nil
}

// flush asks the database what it makes of the rows that wait.
func (r *run) flush(ctx context.Context, t *table) error {
	if len(t.rows) == 0 {
		return nil
	}
	prints, err := r.k.Make(ctx, t.seen, t.rows)
	if err != nil {
		return err
	}
	for i, p := range prints {
		one := record{digest: p.Digest ^ t.salt, key: p.Key, tag: t.tag | t.rows[i].Seq}
		if p.Refused != "" { // whatever is in the sink, it is not this
			one = record{digest: t.salt + t.rows[i].Seq, tag: t.tag | t.rows[i].Seq}
		}
		if t.keyed && p.Refused == "" {
			one.key ^= t.salt
		}
		if t.rows[i].Flags&row.Yields != 0 {
			one.tag |= yields
		} else {
			t.digest += one.digest
		}
		if err := r.made.add(one); err != nil {
			return fmt.Errorf("write a temporary file: %w", err)
		}
	}
	t.rows = t.rows[:0]
	return nil
}

// read reads a table of the sink, and its archives.
func (r *run) read(ctx context.Context, t *table) error {
	if t.seen == nil {
		return nil
	}
	index := slices.Index(r.order, t)
	for i, place := range t.seen.Places {
		err := r.k.Read(ctx, t.seen, place, func(p sink.Print) error {
			t.places[i].Rows++
			t.sums[i].add(p.Digest ^ t.salt)
			one := record{digest: p.Digest ^ t.salt, tag: uint64(index)<<placeBits | uint64(i)}
			if t.keyed {
				one.key = p.Key ^ t.salt
			}
			return r.held.add(one)
		})
		if err != nil {
			return fmt.Errorf("read table %q: %w", t.seen.Names[i], err)
		}
	}
	return nil
}
