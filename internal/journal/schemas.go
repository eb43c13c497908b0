package journal

import (
	"slices"
	"sync"

	"holdfast/row"
)

// schemas gives each table and column list that rows come in one pointer and
// one id, for as long as the process runs.
type schemas struct {
	mu    sync.RWMutex
	byKey map[string]*row.Schema
	byID  []*row.Schema // id-1
}

// Intern returns the schema of a table's columns: the same pointer for the
// same columns. Its ID holds for segments written since Open.
func (j *Journal) Intern(table string, columns []row.Column) *row.Schema {
	s := &row.Schema{Stream: j.o.Name, Table: table, Columns: columns}
	key := s.Key()
	i := &j.schemas
	i.mu.Lock()
	defer i.mu.Unlock()
	if have := i.byKey[key]; have != nil {
		return have
	}
	s.Columns = slices.Clone(columns)
	s.ID = uint32(len(i.byID) + 1)
	i.byKey[key] = s
	i.byID = append(i.byID, s)
	return s
}

// get returns the schema with an id of this run.
func (i *schemas) get(id uint32) *row.Schema {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if id == 0 || int(id) > len(i.byID) {
		return nil
	}
	return i.byID[id-1]
}
