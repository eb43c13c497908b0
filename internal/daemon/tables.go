package daemon

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/internal/profile"
	"holdfast/internal/syslog"
	"holdfast/sink"
)

// authority returns the sink whose definition of a table holds; "" where none
// is named for it. As with streams, the name itself goes before the longest
// pattern.
func authority(c *config.Config, table string) string {
	best, length := "", -1
	for _, name := range c.SinkNames() {
		for _, g := range c.Sinks[name].Authority {
			if string(g) == table {
				return name
			}
			if ok, _ := path.Match(string(g), table); ok && len(g) > length {
				best, length = name, len(g)
			}
		}
	}
	return best
}

// unnamed returns the tables of a sink under the names that they have here.
func unnamed(k *config.Sink, theirs []sink.Table) []sink.Table {
	tables, columns := map[string]string{}, map[string]string{}
	for ours, name := range k.Rename.Tables {
		tables[string(name)] = ours
	}
	for ours, name := range k.Rename.Columns {
		dot := strings.LastIndexByte(ours, '.')
		columns[ours[:dot]+"."+string(name)] = ours[dot+1:]
	}
	back := func(table string) string {
		if ours, ok := tables[table]; ok {
			return ours
		}
		return table
	}
	out := make([]sink.Table, len(theirs))
	for i, t := range theirs {
		one := sink.Table{Name: back(t.Name)}
		for _, c := range t.Columns {
			if _, added := k.Add[c.Name]; added {
				continue // it is not for a writer to fill
			}
			if ours, ok := columns[one.Name+"."+c.Name]; ok {
				c.Name = ours
			}
			one.Columns = append(one.Columns, c)
		}
		for _, p := range t.Parents {
			one.Parents = append(one.Parents, back(p))
		}
		out[i] = one
	}
	return out
}

// follow makes the sinks that are so configured authorities, and returns what
// ends that.
func follow(db *holdfast.DB, c *config.Config, sinks []holdfast.Sink) (stop func(), err error) {
	var names []string
	var stops []func()
	for _, k := range sinks {
		name, of := k.Name, c.Sinks[k.Name]
		able, ok := k.Sink.(sink.Describer)
		if len(of.Authority) == 0 || !ok {
			continue
		}
		names = append(names, name)
		stops = append(stops, db.Follow(name, func(ctx context.Context) ([]sink.Table, error) {
			theirs, err := able.Describe(ctx)
			all := unnamed(of, theirs)
			return slices.DeleteFunc(all, func(t sink.Table) bool { return authority(c, t.Name) != name }), err
		}))
	}
	return func() {
		for _, s := range stops {
			s()
		}
	}, db.Authorities(names...)
}

// declare makes the tables of the profile, and those that are declared in the
// configuration, known. One that is known already stays as it is.
func declare(db *holdfast.DB, c *config.Config) error {
	tables, err := c.Declared()
	if err != nil {
		return err
	}
	logs, err := c.SyslogTables(syslog.Declared())
	if err != nil {
		return err
	}
	for _, t := range append(tables, logs...) {
		if err := db.DeclareTable(t); err != nil && fault.Code(err) != fault.DuplicateTable {
			return fmt.Errorf("declare table %q: %w", t.Name, err)
		}
	}
	return nil
}

// tableVersion returns what answers a program that asks for the version of its
// tables.
func tableVersion(c *config.Config) func(table string) (int, bool) {
	p, err := profile.Load(string(c.Profile))
	if err != nil {
		p = &profile.Profile{}
	}
	return func(table string) (int, bool) {
		if d := c.Tables.Declared[table]; d != nil && d.Version > 0 {
			return d.Version, true
		}
		return p.TableVersion(table)
	}
}

// ties watches which tables foreign keys tie together in the sinks: those that
// are in different streams arrive in any order, so that children may come
// before their parents.
type ties struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	warnings []string
}

const (
	tiesAgain = 10 * time.Second // after a sink could not be asked
	tiesEvery = 10 * time.Minute
	tiesAsk   = 30 * time.Second // for an answer, at most
)

// watchTies begins to ask the sinks, in a goroutine that close ends.
func (s *server) watchTies(sinks []holdfast.Sink) *ties {
	ctx, cancel := context.WithCancel(context.Background())
	t := &ties{cancel: cancel}
	t.done.Go(func() {
		told := map[string]bool{}
		for {
			found, err := split(ctx, s.cfg, sinks)
			t.mu.Lock()
			t.warnings = found
			t.mu.Unlock()
			for _, text := range found {
				if !told[text] {
					told[text] = true
					s.log.Warn(text)
				}
			}
			wait := tiesEvery
			if err != nil {
				wait = tiesAgain
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	})
	return t
}

// told returns what was found last.
func (t *ties) told() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.warnings)
}

func (t *ties) close() {
	t.cancel()
	t.done.Wait()
}

// split returns, in words, the tables that a foreign key of a sink ties together
// and that are in different streams; err is that of a sink which did not answer.
func split(ctx context.Context, c *config.Config, sinks []holdfast.Sink) (found []string, err error) {
	for _, k := range sinks {
		able, ok := k.Sink.(sink.Describer)
		if !ok || len(c.Sinks[k.Name].Streams) < 2 {
			continue
		}
		one, cancel := context.WithTimeout(ctx, tiesAsk)
		theirs, oneErr := able.Describe(one)
		cancel()
		if oneErr != nil {
			err = oneErr
		}
		for _, t := range unnamed(c.Sinks[k.Name], theirs) {
			for _, p := range t.Parents {
				if a, b := c.Route(t.Name), c.Route(p); a != b {
					found = append(found, fmt.Sprintf("sink %q: a foreign key of table %q (stream %q) refers to table %q (stream %q): put both into one stream, or children may come before their parents and be refused",
						k.Name, t.Name, a, p, b))
				}
			}
		}
	}
	return found, err
}
