package archive

import (
	"slices"
	"strings"
	"testing"
)

// TestVerify breaks each rule, one at a time, in what was found of two whole
// archives, and wants it named, and it alone.
func TestVerify(t *testing.T) {
	f, err := Parse(strings.NewReader(`{"name":"f","tables":[{"type":1,"name":"a","date":"d","id_order":true},
		{"type":2,"name":"b","parent":"a","parent_key":"a_id"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	at := func(v int64) *int64 { return &v }
	shape := Structure{Columns: []Column{{Name: "id", Type: "bigint", NotNull: true}}, Indexes: []string{"PRIMARY KEY (id)", "(d)", "(d)"}}
	whole := func() Found {
		filed := func(id int64, kind int, name string, w Window, low, high int64) Filed {
			return Filed{Entry: Entry{ArchiveID: id, Type: kind, Name: name, Window: w}, Structure: shape,
				MinID: at(low), MaxID: at(high), Rows: 10, Digest: "5", Kept: &Kept{10, "5"}}
		}
		return Found{
			Live: map[int]Live{1: {Structure: shape, MinID: at(21)}, 2: {Structure: shape}},
			Filed: []Filed{
				filed(2, 1, "a_2", Window{200, 299}, 11, 20), filed(2, 2, "b_2", Window{200, 299}, 11, 20),
				filed(1, 1, "a_1", Window{100, 199}, 1, 10), filed(1, 2, "b_1", Window{100, 199}, 1, 10),
			},
		}
	}
	live := func(f *Found, kind int, change func(*Live)) {
		l := f.Live[kind]
		change(&l)
		f.Live[kind] = l
	}
	for name, test := range map[string]struct {
		spoil func(*Found)
		want  []Rule
	}{
		"nothing":          {func(*Found) {}, nil},
		"closed elsewhere": {func(f *Found) { f.Filed[0].Kept = nil }, nil},
		"empty archive":    {func(f *Found) { f.Filed[0].MinID, f.Filed[0].MaxID = nil, nil }, nil},
		"no current table": {func(f *Found) { live(f, 2, func(l *Live) { l.Missing = true }) }, []Rule{RuleTables}},
		"unfit":            {func(f *Found) { live(f, 2, func(l *Live) { l.Unfit = []string{"x", "y"} }) }, []Rule{RuleTables, RuleTables}},
		"no keys":          {func(f *Found) { live(f, 1, func(l *Live) { l.Keyless = 2 }) }, []Rule{RuleTables}},
		"late row":         {func(f *Found) { live(f, 1, func(l *Live) { l.Early = []string{"7"} }) }, []Rule{RuleComplete}},
		"no date":          {func(f *Found) { live(f, 1, func(l *Live) { l.Undated = []string{"7"} }) }, []Rule{RuleDate}},
		"late child":       {func(f *Found) { live(f, 2, func(l *Live) { l.Orphans = []string{"7"} }) }, []Rule{RuleParent}},
		"id too low":       {func(f *Found) { live(f, 1, func(l *Live) { l.MinID = at(20) }) }, []Rule{RuleIDOrder}},
		"ids back":         {func(f *Found) { f.Filed[0].MinID = at(10) }, []Rule{RuleIDOrder}},
		"ids without rule": {func(f *Found) { f.Filed[1].MinID = at(10) }, nil},
		"archive_id 0":     {func(f *Found) { f.Filed[2].ArchiveID, f.Filed[3].ArchiveID = 0, 0 }, []Rule{RuleCatalogue, RuleCatalogue}},
		"table gone":       {func(f *Found) { f.Filed[1].Missing = true }, []Rule{RuleCatalogue}},
		"unknown type":     {func(f *Found) { f.Filed = append(f.Filed, f.Filed[0]); f.Filed[4].Type = 9 }, []Rule{RuleCatalogue}},
		"not listed":       {func(f *Found) { f.Unlisted = []string{"a_3"} }, []Rule{RuleCatalogue}},
		"column too many": {func(f *Found) {
			f.Filed[0].Structure.Columns = append(slices.Clone(shape.Columns), Column{Name: "x", Type: "int"})
		}, []Rule{RuleStructure}},
		"column gone":     {func(f *Found) { f.Filed[0].Structure.Columns = nil }, []Rule{RuleStructure}},
		"other type":      {func(f *Found) { f.Filed[0].Structure.Columns = []Column{{Name: "id", Type: "int", NotNull: true}} }, []Rule{RuleStructure}},
		"index gone":      {func(f *Found) { f.Filed[0].Structure.Indexes = shape.Indexes[:2] }, []Rule{RuleStructure}},
		"index too many":  {func(f *Found) { f.Filed[0].Structure.Indexes = append(slices.Clone(shape.Indexes), "(x)") }, []Rule{RuleStructure}},
		"indexes turned":  {func(f *Found) { f.Filed[0].Structure.Indexes = []string{"(d)", "PRIMARY KEY (id)", "(d)"} }, nil},
		"outside":         {func(f *Found) { f.Filed[0].Outside = []string{"11"} }, []Rule{RuleWindow}},
		"child elsewhere": {func(f *Found) { f.Filed[1].Orphans = []string{"11"} }, []Rule{RuleParent}},
		"writable":        {func(f *Found) { f.Filed[1].Writable = true }, []Rule{RuleReadOnly}},
		"row removed":     {func(f *Found) { f.Filed[1].Rows = 9 }, []Rule{RuleDigest}},
		"row changed":     {func(f *Found) { f.Filed[1].Digest = "6" }, []Rule{RuleDigest}},
		"type missing":    {func(f *Found) { f.Filed = slices.Delete(f.Filed, 1, 2) }, []Rule{RuleTogether}},
		"type twice":      {func(f *Found) { f.Filed = append(f.Filed, f.Filed[1]) }, []Rule{RuleTogether}},
		"other end":       {func(f *Found) { f.Filed[3].End = 198 }, []Rule{RuleTogether}},
		"second missing":  {func(f *Found) { f.Filed[2].End, f.Filed[3].End = 198, 198 }, []Rule{RuleWindow}},
		"second twice":    {func(f *Found) { f.Filed[2].End, f.Filed[3].End = 200, 200 }, []Rule{RuleWindow}},
		"backwards":       {func(f *Found) { f.Filed[0].End, f.Filed[1].End = 199, 199 }, []Rule{RuleWindow}},
		"mirror":          {func(f *Found) { f.Mirrors = []Broken{{Rule: RuleMirror, Table: "a"}} }, []Rule{RuleMirror}},
	} {
		found := whole()
		test.spoil(&found)
		all := Verify(f, found)
		var rules []Rule
		for _, b := range all {
			rules = append(rules, b.Rule)
		}
		if !slices.Equal(rules, test.want) {
			t.Errorf("%s: got %v, want %v", name, all, test.want)
		}
	}
	b := Broken{Rule: RuleWindow, Table: "t", What: "w", Keys: []string{"1", "2"}}
	if got := b.String(); got != "window: t: w (keys 1, 2)" {
		t.Errorf("got %q", got)
	}
}
