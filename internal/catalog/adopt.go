package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Adopt makes the definitions of a sink's tables those that hold, durably:
// tables are all that the sink has. A table that it has no longer is known
// again as it was declared or met, or not at all. Tables that cannot be used
// are left out, and named by the error; where changed is true the others were
// adopted all the same.
func (c *Catalog) Adopt(sink string, tables []Table) (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.latest.Load()
	next := maps.Clone(before.tables)
	origin := Origin{How: FromSink, Sink: sink, Since: c.clock()}
	var unfit []error
	seen := make(map[string]bool, len(tables))
	for _, t := range tables {
		had := next[t.Name]
		if had != nil && had.adopted != nil && had.adopted.origin.Sink == sink && slices.Equal(had.adopted.columns, t.Columns) {
			seen[t.Name] = true
			continue
		}
		if err := c.adoptable(sink, t, next); err != nil {
			unfit = append(unfit, err)
			continue
		}
		n := &table{adopted: newDefinition(slices.Clone(t.Columns), origin)}
		if had != nil {
			n.own = had.own
		}
		next[t.Name], seen[t.Name], changed = n, true, true
	}
	for name, t := range next {
		if t.adopted != nil && t.adopted.origin.Sink == sink && !seen[name] {
			forget(next, name)
			changed = true
		}
	}
	if changed {
		if err := c.showLocked(next, before.generation+1); err != nil {
			return false, err
		}
	}
	return changed, summary(sink, unfit)
}

// adoptable judges one table of a sink.
func (c *Catalog) adoptable(sink string, t Table, known map[string]*table) error {
	if err := c.judge(t.Name, plain(t.Columns)); err != nil {
		return err
	}
	if had := known[t.Name]; had != nil && had.adopted != nil && had.adopted.origin.Sink != sink {
		return fmt.Errorf("table %q is that of sink %q already", t.Name, had.adopted.origin.Sink)
	}
	if known[t.Name] == nil && len(known) >= maxTables {
		return fmt.Errorf("table %q would be one more than the %d that can be known", t.Name, maxTables)
	}
	return c.judgeFolded(t.Name, known)
}

// forget takes the authority's definition from a table.
func forget(tables map[string]*table, name string) {
	if own := tables[name].own; own != nil {
		tables[name] = &table{own: own}
		return
	}
	delete(tables, name)
}

// namedUnfit is how many unusable tables an error names.
const namedUnfit = 5

func summary(sink string, unfit []error) error {
	if len(unfit) == 0 {
		return nil
	}
	more := ""
	if n := len(unfit) - namedUnfit; n > 0 {
		unfit, more = unfit[:namedUnfit], fmt.Sprintf("; and %d more", n)
	}
	var words []string
	for _, err := range unfit {
		words = append(words, err.Error())
	}
	return &UnfitError{errors.New("tables of sink \"" + sink + "\" are left out: " + strings.Join(words, "; ") + more)}
}

// UnfitError says that tables of the authority cannot be used. All else that
// it has was adopted.
type UnfitError struct{ err error }

// Error names the tables, and why.
func (e *UnfitError) Error() string { return e.err.Error() }

// Keep forgets what was adopted from sinks that are not among these: those
// that are no authority any more.
func (c *Catalog) Keep(sinks ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.latest.Load()
	next := maps.Clone(before.tables)
	changed := false
	for name, t := range before.tables {
		if t.adopted != nil && !slices.Contains(sinks, t.adopted.origin.Sink) {
			forget(next, name)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return c.showLocked(next, before.generation+1)
}
