package holdfast_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestScenarios holds that docs/security.md names tests for each scenario of
// hostile clients, and that each test which is named
// by a scenario stands in its line. That the tests exist is what
// TestDocumentedSymbols holds.
func TestScenarios(t *testing.T) {
	text, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([0-9]+) \|.*$`).FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(m[0], "`Test") {
			t.Errorf("scenario %s names no test", m[1])
		}
		lines[m[1]] = m[0]
	}
	for n := 36; n <= 48; n++ {
		if lines[fmt.Sprint(n)] == "" {
			t.Errorf("docs/security.md has no line for scenario %d", n)
		}
	}
	tests := names{}
	for _, f := range load(t).files {
		if f.test {
			declared(f.ast, tests)
		}
	}
	named := 0
	for name := range tests {
		m := regexp.MustCompile(`^TestScenario([0-9]+)[A-Z]`).FindStringSubmatch(name)
		if m == nil {
			continue
		}
		if named++; !strings.Contains(lines[m[1]], "`"+name+"`") {
			t.Errorf("docs/security.md does not name %s at scenario %s", name, m[1])
		}
	}
	if named < 5 {
		t.Errorf("%d tests are named by a scenario: the pattern that finds them is wrong", named)
	}
}
