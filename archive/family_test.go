package archive

import (
	"slices"
	"strings"
	"testing"
)

// TestProfiles reads every ready family, and holds the sets of UTM5 against
// the manual.
func TestProfiles(t *testing.T) {
	sets := map[string][]int{
		"utm5":           {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
		"utm5@5.3-002":   {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
		"utm5@5.3-001":   {1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12},
		"utm5@5.2.1-007": {1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12},
		"utm5@5.2.1-006": {1, 2},
		"kamailio":       {1, 2, 3},
	}
	for _, name := range Profiles() {
		f, err := Profile(name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var types []int
		for _, table := range f.Tables {
			types = append(types, table.Type)
		}
		if want, ok := sets[name]; !ok || !slices.Equal(types, want) {
			t.Errorf("%s has types %v, want %v", name, types, want)
		}
		delete(sets, name)
	}
	if len(sets) > 0 {
		t.Errorf("no profiles: %v", sets)
	}
	for name, dated := range map[string]bool{"utm5": false, "utm5@5.2.1-007": true} {
		f, _ := Profile(name)
		if got := f.Table("tel_sessions_detail").Date != ""; got != dated {
			t.Errorf("%s: tel_sessions_detail has a date of its own: %v", name, got)
		}
	}
	f, _ := Profile("utm5")
	var ordered []int
	for _, table := range f.Tables {
		if table.IDOrder {
			ordered = append(ordered, table.Type)
		}
	}
	if !slices.Equal(ordered, []int{3, 4, 5, 6, 7}) {
		t.Errorf("the id rule is for %v", ordered)
	}
	if line := f.Line(*f.Table("invoice_entry_details")); len(line) != 3 || line[2].Date != "invoice_date" {
		t.Errorf("the details of invoices are dated by %v", line)
	}
	for _, name := range []string{"", "utm", "utm5@", "utm5@5", "kamailio@", "../profile"} {
		if _, err := Profile(name); err == nil {
			t.Errorf("profile %q is known", name)
		}
	}
}

// TestParse refuses families that do not hang together.
func TestParse(t *testing.T) {
	one := `{"type": 1, "name": "a", "date": "d"}`
	for _, test := range []struct{ text, want string }{
		{`{"name":"f","tables":[` + one + `]}`, ""},
		{`{"name":"f","tables":[` + one + `,{"type":2,"name":"b","parent":"a","parent_key":"a_id"}]}`, ""},
		{`{"tables":[` + one + `]}`, "no name"},
		{`{"name":"f"}`, "0 tables"},
		{`{"name":"f","tables":[` + one + `],"unit":"days"}`, "unit"},
		{`{"name":"f","tables":[` + one + `],"settle":-1}`, "settle"},
		{`{"name":"f","tables":[` + one + `],"late":"route"}`, ""},
		{`{"name":"f","tables":[` + one + `],"late":"current"}`, ""},
		{`{"name":"f","tables":[` + one + `],"late":"reject"}`, ""},
		{`{"name":"f","tables":[` + one + `],"late":"reopen"}`, "late"},
		{`{"name":"f","tables":[` + one + `,` + one + `]}`, "taken"},
		{`{"name":"f","tables":[{"type":0,"name":"a","date":"d"}]}`, "below 1"},
		{`{"name":"f","tables":[{"type":1,"name":"a"}]}`, "a date or a parent"},
		{`{"name":"f","tables":[` + one + `,{"type":2,"name":"b","parent":"a"}]}`, "go together"},
		{`{"name":"f","tables":[{"type":2,"name":"b","parent":"a","parent_key":"a_id"},` + one + `]}`, "before it"},
		{`{"name":"f","tables":[{"type":1,"name":"` + strings.Repeat("x", 49) + `","date":"d"}]}`, "too long"},
		{`{"name":"f","tables":[{"type":1,"name":"bill.inv","date":"d"}]}`, `name it "inv", and connect to where it is (PostgreSQL: postgres://USER@HOST/DATABASE?search_path=bill, MariaDB: mysql://USER@HOST/bill)`},
		{`{"name":"f","tables":[{"type":1,"name":"","date":"d"}]}`, "empty"},
		{`{"name":"f","catalogue":"bill.archives","tables":[` + one + `]}`, `catalogue "bill.archives": a family's tables are named without schema`},
		{`{"name":"f","tables":[` + one + `],"mirrors":[{"table":"a","twin":"z"}]}`, "mirror"},
		{`{"name":"f","tables":[` + one + `],"nonsense":1}`, "nonsense"},
		{`{"name":"f","tables":[` + one + `]} {}`, "behind"},
		{strings.Repeat(" ", maxFamilyBytes+1), "more than"},
	} {
		_, err := Parse(strings.NewReader(test.text))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.80s: got %v, want %q", test.text, err, test.want)
		}
	}
}

// TestCatalogueTaken refuses catalogues that are something else already.
func TestCatalogueTaken(t *testing.T) {
	for _, name := range []string{"calls", "CALLS", "calls_all", "holdfast_archive_runs"} {
		_, err := Parse(strings.NewReader(`{"name": "f", "catalogue": "` + name + `", "tables": [{"type": 1, "name": "calls", "date": "at"}]}`))
		if err == nil || !strings.Contains(err.Error(), "its catalogue cannot be called") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
