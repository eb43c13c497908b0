package roll

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sentences is how many the manual has in each part of docs/rollover-manual.md:
// one that is left out there would otherwise never be missed.
var sentences = map[string]int{"R": 38, "S": 8, "C": 8, "O": 4}

// TestManual holds that docs/rollover-manual.md has each sentence once, that each
// is shown by a script or a test that exists, and that it and the scripts agree
// on who shows what.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/rollover-manual.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, scripts := testNames(t), map[string][]string{}
	count := map[string]int{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z])([0-9]+) \| (.+) \| (.+) \|$`).FindAllStringSubmatch(string(text), -1) {
		part, no := row[1], row[1]+row[2]
		count[part]++
		if n, _ := strconv.Atoi(row[2]); n != count[part] {
			t.Errorf("%s stands where %s%d should", no, part, count[part])
		}
		by := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[4], -1)
		if len(by) == 0 {
			t.Errorf("nothing shows %s, %s", no, row[3])
		}
		for _, one := range by {
			if strings.HasSuffix(one[1], ".txt") {
				scripts[one[1]] = append(scripts[one[1]], no)
			} else if !tests[one[1]] {
				t.Errorf("%s is shown by %s, which does not exist", no, one[1])
			}
		}
	}
	for part, n := range sentences {
		if count[part] != n {
			t.Errorf("part %s has %d sentences, the manual %d", part, count[part], n)
		}
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		own, told := strings.CutPrefix(first, "# sentences: ")
		name := filepath.Base(file)
		if listed := scripts[name]; !told || !slices.Equal(strings.Fields(own), listed) {
			t.Errorf("%s says that it shows %q, docs/rollover-manual.md %q", name, own, listed)
		}
		if !bytes.Contains(text, []byte("\n> ")) {
			t.Errorf("%s shows nothing: no line says what came out", name)
		}
		delete(scripts, name)
	}
	for name, of := range scripts {
		t.Errorf("%s, which is to show %v, does not exist", name, of)
	}
}

// testNames returns the names of all tests of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	name := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range name.FindAllSubmatch(text, -1) {
			all[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
