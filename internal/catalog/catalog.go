// Package catalog knows the tables that were declared or met, and those that
// the sink which is the authority has: their columns and types. It answers at
// the door, so that a writer learns of a misspelt table, or of a value that can
// be none of its column, while no sink is reachable.
//
// What it knows is in one small file, durable before anybody is told that a
// table is known. Readers look at an immutable snapshot and take no lock.
package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/row"
)

// The limits of what is known, which bound memory and the file whatever
// clients send.
const (
	maxTables  = 10_000
	maxColumns = 1600 // of one table, as in PostgreSQL
	maxName    = 63   // bytes, as in PostgreSQL
	maxType    = 128  // bytes; the longest type of PostgreSQL with its modifiers is half of that
)

// Options configure Open. The zero value works.
type Options struct {
	// Check, where set, may refuse what a sink could never take. It is asked of
	// a whole table, with all its columns, before a declaration is stored, and
	// must be safe for concurrent use.
	Check func(*row.Schema) error
	// Fold, where set, returns what a sink takes a table's name for. A table
	// whose folded name is that of another one is refused, since the rows of
	// both would meet in one table there. It must be safe for concurrent use.
	Fold func(name string) string
}

// Catalog is the tables that are known. Its methods are safe for concurrent
// use.
type Catalog struct {
	d       disk.FS
	check   func(*row.Schema) error
	fold    func(string) string
	damaged error

	latest atomic.Pointer[snapshot]

	mu sync.Mutex // held by whoever makes the next snapshot
}

func (*Catalog) clock() time.Time { return time.Now().UTC().Truncate(time.Second) }

// Open reads the catalog of a data directory; a missing file is an empty
// catalog. A damaged file is set aside, see Damaged; one of a newer version is
// an error.
func Open(d disk.FS, o Options) (*Catalog, error) {
	c := &Catalog{d: d, check: o.Check, fold: o.Fold}
	tables, err := load(d)
	var bad *damagedError
	if errors.As(err, &bad) {
		c.damaged = err
		if err = setAside(d); err != nil {
			return nil, fmt.Errorf("set damaged catalog aside as %q: %w", asideName, err)
		}
	}
	if err != nil {
		return nil, err
	}
	c.latest.Store(&snapshot{tables: tables})
	return c, nil
}

// Damaged returns what was wrong with the file that Open found, nil where
// nothing was. The catalog then began empty: tables are learned again from
// what comes in, or from the sink that is the authority, or must be declared
// again where unknown ones are refused.
// Rows are not touched by that.
func (c *Catalog) Damaged() error { return c.damaged }

// Trouble tells that a damaged file was set aside, by this start or another one,
// and what to do; "": there is none, or somebody has settled that.
func (c *Catalog) Trouble() string {
	if there, err := disk.Exists(c.d, asideName); !there && err == nil {
		return ""
	}
	return fmt.Sprintf("%s was damaged and set aside as %s, so what was known of tables is learned anew: declare tables again where unknown ones are refused, then remove %s from the data directory", fileName, asideName, asideName)
}

// Columns returns the columns of a table in declared order; a fault with code
// 42P01 where it is not known. The caller must not change the result.
func (c *Catalog) Columns(name string) ([]row.Column, error) {
	if t := c.latest.Load().tables[name]; t != nil {
		return t.best().plain, nil
	}
	return nil, unknown(name)
}

func unknown(name string) *fault.Error {
	return fault.New(fault.UndefinedTable, "relation %q does not exist", name).
		WithHint("declare it with CREATE TABLE, or let unknown tables be created with tables: {auto: true}")
}

// Declare makes a table known, durably. A table that is known already is a
// fault with code 42P07.
func (c *Catalog) Declare(name string, columns []row.Column) error {
	return c.DeclareTable(Table{Name: name, Columns: typed(columns, false)})
}

// DeclareTable is Declare for columns of which more is known than their types.
func (c *Catalog) DeclareTable(t Table) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.latest.Load()
	if known.tables[t.Name] != nil {
		return fault.New(fault.DuplicateTable, "relation %q already exists", t.Name).
			WithHint("use CREATE TABLE IF NOT EXISTS; new columns come by themselves where tables: {auto: true}")
	}
	return c.putLocked(t.Name, t.Columns, Declared, known.generation+1)
}

// Resolve returns columns with their types as they are known. Where auto is
// set, a table or column that is not known is declared first, durably, with
// the type given; otherwise it is a fault with code 42P01 or 42703.
func (c *Catalog) Resolve(name string, columns []row.Column, auto bool) ([]row.Column, error) {
	if err := noDuplicates(name, columns); err != nil {
		return nil, err
	}
	if t := c.latest.Load().tables[name]; t != nil {
		if got, missing := t.fill(columns, auto); missing < 0 {
			return got, nil
		} else if !auto {
			return nil, t.noColumn(name, columns[missing].Name)
		}
	} else if !auto {
		return nil, unknown(name)
	}
	return c.extend(name, columns)
}

