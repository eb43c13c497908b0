package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/row"
)

const (
	fileName  = "catalog.json"
	asideName = "catalog.json.damaged"

	// maxFile bounds the file in bytes, and thereby what reading it allocates:
	// far above what real tables take, far below what would hurt a start.
	maxFile = 32 << 20

	// version 1 had one list of columns for each table and did not say where it
	// came from.
	version = 2
)

// file is the content of catalog.json. The checksum goes over Tables without
// spaces, so that formatting the file by hand does not damage it.
type file struct {
	Version int             `json:"version"`
	Sum     string          `json:"crc32c"`
	Tables  json.RawMessage `json:"tables"` // by name
}

// storedTable is a table in the file.
type storedTable struct {
	Own     *storedDefinition `json:"own,omitempty"`
	Adopted *storedDefinition `json:"adopted,omitempty"`
}

type storedDefinition struct {
	Origin
	Columns []Column `json:"columns"`
}

func (d *definition) stored() *storedDefinition {
	if d == nil {
		return nil
	}
	return &storedDefinition{d.origin, d.columns}
}

// definition judges what is stored. No sink is asked: what was once taken
// stays known.
func (d *storedDefinition) definition(name string) (*definition, error) {
	if d == nil {
		return nil, nil
	}
	if err := (&Catalog{}).judge(name, plain(d.Columns)); err != nil {
		return nil, err
	}
	return newDefinition(d.Columns, d.Origin), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// damagedError says why the file cannot be believed.
type damagedError struct{ err error }

func (e *damagedError) Error() string {
	return fmt.Sprintf("catalog %q is damaged: %s", fileName, e.err)
}
func (e *damagedError) Unwrap() error { return e.err }

// load reads the file.
func load(d disk.FS) (map[string]*table, error) {
	text, err := disk.ReadFile(d, fileName, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]*table{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read catalog: %w", err)
	}
	return parse(text)
}

// parse judges the content of a file.
func parse(text []byte) (map[string]*table, error) {
	damaged := func(format string, args ...any) (map[string]*table, error) {
		return map[string]*table{}, &damagedError{fmt.Errorf(format, args...)}
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return damaged("read JSON: %w", err)
	}
	if f.Version > version {
		return nil, fmt.Errorf("catalog %q has version %d, newer than version %d: start the newer holdfast that wrote it", fileName, f.Version, version)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, f.Tables); err != nil {
		return damaged("read tables: %w", err)
	}
	if got := sum(compact.Bytes()); f.Version < 1 || got != f.Sum {
		return damaged("checksum %q does not match the tables, which have %q", f.Sum, got)
	}
	lists, err := read(f.Version, f.Tables)
	if err != nil {
		return damaged("read tables: %w", err)
	}
	if len(lists) > maxTables {
		return damaged("%d tables are more than %d", len(lists), maxTables)
	}
	tables := make(map[string]*table, len(lists))
	for name, stored := range lists {
		t := &table{}
		if t.own, err = stored.Own.definition(name); err == nil {
			t.adopted, err = stored.Adopted.definition(name)
		}
		if err == nil && t.own == nil && t.adopted == nil {
			err = errors.New("it has no definition")
		}
		if err != nil {
			return damaged("table %q: %w", name, err)
		}
		tables[name] = t
	}
	return tables, nil
}

// read reads the tables of a version.
func read(version int, text []byte) (lists map[string]storedTable, err error) {
	if version > 1 {
		return lists, json.Unmarshal(text, &lists)
	}
	var old map[string][]row.Column
	if err := json.Unmarshal(text, &old); err != nil {
		return nil, err
	}
	lists = make(map[string]storedTable, len(old))
	for name, columns := range old {
		// Whether somebody declared these or a row did is not known, so no value
		// is judged by them.
		lists[name] = storedTable{Own: &storedDefinition{Columns: typed(columns, true)}}
	}
	return lists, nil
}

func sum(text []byte) string { return fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)) }

// store replaces the file durably.
func store(d disk.FS, tables map[string]*table) error {
	text, err := encode(tables)
	if err != nil {
		return err
	}
	if err := disk.Replace(d, ".", fileName, text); disk.IsFull(err) {
		return fault.New(fault.DiskFull, "the disk is full, so the catalog of tables cannot be written").Because(err).
			WithHint("make room on the volume of the data directory; tables that are known go on")
	} else if err != nil {
		return fault.New(fault.IOError, "the catalog of tables cannot be written").Because(err).
			WithHint("see that the data directory has room and can be written")
	}
	return nil
}

func encode(tables map[string]*table) ([]byte, error) {
	lists := make(map[string]storedTable, len(tables))
	for name, t := range tables {
		lists[name] = storedTable{t.own.stored(), t.adopted.stored()}
	}
	list, err := json.Marshal(lists)
	if err == nil {
		list, err = json.Marshal(file{Version: version, Sum: sum(list), Tables: list})
	}
	if err != nil {
		return nil, fmt.Errorf("encode catalog: %w", err)
	}
	if len(list) > maxFile {
		return nil, fault.New(fault.LimitExceeded, "the catalog of tables would take %d bytes, more than %d", len(list), maxFile).
			WithHint("use fewer tables and columns")
	}
	return list, nil
}

// setAside gives the file a name under which somebody can look at it.
func setAside(d disk.FS) error {
	if err := d.Rename(fileName, asideName); err != nil {
		return err
	}
	return d.SyncDir(".")
}
