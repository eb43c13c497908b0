package config

import (
	"reflect"
	"sort"
)

// Value is one value of a configuration.
type Value struct {
	Key    string // dotted, like "streams.main.wait"
	Value  string // as Print writes it: secrets hidden
	Reload bool   // a running server takes a change over on HUP
}

// Values returns all values, defaults included, sorted by key.
func (c *Config) Values() []Value {
	flat := map[string]setting{}
	flatten(reflect.ValueOf(*c), "", flat)
	out := make([]Value, 0, len(flat))
	for key, s := range flat {
		out = append(out, Value{key, s.shown, canReload(key)})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}
