package daemon

import (
	"os"
	"strings"
	"testing"
)

// TestConsoleDocumented holds that docs/console.md has each topic with its
// columns, which programs rely on.
func TestConsoleDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/console.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range views {
		var all []string
		for _, c := range v.Columns {
			all = append(all, c.Name+" "+c.Type)
		}
		if line := "| `SHOW " + strings.ToUpper(v.Name) + "` | " + strings.Join(all, ", ") + " |\n"; !strings.Contains(string(doc), line) {
			t.Errorf("docs/console.md lacks the line\n%s", line)
		}
	}
}
