// Package profile holds ready tables of programs that write to Holdfast, as
// data, and derives those of one site from the program's own configuration.
package profile

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"

	"holdfast/internal/fault"
	"holdfast/sink"
)

//go:embed *.json
var files embed.FS

// Profile is the tables of one program. It is plain data; do not change it.
type Profile struct {
	Name     string         `json:"name"`
	About    string         `json:"about"`
	Tables   []Table        `json:"tables"`
	Versions map[string]int `json:"versions"` // of tables which the program only asks for
	Family   []string       `json:"family"`   // tables that are archived together
}

// Table is one table of a profile.
type Table struct {
	Name    string   `json:"name"`
	Version int      `json:"version"` // what the program expects in its table "version"; 0: it does not ask
	Columns []Column `json:"columns"`
}

// Column is one column of a table.
type Column struct {
	Name    string `json:"name"`
	Type    string `json:"type"`            // as PostgreSQL has it
	MySQL   string `json:"mysql,omitempty"` // as MySQL and MariaDB have it, where that differs
	NotNull bool   `json:"not_null,omitempty"`
	Default bool   `json:"default,omitempty"` // filled by the database where a row leaves it out
}

// Names returns the profiles that there are, sorted.
func Names() []string {
	all, _ := fs.Glob(files, "*.json") // the pattern is right
	for i, name := range all {
		all[i] = strings.TrimSuffix(name, ".json")
	}
	return all
}

// Load returns a profile by its name.
func Load(name string) (*Profile, error) {
	for _, known := range Names() {
		if known != name {
			continue
		}
		text, err := files.ReadFile(name + ".json")
		if err != nil {
			return nil, err
		}
		return parse(text)
	}
	return nil, fault.New(fault.UndefinedObject, "profile %q does not exist", name).
		WithHint("there are: %s", strings.Join(Names(), ", "))
}

func parse(text []byte) (*Profile, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	p := new(Profile)
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	return p, p.Validate()
}

// name is what a table or a column of a profile may be called without quotes
// in any database.
var name = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// Validate returns what is wrong with a profile.
func (p *Profile) Validate() error {
	tables := map[string]bool{}
	for _, t := range p.Tables {
		if !name.MatchString(t.Name) || tables[t.Name] || len(t.Columns) == 0 {
			return fmt.Errorf("profile %q: table %q has no name of its own that can be used, or no columns", p.Name, t.Name)
		}
		tables[t.Name] = true
		columns := map[string]bool{}
		for _, c := range t.Columns {
			if !name.MatchString(c.Name) || columns[c.Name] || c.Type == "" {
				return fmt.Errorf("profile %q: column %q of table %q has no name of its own that can be used, or no type", p.Name, c.Name, t.Name)
			}
			columns[c.Name] = true
		}
	}
	for _, t := range p.Family {
		if !tables[t] {
			return fmt.Errorf("profile %q: table %q of the family is not there", p.Name, t)
		}
	}
	return nil
}

// Declared returns the tables as they are to be declared. A column that the
// database numbers itself is an integer there.
func (p *Profile) Declared() []sink.Table {
	var all []sink.Table
	for _, t := range p.Tables {
		out := sink.Table{Name: t.Name}
		for _, c := range t.Columns {
			out.Columns = append(out.Columns, sink.Column{Name: c.Name, Type: c.Type, NotNull: c.NotNull, Default: c.Default})
		}
		all = append(all, out)
	}
	return all
}

// TableVersion returns the version that the program expects of a table; false
// where it expects none.
func (p *Profile) TableVersion(table string) (int, bool) {
	for _, t := range p.Tables {
		if t.Name == table && t.Version > 0 {
			return t.Version, true
		}
	}
	v, ok := p.Versions[table]
	return v, ok
}

// WriteConfig writes the profile as it stands in the configuration: each column
// as a line of CREATE TABLE. zone is that of times which come without one.
func (p *Profile) WriteConfig(w io.Writer, zone string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "profile: %s\ntables:\n  auto: false\n  zone: %q\n  declared:\n", p.Name, zone)
	for _, t := range p.Tables {
		fmt.Fprintf(&b, "    %s:\n", t.Name)
		if t.Version > 0 {
			fmt.Fprintf(&b, "      version: %d\n", t.Version)
		}
		b.WriteString("      columns:\n")
		for _, c := range t.Columns {
			fmt.Fprintf(&b, "        - %q\n", c.String())
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// String returns the column as a line of CREATE TABLE, where DEFAULT alone
// says that the database has one.
func (c Column) String() string {
	s := c.Name + " " + c.Type
	if c.NotNull {
		s += " not null"
	}
	if c.Default {
		s += " default"
	}
	return s
}

// ParseColumn reads what String writes.
func ParseColumn(s string) (Column, error) {
	var c Column
	var ok bool
	if c.Name, c.Type, ok = strings.Cut(strings.TrimSpace(s), " "); !ok {
		return c, fmt.Errorf("column %q has no type: write it like %q", s, "caller varchar(64) not null")
	}
	c.Type, c.Default = strings.CutSuffix(c.Type, " default")
	c.Type, c.NotNull = strings.CutSuffix(c.Type, " not null")
	c.Type = strings.TrimSpace(c.Type)
	if !name.MatchString(c.Name) || c.Type == "" {
		return c, fmt.Errorf("column %q cannot be read: write it like %q", s, "caller varchar(64) not null")
	}
	return c, nil
}
