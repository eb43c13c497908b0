package holdfast_test

import (
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	coded   = regexp.MustCompile("`([^`\n]+)`")
	linked  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pathish = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?$`)
	symbol  = regexp.MustCompile(`^(?:[a-z0-9]+/)*([a-z][a-z0-9]*)\.([A-Z]\w*)(?:\.([A-Za-z]\w*))?(?:\(\))?$`)
	tested  = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]\w*$`)
	target  = regexp.MustCompile("make ([a-z0-9]+)")
)

// documents returns the text of every document, by its path from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.ToSlash(file)] = string(text)
		}
	}
	return all
}

// TestDocumentedPaths holds that each path, link and file name in the
// documents leads somewhere.
func TestDocumentedPaths(t *testing.T) {
	tops := map[string]bool{}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		tops[e.Name()] = e.IsDir() && e.Name() != "bin" && e.Name() != "holdfast-data"
	}
	for _, planned := range []string{"cmd", "internal", "docs", "sink", "row", "test", "archive", "scripts", "contrib"} {
		tops[planned] = true // where a path leads into the tree even if the tree lacks it
	}
	checked := 0
	for name, text := range documents(t) {
		prose := fenced.ReplaceAllString(text, "")
		for _, m := range linked.FindAllStringSubmatch(prose, -1) {
			link, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(link, "://") {
				continue
			}
			if link != "" && !exists(path.Join(path.Dir(name), link)) {
				t.Errorf("%s: the link %q leads nowhere", name, m[1])
			}
			if link == "" && !hasHeading(text, anchor) {
				t.Errorf("%s: there is no heading for %q", name, m[1])
			}
			checked++
		}
		for _, m := range coded.FindAllStringSubmatch(prose, -1) {
			word := m[1]
			if !pathish.MatchString(word) {
				continue
			}
			first, _, deep := strings.Cut(word, "/")
			inTree := deep && tops[first]
			isFile := !deep && (strings.HasSuffix(word, ".md") || strings.HasSuffix(word, ".go"))
			if !inTree && !isFile || symbol.MatchString(word) || strings.HasPrefix(path.Base(word), "NNNN-") {
				continue
			}
			checked++
			if !exists(word) && !exists(path.Join(path.Dir(name), word)) && !(isFile && somewhere(t, word)) {
				t.Errorf("%s: %q is not in the repository", name, word)
			}
		}
	}
	if checked < 10 {
		t.Errorf("checked %d paths only: the patterns that find them are wrong", checked)
	}
}

func exists(name string) bool {
	_, err := os.Stat(filepath.FromSlash(name))
	return err == nil
}

// somewhere reports whether a file of that name is anywhere below the root.
func somewhere(t *testing.T, base string) (found bool) {
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		found = found || d != nil && d.Name() == base
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// hasHeading reports whether text has the heading that an anchor stands for.
func hasHeading(text, anchor string) bool {
	for line := range strings.Lines(text) {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		slug := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
		if strings.ReplaceAll(slug, " ", "-") == anchor {
			return true
		}
	}
	return false
}

// names is what a package declares: exported symbols, with the methods and
// fields of its types as "Type.Name", and tests by their plain names.
type names map[string]bool

// TestDocumentedSymbols holds that each symbol and each test named in the
// documents exists.
func TestDocumentedSymbols(t *testing.T) {
	packages, tests := map[string]names{}, names{}
	for _, f := range load(t).files {
		name := f.ast.Name.Name
		if packages[name] == nil {
			packages[name] = names{}
		}
		declared(f.ast, packages[name])
		if f.test {
			declared(f.ast, tests)
		}
	}
	for name, text := range documents(t) {
		for _, m := range coded.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if tested.MatchString(m[1]) && !tests[m[1]] {
				t.Errorf("%s: there is no test %q", name, m[1])
			}
			s := symbol.FindStringSubmatch(m[1])
			if s == nil || packages[s[1]] == nil {
				continue
			}
			full := s[2]
			if s[3] != "" {
				full += "." + s[3]
			}
			if !packages[s[1]][full] {
				t.Errorf("%s: package %s has no %q", name, s[1], full)
			}
		}
	}
}

