package reconcile

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"holdfast/internal/deliver"
	"holdfast/row"
	"holdfast/sink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a stream and a sink in memory. Values of the sink are kept in upper
// case, as a database might keep them in a form of its own.
type memory struct {
	rows   []row.Row
	damage map[int]row.Damage // in front of the row at an index
	noted  sink.Noted
	filled map[string]bool
	key    []string
	held   map[string][][]string // values by place, in the order of all
	all    []string
	times  int // that the stream was read
}

func (m *memory) Rows(_ context.Context, from uint64, emit func(*row.Row) error, damage func(row.Damage) error) error {
	m.times++
	for i := range m.rows {
		if d, ok := m.damage[i]; ok {
			if err := damage(d); err != nil {
				return err
			}
		}
		if m.rows[i].Seq < from {
			continue
		}
		if err := emit(&m.rows[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Noted() sink.Noted { return m.noted }
func (m *memory) Close() error      { return nil }

func (m *memory) Table(_ context.Context, name string) (*sink.Compared, error) {
	if name != "calls" {
		return nil, nil
	}
	places := []string{"calls", "calls_1795264402"}
	return &sink.Compared{Name: name, All: slices.Clone(m.all), Filled: m.filled, Key: slices.Clone(m.key), Places: places, Names: places}, nil
}

func digest(values []string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(strings.ToUpper(strings.Join(values, "\x00"))))
	return h.Sum64()
}

func (m *memory) print(t *sink.Compared, columns, values []string) (p sink.Print) {
	pick := func(names []string) (out []string) {
		for _, c := range names {
			out = append(out, values[slices.Index(columns, c)])
		}
		return out
	}
	p.Digest = digest(pick(t.Columns))
	if len(t.Key) > 0 {
		p.Key = digest(pick(t.Key))
	}
	return p
}

func (m *memory) Make(_ context.Context, t *sink.Compared, rows []row.Row) (all []sink.Print, _ error) {
	for _, r := range rows {
		var values []string
		for _, v := range r.Values {
			values = append(values, string(v.Text))
		}
		all = append(all, m.print(t, t.Columns, values))
	}
	return all, nil
}

func (m *memory) Read(_ context.Context, t *sink.Compared, place string, emit func(sink.Print) error) error {
	for _, values := range m.held[place] {
		if err := emit(m.print(t, m.all, values)); err != nil {
			return err
		}
	}
	return nil
}

// filledIn returns n rows that arrived, half of them in an archive.
func filledIn(n int) *memory {
	m := &memory{all: []string{"id", "name"}, filled: map[string]bool{"id": true}, held: map[string][][]string{}, damage: map[int]row.Damage{}}
	s := &row.Schema{Table: "calls", Columns: []row.Column{{Name: "name", Type: "text"}}}
	for i := range n {
		name := fmt.Sprintf("n%d", i+1)
		m.rows = append(m.rows, row.Row{Seq: uint64(i + 1), Schema: s, Values: []row.Value{row.Text(name)}})
		place := "calls"
		if i < n/2 {
			place = "calls_1795264402"
		}
		m.held[place] = append(m.held[place], []string{fmt.Sprint(i), strings.ToUpper(name)})
	}
	m.noted = sink.Noted{Cursor: sink.Cursor{Position: row.Position{Seq: uint64(n)}}}
	return m
}

func (m *memory) take(place string, i int) []string {
	gone := m.held[place][i]
	m.held[place] = slices.Delete(slices.Clone(m.held[place]), i, i+1)
	return gone
}

// TestRun breaks one thing at a time, and wants it named by its seq, and every
// other row accounted for.
func TestRun(t *testing.T) {
	const n = 5000
	for _, test := range []struct {
		name  string
		spoil func(m *memory, o *Options)
		want  string // differences
		check func(r *Report) bool
	}{
		{"nothing", func(*memory, *Options) {}, "", func(r *Report) bool { return r.Expected == n && r.Tables[0].Ignored[0] == "id" }},
		{"missing in an archive", func(m *memory, _ *Options) { m.take("calls_1795264402", 76) }, "missing 77-77", nil},
		{"missing range", func(m *memory, _ *Options) {
			m.take("calls", 0)
			m.take("calls", 0)
			m.take("calls", 0)
		}, "missing 2501-2503", nil},
		{"doubled", func(m *memory, _ *Options) { m.held["calls"] = append(m.held["calls"], []string{"9", "N33"}) }, "doubled 33-33", nil},
		{"strange", func(m *memory, _ *Options) { m.held["calls"] = append(m.held["calls"], []string{"9", "WHO"}) }, "strange 0-0", nil},
		{"changed, without a key", func(m *memory, _ *Options) { m.held["calls"][0][1] = "OTHER" }, "strange 0-0, missing 2501-2501", nil},
		{"behind the cursor", func(m *memory, _ *Options) {
			m.noted.Cursor.Seq = n - 1
			m.take("calls", n/2-1)
		}, "", func(r *Report) bool { return r.To == n-1 && r.Expected == n-1 }},
		{"waiting reject", func(m *memory, o *Options) {
			m.take("calls", 0)
			o.Rejects = map[uint64]Reject{2501: {State: "open"}}
		}, "", func(r *Report) bool { return r.Waiting == 1 && r.Expected == n-1 }},
		{"reject that was written all the same", func(_ *memory, o *Options) { o.Rejects = map[uint64]Reject{2501: {State: "discarded"}} }, "strange 0-0",
			func(r *Report) bool { return r.Discarded == 1 }},
		{"retried as it was edited", func(m *memory, o *Options) {
			m.held["calls"][0][1] = "MENDED"
			m.noted.Retried = map[uint64]bool{2501: true}
			edited := m.rows[2500]
			edited.Values = []row.Value{row.Text("mended")}
			o.Rejects = map[uint64]Reject{2501: {State: "delivered", Row: &edited}}
		}, "", func(r *Report) bool { return r.Retried == 1 && r.Expected == n }},
		{"left out", func(m *memory, _ *Options) {
			m.take("calls", 0)
			m.rows[2500].Flags |= row.Yields
			m.rows[2501].Flags |= row.Yields
		}, "", func(r *Report) bool { return r.LeftOut == 1 && r.Expected == n-1 }},
		{"passed over", func(m *memory, _ *Options) {
			m.take("calls", 0)
			m.noted.Gaps = []row.Damage{{First: 2501, Last: 2501, Gap: true}}
		}, "", func(r *Report) bool { return r.Passed == 1 }},
		{"rolled away", func(m *memory, _ *Options) {
			m.rows = m.rows[100:]
			m.damage[0] = row.Damage{First: 1, Last: 100, Gap: true, Rolled: true}
		}, "", func(r *Report) bool { return r.From == 101 && r.Older == 100 && r.Expected == n-100 }},
		{"rolled away, and one missing", func(m *memory, _ *Options) {
			m.rows = m.rows[100:]
			m.take("calls", 5)
		}, "missing 2506-2506", func(r *Report) bool { return r.From == 101 && r.Older == 100 }},
		{"a gap in the middle", func(m *memory, _ *Options) {
			m.rows = slices.Delete(m.rows, 200, 300)
			m.damage[200] = row.Damage{First: 201, Last: 300, Gap: true}
		}, "", func(r *Report) bool { return r.Gaps == 100 && r.Older == 100 && r.Expected == n-100 }},
		{"states", func(m *memory, _ *Options) {
			m.rows = slices.Delete(m.rows, 2500, 2502)
			m.take("calls", 0)
			m.take("calls", 0)
		}, "", func(r *Report) bool { return r.States == 2 }},
		{"another table", func(m *memory, o *Options) {
			m.rows[2500].Schema = &row.Schema{Table: "other", Columns: []row.Column{{Name: "x"}}}
			m.take("calls", 0)
			o.Shape = deliver.Shape{Tables: []string{"calls"}}
		}, "", func(r *Report) bool { return r.Elsewhere == 1 }},
		{"a table that is not there", func(m *memory, _ *Options) {
			m.rows[2500].Schema = &row.Schema{Table: "other", Columns: []row.Column{{Name: "x"}}}
			m.take("calls", 0)
		}, "missing 2501-2501", nil},
		{"changed, by its key", func(m *memory, _ *Options) {
			s := &row.Schema{Table: "calls", Columns: []row.Column{{Name: "id"}, {Name: "name"}}}
			for i := range m.rows {
				m.rows[i].Schema, m.rows[i].Values = s, []row.Value{row.Text(fmt.Sprint(i)), m.rows[i].Values[0]}
			}
			m.key, m.held["calls"][0][1] = []string{"id"}, "OTHER"
		}, "changed 2501-2501", nil},
		{"a column that is left out late", func(m *memory, _ *Options) {
			s := &row.Schema{Table: "calls", Columns: []row.Column{{Name: "id"}, {Name: "name"}}}
			for i := range m.rows[:n-1] {
				m.rows[i].Schema, m.rows[i].Values = s, []row.Value{row.Text(fmt.Sprint(i)), m.rows[i].Values[0]}
			}
		}, "", func(r *Report) bool { return r.Tables[0].Ignored[0] == "id" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, o := filledIn(n), Options{Name: "main", Sink: "k", Dir: t.TempDir()}
			test.spoil(m, &o)
			o.Stream = m
			r, err := Run(t.Context(), m, o)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range r.Differences {
				got = append(got, fmt.Sprintf("%s %d-%d", d.Kind, d.First, d.Last))
			}
			if strings.Join(got, ", ") != test.want || r.Equal() != (test.want == "") {
				t.Errorf("got %v, want %s\n%+v", got, test.want, r)
			}
			if test.check != nil && !test.check(r) {
				t.Errorf("%+v", r)
			}
			kept := r.Gaps + r.Passed + r.States + r.Elsewhere + r.Malformed + r.Waiting + r.Discarded + r.LeftOut + r.Expected
			if want := r.To + 1 - r.From; kept != want {
				t.Errorf("%d of %d seqs are accounted for: %+v", kept, want, r)
			}
			if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
				t.Errorf("temporary files are left: %v, %v", left, err)
			}
		})
	}
}

// TestParts pairs over many parts as over one.
func TestParts(t *testing.T) {
	for n, want := range map[uint64]int{0: 1, perPart: 1, perPart + 1: 2, 100 * perPart: 128, 1 << 40: maxParts} {
		if got := partsFor(n); got != want {
			t.Errorf("%d rows: %d parts, want %d", n, got, want)
		}
	}
	p, err := newPile(t.TempDir(), "x", 8)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for i := range uint64(1000) {
		if err := p.add(record{digest: (i % 500) * 7919, tag: 1000 - i}); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for i := range p.files {
		for range 2 { // it can be read again
			all, err := p.part(i)
			if err != nil {
				t.Fatal(err)
			}
			seen += len(all)
			for j := 1; j < len(all); j++ {
				if all[j-1].digest > all[j].digest || all[j-1].digest == all[j].digest && all[j-1].tag > all[j].tag {
					t.Fatalf("part %d is not sorted", i)
				}
			}
		}
	}
	if seen != 2000 {
		t.Errorf("%d records came back, want 1000 twice", seen)
	}
}
