package config

import (
	"maps"
	"slices"
	"strings"

	"holdfast/internal/profile"
	"holdfast/sink"
)

// Profile is the name of a profile.
type Profile string

func (p *Profile) scan(text string) error {
	err := pick("profile", text, profile.Names())
	if err == nil {
		*p = Profile(text)
	}
	return err
}

func (*Profile) shape() map[string]any { return enum(profile.Names()) }

// Column is a column as a line of CREATE TABLE.
type Column string

func (c *Column) scan(text string) error {
	if _, err := profile.ParseColumn(text); err != nil {
		return wrong("", "%s", err)
	}
	*c = Column(text)
	return nil
}

func (*Column) shape() map[string]any { return map[string]any{"type": "string", "pattern": `\S\s+\S`} }

// Declared returns the tables that are known from the start: those of the
// profile, unless they are declared otherwise, and those that are declared.
func (c *Config) Declared() ([]sink.Table, error) {
	all := profile.Profile{Name: "configuration"}
	if c.Profile != "" {
		p, err := profile.Load(string(c.Profile))
		if err != nil {
			return nil, err
		}
		for _, t := range p.Tables {
			if c.Tables.Declared[t.Name] == nil {
				all.Tables = append(all.Tables, t)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Tables.Declared)) {
		one := profile.Table{Name: name, Version: c.Tables.Declared[name].Version}
		for _, text := range c.Tables.Declared[name].Columns {
			column, err := profile.ParseColumn(string(text))
			if err != nil {
				return nil, err
			}
			one.Columns = append(one.Columns, column)
		}
		all.Tables = append(all.Tables, one)
	}
	return all.Declared(), all.Validate()
}

// judgeDeclared sees that the tables which are declared can be.
func (c *Config) judgeDeclared(add report) {
	for _, name := range slices.Sorted(maps.Keys(c.Tables.Declared)) {
		if len(c.Tables.Declared[name].Columns) == 0 {
			add("tables.declared."+name, `add "columns: [...]"`, "table %q has no columns", name)
			return
		}
	}
	if _, err := c.Declared(); err != nil {
		add("tables.declared", "", "%s", strings.TrimPrefix(err.Error(), `profile "configuration": `))
	}
}
