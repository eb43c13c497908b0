package holdfast_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"os"
	"path"
	"strings"
	"testing"
)

// The sizes beyond which something is certainly two things. Half of each is
// where one starts to ask.
const (
	maxFileLines     = 800
	maxFunctionLines = 100
	maxParameters    = 5
	maxMethods       = 5
)

// TestPackageComments holds that each package has exactly one comment, and
// that it is attached: a blank line between comment and clause loses it.
func TestPackageComments(t *testing.T) {
	p := load(t)
	comments := map[string][]string{}
	seen := map[string]bool{}
	for _, f := range p.files {
		if strings.HasSuffix(f.ast.Name.Name, "_test") {
			continue // an outside test package says nothing of its own
		}
		seen[f.dir] = true
		for _, group := range f.ast.Comments {
			if group.Pos() > f.ast.Package {
				break
			}
			if group == f.ast.Doc {
				comments[f.dir] = append(comments[f.dir], f.path)
				checkPackageComment(t, f)
				continue
			}
			if !strings.HasPrefix(group.List[0].Text, "//go:build") {
				t.Errorf("%s: a comment stands before the package clause without being attached to it", f.path)
			}
		}
	}
	for dir := range seen {
		if n := len(comments[dir]); n != 1 {
			t.Errorf("package %q has %d package comments %q, it must have one", dir, n, comments[dir])
		}
	}
}

// checkPackageComment holds the form in which go doc shows a comment best.
func checkPackageComment(t *testing.T, f source) {
	want := "Package " + f.ast.Name.Name + " "
	if f.ast.Name.Name == "main" {
		want = "Command " + path.Base(f.dir) + " "
	}
	if !strings.HasPrefix(strings.Join(strings.Fields(f.ast.Doc.Text()), " "), want) {
		t.Errorf("%s: the package comment does not begin with %q", f.path, want)
	}
}

// TestSizes holds the sizes beyond which nobody reads a file or a function.
func TestSizes(t *testing.T) {
	p := load(t)
	for _, f := range p.files {
		if ast.IsGenerated(f.ast) {
			continue
		}
		if f.lines > maxFileLines {
			t.Errorf("%s has %d lines, at most %d: it is more than one thing", f.path, f.lines, maxFileLines)
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				lines := p.fset.Position(n.End()).Line - p.fset.Position(n.Pos()).Line + 1
				if lines > maxFunctionLines && !f.test { // a test's table may be long
					t.Errorf("%s: %s has %d lines, at most %d", p.fset.Position(n.Pos()), n.Name.Name, lines, maxFunctionLines)
				}
				if got := n.Type.Params.NumFields(); got > maxParameters && !f.test {
					t.Errorf("%s: %s has %d parameters, at most %d", p.fset.Position(n.Pos()), n.Name.Name, got, maxParameters)
				}
			case *ast.TypeSpec:
				if i, ok := n.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxMethods && f.dir != "internal/disk" && !f.test {
					t.Errorf("%s: interface %s has %d methods, at most %d", p.fset.Position(n.Pos()), n.Name.Name, i.Methods.NumFields(), maxMethods)
				}
			}
			return true
		})
	}
}

// TestFormatted holds that gofmt would change nothing.
func TestFormatted(t *testing.T) {
	for _, f := range load(t).files {
		text, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		formatted, err := format.Source(text)
		if err != nil {
			t.Errorf("%s: %v", f.path, err)
		} else if !bytes.Equal(text, formatted) {
			t.Errorf("%s is not formatted by gofmt", f.path)
		}
	}
}

// TestExportedAreDocumented holds that whoever may call something can read
// what it does.
func TestExportedAreDocumented(t *testing.T) {
	p := load(t)
	for _, f := range p.files {
		if f.test || f.ast.Name.Name == "main" || ast.IsGenerated(f.ast) {
			continue
		}
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
					t.Errorf("%s: %s has no comment", p.fset.Position(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if name := undocumented(d, spec); name != "" {
						t.Errorf("%s: %s has no comment", p.fset.Position(spec.Pos()), name)
					}
				}
			}
		}
	}
}

// exportedReceiver reports whether d is a function, or a method of a type
// that others can name.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	name, ok := typ.(*ast.Ident)
	return ok && name.IsExported()
}

// undocumented returns the exported name that spec declares without a comment
// on itself or on its group, or "".
func undocumented(d *ast.GenDecl, spec ast.Spec) string {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
			return s.Name.Name
		}
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
				return n.Name
			}
		}
	}
	return ""
}
