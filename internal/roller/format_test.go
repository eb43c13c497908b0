package roller

import (
	"os"
	"strings"
	"testing"

	"holdfast/internal/disk"
)

// TestDocumentedFiles reads the files that docs/format.md shows.
func TestDocumentedFiles(t *testing.T) {
	told := string(must(os.ReadFile("../../docs/format.md")))
	shown := func(kind string) []byte {
		_, rest, _ := strings.Cut(told, "\n```"+kind+"\n")
		text, _, ok := strings.Cut(rest, "```")
		if !ok {
			t.Fatalf("docs/format.md shows no %s", kind)
		}
		return []byte(text)
	}
	d := disk.NewMem()
	must(0, disk.Replace(d, "", budgetsName, shown("budgets")))
	must(0, disk.Replace(d, "", holdsName, shown("holds")))
	r := must(Open(d, Options{}))
	all := r.Holds()
	if len(all) != 1 || all[0].Name != "case-7" || len(all[0].Streams) != 2 || all[0].Links.Last != 200 || all[0].Made != 1_700_000_000_000_000 {
		t.Errorf("the holds shown are %+v", all)
	}
	if got := must(r.Budgets(map[string]int64{"main": 1 << 39, "packet": 200 << 30}, false)); got["main"] != 1<<40 || got["packet"] != 200<<30 {
		t.Errorf("with the sizes shown in use, %v are", got)
	}
	if err := writeHolds(d, all); err != nil || string(must(disk.ReadFile(d, holdsName, maxHolds))) != string(shown("holds")) {
		t.Errorf("written again they are %s, %v", must(disk.ReadFile(d, holdsName, maxHolds)), err)
	}
}
