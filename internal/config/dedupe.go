package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Dedupe says which rows of a table are repeats of others.
type Dedupe struct {
	Window Days     `yaml:"window" doc:"How long after a row was received another one with its key is a repeat."`
	Key    []string `yaml:"key" doc:"Columns that repeats agree in, all of them; NULL is a value."`
	Keys   int      `yaml:"keys" doc:"Keys that are remembered at most, for about 50 bytes each; with more, the window is shorter."`
}

const (
	defaultKeys = 1_000_000
	// mostKeys is as many as a gigabyte has room for.
	mostKeys = 20_000_000
	// longestWindow is how far back a start may have to read.
	longestWindow = Days(7 * 24 * time.Hour)
)

func (c *Config) settleDedupe() {
	for name, d := range c.Tables.Dedupe {
		if !c.has("tables.dedupe." + name + ".keys") {
			d.Keys = defaultKeys
		}
	}
}

func (c *Config) judgeDedupe(add report) {
	for _, name := range slices.Sorted(maps.Keys(c.Tables.Dedupe)) {
		d, key := c.Tables.Dedupe[name], "tables.dedupe."+name
		switch {
		case len(d.Key) == 0:
			add(key, `like "key: [callid, method, time]"`, "table %q has no key, so nothing tells what a repeat is", name)
		case d.Window < Days(time.Second) || d.Window > longestWindow:
			add(key+".window", `like "1h"; from 1s to 168h`, "window %q of table %q cannot be", d.Window.String(), name)
		case d.Keys < 1000 || d.Keys > mostKeys:
			add(key+".keys", fmt.Sprintf("from 1000 to %d", mostKeys), "keys %q of table %q is out of range", fmt.Sprint(d.Keys), name)
		}
		for i, column := range d.Key {
			if slices.Contains(d.Key[:i], column) {
				add(fmt.Sprintf("%s.key.%d", key, i), "name each column once", "column %q stands twice in the key of table %q", column, name)
			}
			if t := c.Tables.Declared[name]; t != nil && !slices.ContainsFunc(t.Columns, func(has Column) bool {
				return strings.HasPrefix(string(has)+" ", column+" ")
			}) {
				add(fmt.Sprintf("%s.key.%d", key, i), "name columns that are declared", "column %q is none of table %q", column, name)
			}
		}
	}
}
