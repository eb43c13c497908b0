package clients

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// table is the file that is held against what was seen; the generated part is
// between the two marks.
const (
	table = root + "/docs/clients.md"
	from  = "<!-- from here: go test ./test/clients -update -->\n"
	to    = "<!-- to here -->\n"
)

// line is what was seen of one client.
type line struct {
	client  client
	version string // "" where it did not run
	steps   []step
	differs []string // steps
}

// String returns the line of the table.
func (l line) String() string {
	differs, settings := "nothing", "none"
	if len(l.differs) > 0 {
		differs = strings.Join(l.differs, ", ")
	}
	if l.client.settings != "" {
		settings = l.client.settings
	}
	major, _, _ := strings.Cut(l.version, ".")
	return fmt.Sprintf("| %s | %s | %d | %s | %s |\n", l.client.name, major, len(l.steps), differs, settings)
}

// tried names what the client did, each thing once.
func (l line) tried() string {
	var values, others []string
	for _, s := range l.steps {
		list, name := &others, s.name
		if before, _, ok := strings.Cut(name, " into "); ok && !strings.Contains(name, "Copy") {
			list, name = &values, "`"+before+"`" // whatever column they were for
		}
		if !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	}
	text := strings.Join(others, ", ")
	if len(values) > 0 {
		text += "; values: " + strings.Join(values, ", ")
	}
	return text
}

// generated returns the lines of what was seen, those that depend on all
// clients apart from those of one.
func generated(rows []line) (each, together []string) {
	each = append(each, "| client | version | compared | differs in | settings |\n", "|---|---|---|---|---|\n")
	var tried, reasons []string
	who := map[string][]string{}
	for _, l := range rows {
		if l.version == "" {
			continue
		}
		each = append(each, l.String())
		if what := l.tried(); !slices.ContainsFunc(tried, func(t string) bool { return strings.HasSuffix(t, ": "+what) }) {
			tried = append(tried, l.client.name+": "+what)
		}
		for _, name := range l.differs {
			reason := name + ": " + l.client.known[name]
			if who[reason] == nil {
				reasons = append(reasons, reason)
			}
			who[reason] = append(who[reason], l.client.name)
		}
	}
	together = append(together, "\n", "What differs:\n", "\n")
	for _, reason := range reasons {
		together = append(together, "- "+reason+"\n")
	}
	together = append(together, "\n", "What was tried (where a client stands twice, the same again):\n", "\n")
	for _, what := range tried {
		together = append(together, "- "+what+"\n")
	}
	return each, together
}

// hold compares the document with what was seen, or writes it. Versions are not
// compared: another machine has another one, and what matters is what it did.
func hold(t *testing.T, rows []line) {
	t.Helper()
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), from)
	old, after, ok2 := strings.Cut(rest, to)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no %q or %q", table, from, to)
	}
	each, together := generated(rows)
	whole := !slices.ContainsFunc(rows, func(l line) bool { return l.version == "" })
	if *update {
		if !whole {
			t.Fatal("not every client ran, so the table cannot be written")
		}
		if err := os.WriteFile(table, []byte(before+from+strings.Join(slices.Concat(each, together), "")+to+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	var has []string
	for l := range strings.Lines(old) {
		has = append(has, unversioned(l))
	}
	if whole {
		each = append(each, together...)
		if len(has) != len(each) {
			t.Errorf("%s has %d lines for %d that were seen: -update writes it", table, len(has), len(each))
		}
	}
	for _, l := range each {
		if !slices.Contains(has, unversioned(l)) {
			t.Errorf("%s does not say what was seen (-update writes it): %s", table, l)
		}
	}
}

// unversioned returns a line of the table without its version.
func unversioned(l string) string {
	cells := strings.Split(l, " | ")
	if len(cells) > 1 {
		cells[1] = ""
	}
	return strings.Join(cells, " | ")
}
