package config

import (
	"maps"
	"slices"
	"strings"
)

// Family is a family of SQL tables that holdfast archive files away by period.
type Family struct {
	Profile string `yaml:"profile" doc:"What the family is: utm5, utm5@5.2.1-006, kamailio, or a JSON file of your own; the family's name when left out."`
	URL     URL    `yaml:"url" omit:"zero" doc:"The database: postgres://..., mysql://... or sqlite:FILE."`
	URLFile string `yaml:"url_file" omit:"zero" doc:"A file that holds the url, for one with a secret in it; nobody but its owner may read it."`
	Backup  string `yaml:"backup" omit:"zero" doc:"A file with a backup of the database; run, backfill and drop want it not empty and at most a day old."`
}

// FamilyNames returns the families' names, sorted.
func (c *Config) FamilyNames() []string { return slices.Sorted(maps.Keys(c.Families)) }

func (c *Config) settleFamilies() {
	for name, f := range c.Families {
		if f.Profile == "" {
			f.Profile = name
		}
	}
}

// judgeFamilies sees that each family says where it is, once.
func (c *Config) judgeFamilies(add report) {
	for _, name := range c.FamilyNames() {
		f, key := c.Families[name], "families."+name
		scheme, _, _ := strings.Cut(string(f.URL), ":")
		switch {
		case f.URL == "" && f.URLFile == "":
			add(key, `add "url_file: FILE"`, "family %q does not say where its database is", name)
		case f.URL != "" && f.URLFile != "":
			add(key+".url_file", "remove one of them", "family %q has both a url and a url_file", name)
		case f.URL != "" && !slices.Contains([]string{"postgres", "postgresql", "mysql", "mariadb", "sqlite"}, scheme):
			add(key+".url", `write it like "postgres://billing@db.example.net/utm5"`, "the url of family %q is none of postgres://, mysql:// and sqlite:", name)
		}
		for what, file := range map[string]string{"url_file": f.URLFile, "backup": f.Backup} {
			if file == "" {
				continue
			}
			if err := checkPath(file); err != nil {
				add(key+"."+what, "", "%s", err)
			}
		}
	}
}
