package config

import (
	"reflect"
	"sort"
	"strings"
)

// Change is one value that differs between two configurations.
type Change struct {
	Key     string // dotted, like "streams.main.wait"
	Old     string // as Print writes it; "" where it was not there
	New     string // as Print writes it; "" where it is not there any more
	Restart bool   // a running server cannot take it over
}

// reloadable names the values that a running server takes over on HUP; a star
// stands for any name. All others need a restart.
var reloadable = []string{
	"tables.auto", "drain", "log.level", "max_connections",
	"limits.starting", "limits.starting_per_address", "limits.per_address", "limits.per_user",
	"users.*.*", "tokens.*.*", // these come and go as well
	"streams.*.history", "streams.*.min_free", "streams.*.wait", "streams.*.keep",
	"streams.*.on_full", "streams.*.keep_at_least.*", "streams.*.index.size", "roll.shrink",
}

// Diff returns what changes from old to new, sorted by key. Streams and sinks
// that come or go need a restart with all their keys; that a sink has left the
// file does not end its registration.
func Diff(old, new *Config) []Change {
	a, b := map[string]setting{}, map[string]setting{}
	flatten(reflect.ValueOf(*old), "", a)
	flatten(reflect.ValueOf(*new), "", b)
	var out []Change
	for key, was := range a {
		is, ok := b[key]
		if !ok || is != was {
			out = append(out, Change{Key: key, Old: was.shown, New: is.shown, Restart: !ok && !comesAndGoes(key) || !canReload(key) && !resized(key, was.raw, is.raw)})
		}
	}
	for key, is := range b {
		if _, ok := a[key]; !ok {
			out = append(out, Change{Key: key, New: is.shown, Restart: !comesAndGoes(key)})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}

// comesAndGoes tells whether what key belongs to may be new or gone.
func comesAndGoes(key string) bool {
	return strings.HasPrefix(key, "users.") || strings.HasPrefix(key, "tokens.")
}

func canReload(key string) bool {
	for _, pattern := range reloadable {
		if matchKey(pattern, key) {
			return true
		}
	}
	return false
}

// setting is one value: as it is shown, and as it is compared. They differ
// where a password is hidden, whose change is a change all the same.
type setting struct{ shown, raw string }

func flatten(v reflect.Value, key string, into map[string]setting) {
	each(v, func(name string, f reflect.Value) {
		full := join(key, name)
		text, ok := leaf(f)
		if !ok {
			flatten(f, full, into)
			return
		}
		one := setting{text, text}
		switch s := f.Interface().(type) {
		case URL:
			one.raw = string(s)
		case Verifier:
			one.raw = s.reveal()
		}
		if text != "" {
			into[full] = one
		}
	})
}
