package config

import (
	"fmt"
	"math"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// decoder walks the syntax tree and the Config side by side. It goes on after
// a problem, so that a file is mended in one round.
type decoder struct {
	file     string
	config   *Config
	problems Problems
}

// maxDepth bounds how deep brackets and dashes nest. The parser recurses, and
// Go cannot recover from a stack that is used up.
const maxDepth = 500

// decode reads text into d.config.
func (d *decoder) decode(text []byte) {
	if len(text) > maxFile {
		d.add(position{}, wrong("", "the file is larger than %d bytes", maxFile))
		return
	}
	if !utf8.Valid(text) {
		d.add(firstInvalid(text), wrong("save it as UTF-8", "the file is not UTF-8"))
		return
	}
	if nested(text) > maxDepth {
		d.add(position{}, wrong("", "the file nests deeper than any configuration"))
		return
	}
	f, err := parse(text)
	if err != nil {
		d.syntax(err)
		return
	}
	seen := false
	for _, doc := range f.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.NullType:
		case seen:
			d.add(at(doc.Body), wrong(`remove the "---"`, "a configuration is one document, and this begins another"))
		default:
			seen = true
			d.value(doc.Body, reflect.ValueOf(d.config).Elem(), "")
		}
	}
}

// parse calls the parser and turns a panic of it into an error: the text comes
// from outside, and the parser is not ours.
func parse(text []byte) (f *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is not YAML that can be read: %v", p)
		}
	}()
	return parser.ParseBytes(text, 0)
}

// nested returns an upper bound of how deep text nests: flow brackets that are
// open at once, and the indicators on one line or indented ever deeper.
func nested(text []byte) int {
	deepest, open, line, indents := 0, 0, 0, 0
	column, start := 0, true
	for _, c := range text {
		switch c {
		case '\n':
			line, column, start = 0, 0, true
			continue
		case '[', '{':
			open++
		case ']', '}':
			open = max(0, open-1)
		case '-', '?', ':', '!', '&':
			line++
		}
		if start && c != ' ' {
			start = false
			indents = max(indents, column)
		}
		column++
		deepest = max(deepest, open, line)
	}
	return max(deepest, indents)
}

// syntax reports the parser's own complaint at its place.
func (d *decoder) syntax(err error) {
	var e yaml.Error
	if as, ok := err.(yaml.Error); ok {
		e = as
	}
	if e == nil || e.GetToken() == nil {
		d.add(position{}, wrong("", "%s", firstLine(err.Error())))
		return
	}
	p := e.GetToken().Position
	d.add(position{p.Line, p.Column}, wrong("", "%s", e.GetMessage()))
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// value decodes n into v, which is the value of key.
func (d *decoder) value(n ast.Node, v reflect.Value, key string) {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.add(at(n), wrong("write the value itself", "anchors, aliases and tags are not used in a configuration"))
		return
	}
	if key != "" {
		d.config.given[key] = at(n)
	}
	if s, ok := v.Addr().Interface().(scalar); ok {
		if _, is := n.(ast.MapNode); !is || !mapped(v.Type()) {
			d.scalar(n, key, s.scan)
			return
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, key, func(k string, kn, vn ast.Node) { d.field(v, key, k, kn, vn) })
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		d.mapping(n, key, func(k string, kn, vn ast.Node) { d.entry(v, key, k, kn, vn) })
	case reflect.Slice:
		d.sequence(n, v, key)
	case reflect.String:
		d.scalar(n, key, func(text string) error {
			if err := checkPath(text); err != nil {
				return err
			}
			v.SetString(text)
			return nil
		})
	case reflect.Bool:
		d.scalar(n, key, func(text string) error {
			if text != "true" && text != "false" {
				return wrong("write true or false", "%q is neither true nor false", text)
			}
			v.SetBool(text == "true")
			return nil
		})
	case reflect.Int:
		d.scalar(n, key, func(text string) error {
			i, err := strconv.ParseInt(text, 10, 32)
			if err != nil {
				return wrong("", "%q is not a whole number up to %d", text, math.MaxInt32)
			}
			v.SetInt(i)
			return nil
		})
	}
}

// mapped tells whether a value that is written as one scalar may be written as
// keys and values as well.
func mapped(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.NumField() > 0 && t.Field(0).Tag.Get("yaml") != ""
}

// scalar hands the text of n to scan.
func (d *decoder) scalar(n ast.Node, key string, scan func(string) error) {
	var text string
	switch s := n.(type) {
	case *ast.StringNode:
		text = s.Value
	case *ast.LiteralNode:
		text = s.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		text = n.GetToken().Value
	case *ast.NullNode:
		d.add(at(n), wrong("write a value, or remove the key", "%s has no value", last(key)))
		return
	default:
		d.add(at(n), wrong("", "%s takes a single value, not %s", last(key), kind(n)))
		return
	}
	if err := scan(text); err != nil {
		d.add(at(n), err)
	}
}

