package config

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// Print writes c as YAML: every default filled in, sizes resolved in bytes,
// passwords hidden. What it writes can be loaded again and means the same,
// except for hidden passwords.
func (c *Config) Print(w io.Writer) error {
	var b bytes.Buffer
	printValue(&b, reflect.ValueOf(*c), 0)
	_, err := w.Write(b.Bytes())
	return err
}

func printValue(b *bytes.Buffer, v reflect.Value, depth int) {
	indent := strings.Repeat("  ", depth)
	each(v, func(name string, f reflect.Value) {
		if text, ok := leaf(f); ok {
			if text != "" {
				fmt.Fprintf(b, "%s%s: %s\n", indent, quote(name), text)
			}
			return
		}
		fmt.Fprintf(b, "%s%s:\n", indent, quote(name))
		printValue(b, f, depth+1)
	})
}

// each calls f for every key of a struct in the order of its fields, or of a
// map in the order of its names.
func each(v reflect.Value, f func(name string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Map:
		keys := v.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
		for _, k := range keys {
			if e := v.MapIndex(k); e.Kind() == reflect.Pointer {
				f(k.String(), e.Elem())
			} else {
				f(k.String(), e)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Tag.Get("yaml")
			if name == "" || name == "-" || v.Type().Field(i).Tag.Get("omit") == "zero" && empty(v.Field(i)) {
				continue
			}
			f(name, v.Field(i))
		}
	}
}

// empty tells whether a value that only some have was not given.
func empty(v reflect.Value) bool { return v.IsZero() || v.Kind() == reflect.Map && v.Len() == 0 }

// leaf returns the YAML of a value that is not a mapping; "" leaves it out,
// where being empty is what it means to be left out.
func leaf(v reflect.Value) (text string, ok bool) {
	if s, ok := v.Interface().(fmt.Stringer); ok {
		if v.IsZero() && v.Kind() == reflect.String {
			return "", true
		}
		return quote(s.String()), true
	}
	switch v.Kind() {
	case reflect.String:
		if v.String() == "" {
			return "", true
		}
		return quote(v.String()), true
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), true
	case reflect.Int:
		return strconv.FormatInt(v.Int(), 10), true
	case reflect.Slice:
		if v.Len() == 0 {
			return "", true
		}
		items := make([]string, v.Len())
		for i := range items {
			items[i], _ = leaf(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]", true
	}
	return "", false
}

// quote returns s as a YAML scalar; words that no YAML reader can take for
// anything else stay bare.
func quote(s string) string {
	if bareWord(s) {
		return s
	}
	return strconv.Quote(s)
}

func bareWord(s string) bool {
	switch s {
	case "", "true", "false", "null", "yes", "no", "on", "off", "nan", "inf":
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c == '_', c == '/' && i == 0:
		case i > 0 && (c >= '0' && c <= '9' || c == '-' || c == '/' || c == '.'):
		default:
			return false
		}
	}
	return true
}
