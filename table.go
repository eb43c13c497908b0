package holdfast

import (
	"encoding/binary"
	"maps"
	"sync"
	"sync/atomic"

	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/row"
	"holdfast/sink"
)

// Columns returns the known columns of a table in declared order; a fault with
// code 42P01 where the table is not known. The caller must not change them.
func (db *DB) Columns(table string) ([]row.Column, error) {
	generation := db.catalog.Generation()
	columns, err := db.catalog.Columns(table)
	if err != nil && db.ask(generation) {
		return db.catalog.Columns(table)
	}
	return columns, err
}

// Declare makes a table known with its columns, durably. A table that is known
// gives a fault with code 42P07.
func (db *DB) Declare(table string, columns []row.Column) error {
	return db.catalog.Declare(table, columns)
}

// AutoTables reports whether tables and columns are declared by their first row.
func (db *DB) AutoTables() bool { return db.auto.Load() }

// SetAutoTables changes that, for schemas resolved from now on.
func (db *DB) SetAutoTables(auto bool) { db.auto.Store(auto) }

// DeclareTable is Declare for a table of which more is known than the types of
// its columns.
func (db *DB) DeclareTable(t sink.Table) error { return db.catalog.DeclareTable(known(t)) }

// SetLimits gives a stream other limits.
func (db *DB) SetLimits(stream string, l Limits) error {
	s, err := db.find(stream)
	if err == nil {
		s.journal.SetLimits(journal.Limits(db.held(s.Name, l)))
	}
	return err
}

// Schema returns the schema of rows of a table with these columns, for Tx. The
// types given count only for columns that are not known: those are declared,
// or, with fixed tables, refused with code 42P01 or 42703. The result is valid
// as long as the DB is, and the same for the same columns and types; its rows
// are judged as the table is defined when they come.
func (db *DB) Schema(table string, columns []row.Column) (*row.Schema, error) {
	var room [256]byte
	key := appendKey(room[:0], table, columns)
	generation := db.catalog.Generation()
	if s := db.schemas.get(key, generation); s != nil {
		return s, nil
	}
	typed, err := db.resolve(table, columns, generation)
	if err != nil {
		return nil, err
	}
	return db.schemas.add(string(key), generation, func() *row.Schema { return db.route(table).journal.Intern(table, typed) })
}

// resolve asks the authority before a table or a column is refused, or
// declared by a row.
func (db *DB) resolve(table string, columns []row.Column, generation uint64) ([]row.Column, error) {
	auto := db.AutoTables()
	if !db.follows() {
		return db.catalog.Resolve(table, columns, auto)
	}
	typed, err := db.catalog.Resolve(table, columns, false)
	if code := fault.Code(err); code != fault.UndefinedTable && code != fault.UndefinedColumn {
		return typed, err
	}
	if db.ask(generation) || auto {
		return db.catalog.Resolve(table, columns, auto)
	}
	return nil, err
}

// appendKey appends a key for a table and the names of columns, each behind
// its length, so that different ones have different keys.
func appendKey(key []byte, table string, columns []row.Column) []byte {
	key = binary.AppendUvarint(key, uint64(len(table)))
	key = append(key, table...)
	for i := range columns {
		key = binary.AppendUvarint(key, uint64(len(columns[i].Name)))
		key = append(key, columns[i].Name...)
	}
	return key
}

// maxSchemas is how many lists of columns one run takes, over all tables. A
// client that invents new ones for ever is a mistake or an attack, and each
// stays in memory.
const maxSchemas = 50_000

// schemaCache knows the schemas that were resolved in one generation of the
// catalog; in the next one it begins empty, since types may be others. Readers
// take no lock: new entries gather in fresh, which is merged into the immutable
// map once it has grown to a part of it.
type schemaCache struct {
	settled atomic.Pointer[settledSchemas]

	mu    sync.RWMutex
	of    uint64 // the generation of fresh, and of settled
	fresh map[string]*row.Schema
}

type settledSchemas struct {
	of    uint64
	byKey map[string]*row.Schema
}

func (c *schemaCache) get(key []byte, generation uint64) *row.Schema {
	if m := c.settled.Load(); m != nil && m.of == generation {
		if s := m.byKey[string(key)]; s != nil {
			return s
		}
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.of != generation {
		return nil
	}
	return c.fresh[string(key)]
}

// add keeps a schema that was resolved in generation, or a later one.
func (c *schemaCache) add(key string, generation uint64, intern func() *row.Schema) (*row.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of > generation {
		return intern(), nil // it is resolved again when it is wanted again
	}
	if c.of < generation {
		c.of, c.fresh = generation, nil
		c.settled.Store(&settledSchemas{of: generation})
	}
	var settled map[string]*row.Schema
	if m := c.settled.Load(); m != nil {
		settled = m.byKey
	}
	if s := settled[key]; s != nil {
		return s, nil
	}
	if s := c.fresh[key]; s != nil {
		return s, nil
	}
	if len(settled)+len(c.fresh) >= maxSchemas {
		return nil, fault.New(fault.LimitExceeded, "more than %d different lists of columns were used", maxSchemas).
			WithHint("name the columns of a table always in the same order; a restart forgets old lists")
	}
	s := intern()
	if c.fresh == nil {
		c.fresh = map[string]*row.Schema{}
	}
	c.fresh[key] = s
	if 8*len(c.fresh) > len(settled) {
		merged := make(map[string]*row.Schema, len(settled)+len(c.fresh))
		maps.Copy(merged, settled)
		maps.Copy(merged, c.fresh)
		c.settled.Store(&settledSchemas{of: generation, byKey: merged})
		clear(c.fresh)
	}
	return s, nil
}