// declared adds what f declares to n.
func declared(f *ast.File, n names) {
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				n[d.Name.Name] = true
				continue
			}
			typ := d.Recv.List[0].Type
			if star, ok := typ.(*ast.StarExpr); ok {
				typ = star.X
			}
			if id, ok := typ.(*ast.Ident); ok {
				n[id.Name+"."+d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				declareSpec(spec, n)
			}
		}
	}
}

// declareSpec adds the names of one specification, and of a type's fields
// and methods.
func declareSpec(spec ast.Spec, n names) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, id := range s.Names {
			n[id.Name] = true
		}
	case *ast.TypeSpec:
		n[s.Name.Name] = true
		var fields *ast.FieldList
		switch typ := s.Type.(type) {
		case *ast.StructType:
			fields = typ.Fields
		case *ast.InterfaceType:
			fields = typ.Methods
		}
		if fields == nil {
			return
		}
		for _, field := range fields.List {
			for _, id := range field.Names {
				n[s.Name.Name+"."+id.Name] = true
			}
		}
	}
}

// TestDocumentedTargets holds that each `make` target in the documents is in
// the Makefile, and that CI runs the command that the README gives.
func TestDocumentedTargets(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	all := documents(t)
	for name, text := range all {
		for _, m := range target.FindAllStringSubmatch(strings.Join(quoted(text), "\n"), -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s: there is no target %q", name, m[0])
			}
		}
	}
	ci, err := os.ReadFile(".ci/run")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(all["README.md"], "\nmake test\n") || !strings.Contains(string(ci), "exec make test\n") {
		t.Error("CI does not run the test command of the README")
	}
	if info, err := os.Stat(".ci/run"); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf(".ci/run is not executable: %v", err)
	}
}

// TestDocumentedMetrics holds that each metric, table and column of Holdfast's
// own that the documents name stands somewhere in the sources.
func TestDocumentedMetrics(t *testing.T) {
	literals := map[string]bool{}
	for _, f := range load(t).files {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				for _, word := range ownName.FindAllString(l.Value, -1) {
					literals[word] = true
				}
			}
			return true
		})
	}
	checked := 0
	for name, text := range documents(t) {
		for _, word := range ownName.FindAllString(strings.Join(quoted(text), "\n"), -1) {
			word = strings.TrimSuffix(word, "_0") // the file of a table
			short, own := strings.CutPrefix(word, "holdfast_")
			if !own {
				continue
			}
			checked++
			if family := strings.HasSuffix(short, "_"); family && anyBegins(literals, short, word) || !family && (literals[word] || literals[short]) {
				continue
			}
			t.Errorf("%s: nothing is called %q", name, word)
		}
	}
	if checked < 50 {
		t.Errorf("checked %d names only: the pattern that finds them is wrong", checked)
	}
}

// ownName is a name as metrics and tables have them.
var ownName = regexp.MustCompile(`[a-z][a-z0-9]*(?:_[a-z0-9]+)*_?`)

// anyBegins reports whether a word begins with one of the beginnings.
func anyBegins(words map[string]bool, beginnings ...string) bool {
	for word := range words {
		for _, b := range beginnings {
			if strings.HasPrefix(word, b) {
				return true
			}
		}
	}
	return false
}

// quoted returns what stands in backticks or fences.
func quoted(text string) []string {
	all := fenced.FindAllString(text, -1)
	for _, m := range coded.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		all = append(all, m[1])
	}
	return all
}

// TestDocumentedDependencies holds that each direct dependency has its
// paragraph, and that none is left over.
func TestDocumentedDependencies(t *testing.T) {
	text, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\*\*([a-z0-9./-]+)\*\*`).FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(string(mod), "\t"+m[1]+" v") && !strings.Contains(string(mod), "require "+m[1]+" v") {
			t.Errorf("docs/dependencies.md speaks of %q, which go.mod does not require", m[1])
		}
	}
	for line := range strings.Lines(string(mod)) {
		m := regexp.MustCompile(`^(?:require )?\s*([a-z0-9./-]+) v\S+$`).FindStringSubmatch(strings.TrimSpace(line))
		if m != nil && !strings.Contains(string(text), "**"+m[1]+"**") {
			t.Errorf("docs/dependencies.md says nothing of %q", m[1])
		}
	}
}
