package sqlite

import (
	"context"
	"path/filepath"
	"reflect"
	"testing"

	"holdfast/sink"
)

// TestDescribe describes tables that the user made, with all that matters to
// whoever judges rows by it.
func TestDescribe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "describe.db")
	db := other(t, path)
	for _, ddl := range []string{
		"CREATE TABLE calls (id INTEGER PRIMARY KEY, at DATETIME NOT NULL, price numeric(10,2) DEFAULT 0, who VARCHAR(64), n INT4 NOT NULL DEFAULT 1, twice AS (n * 2), kept AS (n) STORED, what, odd POINT)",
		"CREATE TABLE Legs (call INTEGER REFERENCES CALLS, before INTEGER REFERENCES legs, other TEXT REFERENCES \"a b\", once_more INTEGER REFERENCES calls (id), k TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'x')",
		"CREATE TABLE \"a b\" (k TEXT PRIMARY KEY, \"double\" DOUBLE  PRECISION, flag BOOLEAN, data BLOB) WITHOUT ROWID",
		"CREATE VIEW seen AS SELECT * FROM calls",
		"CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT)", // makes sqlite_sequence
	} {
		mustExec(t, db, ddl)
	}
	s := mustOpen(t, path, Options{})
	mustAttach(t, s)
	want := []sink.Table{
		{Name: "Legs", Parents: []string{"a b", "calls"}, Columns: []sink.Column{
			{Name: "call", Type: "bigint"}, {Name: "before", Type: "bigint"}, {Name: "other", Type: "text"}, {Name: "once_more", Type: "bigint"},
			{Name: "k", Type: "text", Default: true}}},
		{Name: "a b", Columns: []sink.Column{
			{Name: "k", Type: "text", NotNull: true}, {Name: "double", Type: "double precision"}, {Name: "flag", Type: "boolean"}, {Name: "data", Type: "bytea"}}},
		{Name: "auto", Columns: []sink.Column{{Name: "id", Type: "bigint", Default: true}}},
		{Name: "calls", Columns: []sink.Column{
			{Name: "id", Type: "bigint", Default: true}, {Name: "at", NotNull: true}, {Name: "price", Type: "numeric", Default: true}, {Name: "who", Type: "varchar"},
			{Name: "n", Type: "bigint", NotNull: true, Default: true}, {Name: "twice", Generated: true}, {Name: "kept", Generated: true}, {Name: "what"}, {Name: "odd"}}},
	}
	for _, lock := range []string{"", "BEGIN IMMEDIATE"} { // another program writes
		if lock != "" {
			mustExec(t, db, lock)
		}
		got, err := s.Describe(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}
