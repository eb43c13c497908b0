package archive

import (
	"strings"
	"testing"
)

// TestDrift tells what can be followed from what could lose a value.
func TestDrift(t *testing.T) {
	widens := func(from, to string) bool { return from == "int" && to == "bigint" }
	id, at := Column{Name: "id", Type: "int", NotNull: true}, Column{Name: "at", Type: "int"}
	now := func(c ...Column) Structure { return Structure{Columns: c, Indexes: []string{"PRIMARY KEY (id)"}} }
	for _, test := range []struct {
		name          string
		current, then Structure
		added, inner  string
		changed       int
		refused       string
	}{
		{name: "the same", current: now(id, at), then: now(id, at)},
		{name: "added last", current: now(id, at, Column{Name: "who", Type: "text"}), then: now(id, at), added: "at<who"},
		{name: "added between", current: now(id, Column{Name: "who", Type: "text"}, at), then: now(id, at), added: "id<who", inner: "who"},
		{name: "wider", current: now(Column{Name: "id", Type: "bigint", NotNull: true}, at), then: now(id, at), changed: 1},
		{name: "nullable", current: now(Column{Name: "id", Type: "int"}, at), then: now(id, at), changed: 1},
		{name: "narrower", current: now(id, at), then: now(id, Column{Name: "at", Type: "bigint"}), changed: 1, refused: "may not hold"},
		{name: "gone", current: now(id), then: now(id, at), refused: "would be lost"},
		{name: "renamed", current: now(id, Column{Name: "since", Type: "int"}), then: now(id, at), added: "id<since", refused: `"at" is not in the current table`},
		{name: "another order", current: now(at, id), then: now(id, at), refused: "another place"},
		{name: "another collation", current: now(id, Column{Name: "at", Type: "int", Collation: "C"}), then: now(id, at), changed: 1, refused: "collation"},
		{name: "computed", current: now(id, Column{Name: "at", Type: "int", Generated: "id + 1"}), then: now(id, at), changed: 1, refused: "computed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, refused := test.current.Drift(test.then, widens)
			var added, inner []string
			for _, a := range d.Added {
				added = append(added, a.After+"<"+a.Name)
				if a.Inner {
					inner = append(inner, a.Name)
				}
			}
			if strings.Join(added, " ") != test.added || strings.Join(inner, " ") != test.inner || len(d.Changed) != test.changed {
				t.Errorf("got %+v", d)
			}
			if all := strings.Join(refused, "; "); !strings.Contains(all, test.refused) || (all == "") != (test.refused == "") {
				t.Errorf("refused %q, want %q", all, test.refused)
			}
		})
	}
	many := Structure{Indexes: []string{"INDEX (a)", "INDEX (a)", "INDEX (b)"}}
	d, _ := many.Drift(Structure{Indexes: []string{"INDEX (c)", "INDEX (a)"}}, widens)
	if strings.Join(d.Missing, " ") != "INDEX (a) INDEX (b)" || strings.Join(d.Excess, " ") != "INDEX (c)" || d.None() {
		t.Errorf("got %+v", d)
	}
}
