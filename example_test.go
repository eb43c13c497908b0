package holdfast_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"holdfast"
	"holdfast/row"
	"holdfast/sink/sqlite"
)

// Example opens a directory, stores a row so that a power cut does not take
// it, and reads it back.
func Example() {
	dir, err := os.MkdirTemp("", "holdfast-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	db, err := holdfast.Open(dir, holdfast.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := db.Insert(ctx, "calls", []string{"caller", "callee", "seconds"}, "alice", "bob", 42); err != nil {
		log.Fatal(err)
	}
	for row, err := range db.Read(ctx, holdfast.ReadOptions{Table: "calls"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(row.Seq, row.Schema.Table, row.Values)
	}
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 1 calls [alice bob 42]
}

// ExampleDB_Begin stores several rows, all of them or none.
func ExampleDB_Begin() {
	dir, err := os.MkdirTemp("", "holdfast-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	db, err := holdfast.Open(dir, holdfast.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	schema, err := db.Schema("calls", []row.Column{{Name: "caller", Type: "text"}})
	if err != nil {
		log.Fatal(err)
	}
	tx := db.Begin()
	for _, name := range []string{"alice", "bob"} {
		if err := tx.Insert(schema, []row.Value{row.Text(name)}); err != nil {
			log.Fatal(err)
		}
	}
	if err := tx.Commit(ctx, true); err != nil {
		log.Fatal(err)
	}
	fmt.Println(db.Status().Streams[0].EndSeq)
	// Output:
	// 2
}

// ExampleOpen_sink delivers every row to a SQLite file.
func ExampleOpen_sink() {
	dir, err := os.MkdirTemp("", "holdfast-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	file, err := sqlite.Open(filepath.Join(dir, "rows.db"), sqlite.Options{})
	if err != nil {
		log.Fatal(err)
	}
	db, err := holdfast.Open(filepath.Join(dir, "data"), holdfast.Options{
		Sinks: []holdfast.Sink{{Name: "file", Sink: file}},
		Check: sqlite.CheckSchema,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if err := db.Insert(ctx, "calls", []string{"caller"}, "alice"); err != nil {
		log.Fatal(err)
	}
	if err := db.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(db.Status().Sinks[0].Seq)
	// Output:
	// 1
}
