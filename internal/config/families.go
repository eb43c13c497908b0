package config

import (
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/archive"
	"holdfast/archive/backup"
)

// Family is a family of SQL tables that holdfast archive files away by period.
type Family struct {
	Profile string `yaml:"profile" doc:"What the family is: utm5, utm5@5.2.1-006, kamailio, or a JSON file of your own; the family's name when left out."`
	URL     URL    `yaml:"url" omit:"zero" doc:"The database: postgres://..., mysql://... or sqlite:FILE."`
	URLFile string `yaml:"url_file" omit:"zero" doc:"A file that holds the url, for one with a secret in it; nobody but its owner may read it."`
	Backup  Backup `yaml:"backup" omit:"zero" doc:"What shows that there is a backup: a file, not empty and at most a day old, or {command: PROGRAM WORDS..., timeout: 10m}, which ends with 0 where the backup is good."`

	Late     string   `yaml:"late" omit:"zero" doc:"What becomes of rows dated within a closed window: name (nothing is archived until they are gone) route (the next closing moves them into their archive) current (they stay in the current table) or reject (sinks refuse them); as the profile says when left out."`
	Archives Archives `yaml:"archives" omit:"zero" doc:"How archived tables are stored: {engine: aria}, {compress: page}, {compress: lz4}, {tablespace: NAME}; as the profile says, or as the current tables, when left out."`
	NoBackup bool     `yaml:"no_backup" omit:"zero" doc:"There is no backup, and none is wanted."`
	MaxRows  int      `yaml:"max_rows" omit:"zero" doc:"A running server closes the family as soon as one of its current tables has so many rows."`
	MaxBytes Size     `yaml:"max_bytes" omit:"zero" doc:"The same for the bytes of a current table with its indexes, about."`
	Check    Duration `yaml:"check" omit:"zero" doc:"How often a running server looks at max_rows and max_bytes; 10m when left out."`
}

// defaultCheck is how often tables are measured.
const defaultCheck = Duration(10 * time.Minute)

// Backup is what stands for one: a file, or a command that looks.
type Backup struct {
	Command string   `yaml:"command" doc:"A program by its absolute path, and its words, with blanks between them; no shell reads it."`
	Timeout Duration `yaml:"timeout" doc:"How long it may take; 10m when left out."`

	file string
}

// Proof returns it as archiving takes it.
func (b Backup) Proof() backup.Proof {
	return backup.Proof{File: b.file, Command: strings.Fields(b.Command), Timeout: time.Duration(b.Timeout)}
}

// commandMark stands before a command, in the form that String writes.
const commandMark = "command="

// String returns a form that scan reads.
func (b Backup) String() string {
	switch {
	case b.Command == "":
		return b.file
	case b.Timeout == 0:
		return commandMark + b.Command
	}
	return "timeout=" + b.Timeout.String() + " " + commandMark + b.Command
}

func (b *Backup) scan(text string) error {
	n := Backup{}
	rest := text
	if limit, after, found := strings.Cut(text, " "); found && strings.HasPrefix(limit, "timeout=") {
		if err := n.Timeout.scan(strings.TrimPrefix(limit, "timeout=")); err != nil {
			return err
		}
		rest = after
	}
	command, is := strings.CutPrefix(rest, commandMark)
	n.Command = command
	if !is {
		n = Backup{file: text}
		if err := checkPath(text); err != nil {
			return err
		}
	}
	*b = n
	return nil
}

func (*Backup) shape() map[string]any {
	text := func(what string) map[string]any {
		return map[string]any{"type": "string", "minLength": 1, "description": what}
	}
	return map[string]any{"type": []string{"string", "object"}, "minLength": 1, "additionalProperties": false, "properties": map[string]any{
		"command": text("A program by its absolute path, and its words."), "timeout": text("How long it may take.")}}
}

func (b Backup) judge(add report, key string) {
	switch words := strings.Fields(b.Command); {
	case b.file != "" || b.Command == "" && b.Timeout == 0:
	case len(words) == 0:
		add(key, `add "command: PROGRAM WORDS..."`, "the backup has neither a file nor a command")
	case !strings.HasPrefix(words[0], "/"):
		add(key+".command", "write its whole path", "program %q is not named by an absolute path", words[0])
	}
}

// Archives says how archived tables of a family are stored.
type Archives struct {
	Engine     string `yaml:"engine" omit:"zero" doc:"MariaDB: innodb or aria."`
	Compress   string `yaml:"compress" omit:"zero" doc:"MariaDB: page or row, both with InnoDB. PostgreSQL: lz4 or pglz, for long values."`
	Tablespace string `yaml:"tablespace" omit:"zero" doc:"PostgreSQL: a tablespace that is there."`
}

// Form returns it as archiving takes it.
func (a Archives) Form() archive.Form { return archive.Form(a) }

// FamilyNames returns the families' names, sorted.
func (c *Config) FamilyNames() []string { return slices.Sorted(maps.Keys(c.Families)) }

func (c *Config) settleFamilies() {
	for name, f := range c.Families {
		if f.Profile == "" {
			f.Profile = name
		}
		if f.Check == 0 && f.Sized() {
			f.Check = defaultCheck
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
		if f.URLFile != "" {
			if err := checkPath(f.URLFile); err != nil {
				add(key+".url_file", "", "%s", err)
			}
		}
		if !slices.Contains([]string{"", "name", "route", "current", "reject"}, f.Late) {
			add(key+".late", "name, route, current or reject", "late %q is not known", f.Late)
		}
		if err := f.Archives.Form().Check(f.Late); err != nil {
			add(key+".archives", "", "%s", err)
		}
		f.Backup.judge(add, key+".backup")
		f.judgeClosing(add, key)
	}
}
