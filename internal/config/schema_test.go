package config

import (
	"encoding/json"
	"regexp"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"
)

func schema(t *testing.T) map[string]any {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// fits tells whether v satisfies the part of JSON Schema that Schema uses.
func fits(s map[string]any, v any) bool {
	types, many := s["type"].([]any)
	if !many {
		types = []any{s["type"]}
	}
	kind := "string"
	switch x := v.(type) {
	case nil:
		kind = "null"
	case map[string]any:
		kind = "object"
		properties, _ := s["properties"].(map[string]any)
		rest, _ := s["additionalProperties"].(map[string]any)
		for name, value := range x {
			p, ok := properties[name].(map[string]any)
			if !ok {
				p = rest
			}
			if p == nil || !fits(p, value) {
				return false
			}
		}
	case []any:
		kind = "array"
		for _, item := range x {
			if !fits(s["items"].(map[string]any), item) {
				return false
			}
		}
	case bool:
		kind = "boolean"
	case uint64:
		kind = "integer"
		if top, ok := s["maximum"].(float64); ok && float64(x) > top {
			return false
		}
	case string:
		if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(x) {
			return false
		}
		if words, ok := s["enum"].([]any); ok && !slices.Contains(words, any(x)) {
			return false
		}
	}
	return slices.Contains(types, any(kind))
}

func TestSchemaTakesWhatLoadTakes(t *testing.T) {
	s := schema(t)
	for _, test := range []struct {
		text string
		want bool
	}{
		{full, true},
		{"streams:\n  main:\n", true},
		{"streams: {main: {min_free: 0, history: 0}}", true},
		{"dat: /x", false},
		{"tables: {auto: yes}", false},
		{"streams: {main: {history: 100}}", false},
		{"streams: {main: {history: 100 Gbit}}", false},
		{"streams: {main: {on_full: drop_oldest, max_age: 400d, keep_at_least: {files: 2, age: 1h}}}", true},
		{"streams: {main: {max_age: old}}", false},
		{"streams: {main: {index: {columns: [src_ip, call id], dir: \"/ssd/index=20 GB\"}}}", true},
		{"streams: {main: {index: {columns: [src_ip], size: 20 GB}}}", true},
		{"streams: {main: {index: {columns: [src_ip], size: 20 GB, warm: \"/hdd/index==1 TB\"}}}", true},
		{"streams: {main: {index: {column: src_ip}}}", false},
		{"schedule: [{cron: \"0 3 * * *\", run: \"roll time --days 400\"}]", true},
		{"schedule: [{when: 5}]", false},
		{"streams: {main: {hot: /x;/y=1TB}}", true},
		{"streams: {main: {hot: /x;}}", false},
		{"streams: {main: {wait: 5}}", false},
		{"sinks: {a: {type: mssql}}", false},
		{allKinds, true},
		{"sinks: {a: {type: sqlite, path: /a, start: newest}}", false},
		{"sinks: {a: {type: sqlite, path: /a, reject_flood: 5}}", false},
		{"listen: {pg: nowhere}", false},
		{"max_connections: many", false},
		{"streams: {a: {tables: acc}}", false},
	} {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(test.text), &v); err != nil {
			t.Fatal(err)
		}
		_, err := Parse("f", []byte(test.text))
		if got := fits(s, v); got != test.want || (err == nil) != test.want {
			t.Errorf("%q: fits the schema: %v, loads: %v, want both %v", test.text, got, err == nil, test.want)
		}
	}
}

func TestSchemaDescribesEveryKey(t *testing.T) {
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		properties, _ := s["properties"].(map[string]any)
		for name, p := range properties {
			p := p.(map[string]any)
			if d, _ := p["description"].(string); d == "" {
				t.Errorf("%s.%s has no description", path, name)
			}
			walk(path+"."+name, p)
		}
		if rest, ok := s["additionalProperties"].(map[string]any); ok {
			walk(path+".*", rest)
		}
	}
	walk("", schema(t))
}