// extend declares what is not known of name and columns yet.
func (c *Catalog) extend(name string, columns []row.Column) ([]row.Column, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.latest.Load()
	t := known.tables[name]
	if t == nil {
		t = &table{}
	}
	var all []Column
	origin := FirstRow
	if t.own != nil {
		all, origin = slices.Clone(t.own.columns), t.own.origin.How
	}
	before := len(all)
	for _, n := range columns {
		if t.find(n.Name, true) == nil {
			all = append(all, Column{Column: n, Inferred: true})
		}
	}
	if len(all) > before || t.best() == nil { // else somebody else was faster
		if err := c.putLocked(name, all, origin, known.generation); err != nil {
			return nil, err
		}
		t = c.latest.Load().tables[name]
	}
	got, _ := t.fill(columns, true)
	return got, nil
}

// putLocked judges and stores a table's own definition, and then shows it.
func (c *Catalog) putLocked(name string, columns []Column, how string, generation uint64) error {
	if err := c.judge(name, plain(columns)); err != nil {
		return err
	}
	old := c.latest.Load().tables
	if old[name] == nil && len(old) >= maxTables {
		return fault.New(fault.LimitExceeded, "table %q would be one more than the %d that can be known", name, maxTables).
			WithHint("put what tells your tables apart into a column")
	}
	if err := c.judgeFolded(name, old); err != nil {
		return err
	}
	next := &table{own: newDefinition(slices.Clone(columns), Origin{How: how, Since: c.clock()})}
	if had := old[name]; had != nil {
		next.adopted = had.adopted
		if had.own != nil {
			next.own.origin.Since = had.own.origin.Since
		}
	}
	tables := maps.Clone(old)
	tables[name] = next
	return c.showLocked(tables, generation)
}

// showLocked stores what is known now, and then shows it.
func (c *Catalog) showLocked(tables map[string]*table, generation uint64) error {
	if err := store(c.d, tables); err != nil {
		return err
	}
	c.latest.Store(&snapshot{tables: tables, generation: generation})
	return nil
}

// judge refuses what cannot be a table.
func (c *Catalog) judge(name string, columns []row.Column) error {
	if err := judgeName("table", name); err != nil {
		return err
	}
	if len(columns) == 0 {
		return fault.New(fault.FeatureNotSupported, "table %q has no columns", name).WithHint("name at least one")
	}
	if len(columns) > maxColumns {
		return fault.New(fault.TooManyColumns, "table %q would have %d columns, more than %d", name, len(columns), maxColumns).
			WithHint("split it into several tables")
	}
	for _, col := range columns {
		if err := judgeName("column", col.Name); err != nil {
			return err
		}
		if len(col.Type) > maxType || !utf8.ValidString(col.Type) {
			return fault.New(fault.InvalidParameterValue, "type %.64q of column %q is no type", col.Type, col.Name).
				WithHint("use a type like text, numeric or timestamptz")
		}
	}
	if err := noDuplicates(name, columns); err != nil {
		return err
	}
	if c.check == nil {
		return nil
	}
	if err := c.check(&row.Schema{Table: name, Columns: columns}); err != nil {
		return fault.New(fault.InvalidName, "table %q cannot be stored by a sink", name).
			Because(err).WithHint("choose other names; rows for this one could never be delivered")
	}
	return nil
}

// judgeFolded refuses a new table that a sink could not tell from a known one.
func (c *Catalog) judgeFolded(name string, known map[string]*table) error {
	if c.fold == nil || known[name] != nil {
		return nil
	}
	key := c.fold(name)
	for other := range known {
		if c.fold(other) == key {
			return fault.New(fault.InvalidName, "table %q and the known table %q are one table to a sink", name, other).
				WithHint("write it as %q, or choose a name that differs in more than case", other)
		}
	}
	return nil
}

func judgeName(what, name string) error {
	switch {
	case name == "":
		return fault.New(fault.InvalidName, "a %s has no name", what).WithHint("give it one")
	case len(name) > maxName:
		return fault.New(fault.NameTooLong, "%s name %.80q is %d bytes long", what, name, len(name)).WithHint("use at most %d bytes", maxName)
	case !utf8.ValidString(name):
		return fault.New(fault.CharacterNotInRepertoire, "%s name %q is not UTF-8", what, name).WithHint("send names in UTF-8")
	}
	for i := range len(name) {
		if name[i] == 0 {
			return fault.New(fault.CharacterNotInRepertoire, "%s name %q holds a NUL byte", what, name).WithHint("leave it out")
		}
	}
	return nil
}

func noDuplicates(table string, columns []row.Column) error {
	seen := make(map[string]bool, len(columns))
	for _, c := range columns {
		if seen[c.Name] {
			return fault.New(fault.DuplicateColumn, "column %q of table %q is named twice", c.Name, table).WithHint("name each column once")
		}
		seen[c.Name] = true
	}
	return nil
}
