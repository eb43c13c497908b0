package holdfast

import (
	"context"
	"sync"
	"sync/atomic"

	"holdfast/internal/catalog"
	"holdfast/row"
	"holdfast/sink"
)

// door judges rows before they are taken, as far as they surely can be: by
// tables that were declared, and by those of the sinks that are followed.
type door struct {
	judges atomic.Pointer[judges]

	mu       sync.Mutex
	followed atomic.Pointer[[]*catalog.Authority] // immutable
}

// judges are those of one generation of the catalog.
type judges struct {
	generation uint64
	auto       bool
	bySchema   sync.Map // of *row.Schema to *catalog.Judge, which may be nil
}

// judged is what a transaction remembers of the door, so that a row like the
// one before costs no search.
type judged struct {
	schema *row.Schema
	from   *judges
	judge  *catalog.Judge
}

// Follow makes a sink an authority: tables are known and judged as it has
// them, kept on disk, asked for again every few minutes, after Notify, and
// before a writer is refused. Of one table one sink is the authority: who
// follows several filters what they describe. The returned function ends it;
// it must be called before the sink is closed. What was learned stays.
func (db *DB) Follow(name string, describe func(context.Context) ([]sink.Table, error)) (stop func()) {
	d := &db.door
	d.mu.Lock()
	defer d.mu.Unlock()
	a := db.catalog.Follow(catalog.AuthorityOptions{Sink: name, Log: db.o.Log, Describe: func(ctx context.Context) ([]catalog.Table, error) {
		theirs, err := describe(ctx)
		tables := make([]catalog.Table, len(theirs))
		for i, t := range theirs {
			tables[i] = known(t)
		}
		return tables, err
	}})
	d.change(func(all []*catalog.Authority) []*catalog.Authority { return append(all, a) })
	return func() {
		d.mu.Lock()
		d.change(func(all []*catalog.Authority) (left []*catalog.Authority) {
			for _, other := range all {
				if other != a {
					left = append(left, other)
				}
			}
			return left
		})
		d.mu.Unlock()
		a.Close()
	}
}

// change replaces the list of who is followed. Its caller holds mu.
func (d *door) change(f func([]*catalog.Authority) []*catalog.Authority) {
	var all []*catalog.Authority
	if now := d.followed.Load(); now != nil {
		all = append(all, *now...)
	}
	all = f(all)
	d.followed.Store(&all)
}

// Authorities forgets what was learned from sinks that are not among these:
// from those that are no authority any more.
func (db *DB) Authorities(names ...string) error { return db.catalog.Keep(names...) }

// Notify says that a sink's tables may look other than before, as an error of
// its delivery shows. It does not wait.
func (db *DB) Notify(sink string) {
	if all := db.door.followed.Load(); all != nil {
		for _, a := range *all {
			if a.Sink() == sink {
				a.Notify()
			}
		}
	}
}

// Known returns the definition by which a table's rows are judged, and where it
// comes from, in words; false where the table is not known.
func (db *DB) Known(table string) (t sink.Table, origin string, ok bool) {
	k, by, ok := db.catalog.Known(table)
	t.Name = k.Name
	for _, c := range k.Columns {
		t.Columns = append(t.Columns, sink.Column{Name: c.Name, Type: c.Type, NotNull: c.NotNull, Default: c.Default, Generated: c.Generated})
	}
	return t, by.String(), ok
}

// known is t in the catalog's words.
func known(t sink.Table) catalog.Table {
	out := catalog.Table{Name: t.Name, Columns: make([]catalog.Column, len(t.Columns))}
	for i, c := range t.Columns {
		out.Columns[i] = catalog.Column{Column: row.Column{Name: c.Name, Type: c.Type}, NotNull: c.NotNull, Default: c.Default, Generated: c.Generated}
	}
	return out
}

func (db *DB) follows() bool {
	all := db.door.followed.Load()
	return all != nil && len(*all) > 0
}

// ask asks every authority once more, for at most two seconds. It reports
// whether something is known now that was not in a generation of the catalog.
func (db *DB) ask(generation uint64) bool {
	if !db.follows() {
		return false
	}
	all := db.door.followed.Load()
	var wg sync.WaitGroup
	for _, a := range *all {
		wg.Go(a.Ask)
	}
	wg.Wait()
	return db.catalog.Generation() != generation
}

// judgeRow refuses what surely is no row of its table, after asking the
// authority again.
func (db *DB) judgeRow(last *judged, s *row.Schema, values []row.Value) error {
	j := db.judgeOf(last, s)
	if j == nil {
		return nil
	}
	err := j.Check(values)
	if err == nil {
		return nil
	}
	if !db.ask(last.from.generation) {
		return err
	}
	if j = db.judgeOf(last, s); j == nil {
		return nil
	}
	if err = j.Check(values); err != nil {
		return err
	}
	return nil
}

// judgeOf returns the judge of a schema's rows as tables are defined now.
func (db *DB) judgeOf(last *judged, s *row.Schema) *catalog.Judge {
	all := db.judges()
	if last.schema == s && last.from == all {
		return last.judge
	}
	found, ok := all.bySchema.Load(s)
	if !ok {
		found, _ = all.bySchema.LoadOrStore(s, db.catalog.Judge(s.Table, s.Columns, all.auto))
	}
	*last = judged{s, all, found.(*catalog.Judge)}
	return last.judge
}

// judges returns those of this generation.
func (db *DB) judges() *judges {
	for {
		all := db.door.judges.Load()
		generation, auto := db.catalog.Generation(), db.AutoTables()
		if all != nil && all.generation == generation && all.auto == auto {
			return all
		}
		db.door.judges.CompareAndSwap(all, &judges{generation: generation, auto: auto})
	}
}