// mapping calls each for every key of n. An empty value stands for an empty
// mapping, so that "main:" alone is a stream with every default.
func (d *decoder) mapping(n ast.Node, key string, each func(k string, kn, vn ast.Node)) {
	if n.Type() == ast.NullType {
		return
	}
	m, ok := n.(ast.MapNode)
	if !ok {
		d.add(at(n), wrong("write keys and values, like \"key: value\"", "%s takes keys and values, not %s", last(key), kind(n)))
		return
	}
	for it := m.MapRange(); it.Next(); {
		k, ok := it.Key().(*ast.StringNode)
		if !ok {
			d.add(at(it.Key()), wrong("", "%q cannot be a key here", it.Key().GetToken().Value))
			continue
		}
		each(k.Value, k, it.Value())
	}
}

// field decodes the key k of the struct v.
func (d *decoder) field(v reflect.Value, key, k string, kn, vn ast.Node) {
	full := join(key, k)
	var known []string
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("yaml")
		if name == k && k != "" && k != "-" {
			d.value(vn, v.Field(i), full)
			return
		}
		if name != "" && name != "-" {
			known = append(known, name)
		}
	}
	for _, pattern := range later {
		if matchKey(pattern, full) {
			d.add(at(kn), wrong("remove it for now", "%q comes with a later version", k))
			return
		}
	}
	place := ""
	if key != "" {
		place = " in " + key
	}
	d.add(at(kn), wrong(didYouMean(k, known), "unknown key %q%s", k, place))
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// entry decodes the entry k of the map v. Its name becomes a directory's name
// and part of a cursor's key, which is why so little is allowed.
func (d *decoder) entry(v reflect.Value, key, k string, kn, vn ast.Node) {
	if t := v.Type().Elem(); t.Kind() != reflect.Pointer { // the name is somebody else's
		e := reflect.New(t)
		d.value(vn, e.Elem(), join(key, k))
		v.SetMapIndex(reflect.ValueOf(k), e.Elem())
		return
	}
	if !nameForm.MatchString(k) {
		d.add(at(kn), wrong("use a-z, 0-9, _ and -, at most 63 of them, beginning with a letter or digit", "%q cannot be a name in %s", k, key))
		return
	}
	e := reflect.New(v.Type().Elem().Elem())
	d.value(vn, e.Elem(), join(key, k))
	v.SetMapIndex(reflect.ValueOf(k), e)
}

// sequence decodes n into the slice v.
func (d *decoder) sequence(n ast.Node, v reflect.Value, key string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.add(at(n), wrong(`write it like "[a, b]"`, "%s takes a list, not %s", last(key), kind(n)))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
	for i, item := range s.Values {
		d.value(item, v.Index(i), join(key, strconv.Itoa(i)))
	}
}

func (d *decoder) add(p position, err error) {
	problem := &Problem{File: d.file, Line: p.line, Column: p.column, Message: err.Error()}
	if m, ok := err.(*meant); ok {
		problem.Message, problem.Hint = m.message, m.hint
	}
	d.problems = append(d.problems, problem)
}

// at returns where n begins.
func at(n ast.Node) position {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		n = m.Values[0].Key
	} else if m, ok := n.(*ast.MappingValueNode); ok {
		n = m.Key
	}
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return position{}
	}
	return position{t.Position.Line, t.Position.Column}
}

// kind names what n is, for people.
func kind(n ast.Node) string {
	switch n.(type) {
	case ast.MapNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	}
	return fmt.Sprintf("%q", n.GetToken().Value)
}

// firstInvalid returns where text stops being UTF-8.
func firstInvalid(text []byte) position {
	p := position{1, 1}
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			break
		}
		p.column++
		if r == '\n' {
			p = position{p.line + 1, 1}
		}
		text = text[n:]
	}
	return p
}

func join(key, k string) string {
	if key == "" {
		return k
	}
	return key + "." + k
}

// last names a key as the reader sees it in the file.
func last(key string) string {
	if key == "" {
		return "the file"
	}
	return fmt.Sprintf("%q", key[strings.LastIndexByte(key, '.')+1:])
}

// matchKey compares dotted keys; a star stands for one part.
func matchKey(pattern, key string) bool {
	ok, _ := path.Match(strings.ReplaceAll(pattern, ".", "/"), strings.ReplaceAll(key, ".", "/"))
	return ok
}
