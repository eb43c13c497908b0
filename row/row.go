// Package row is a row and its bytes: the plain data that sources hand to the
// journal and the journal hands to sinks, and the record that a row is on disk.
//
// It imports nothing of the project, opens no file and starts no goroutine.
// docs/format.md describes the bytes.
package row

import "strings"

// Value is one column's value: text, or NULL. The zero Value is the empty
// string, which is not NULL.
type Value struct {
	Text []byte // UTF-8 without NUL bytes; ignored where Null is set
	Null bool
}

// Text returns s as a Value.
func Text(s string) Value { return Value{Text: []byte(s)} }

// Null is the NULL Value.
var Null = Value{Null: true}

// String returns the text, or "NULL"; for messages, not for storage.
func (v Value) String() string {
	if v.Null {
		return "NULL"
	}
	return string(v.Text)
}

// Column is a column's name and its SQL type as declared, in lower case
// ("text", "numeric", "timestamptz", "varchar(64)"). An empty type means that
// nothing is known yet; a sink that must create the column uses text.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"`
}

// Schema is a table's name and the columns of some of its rows, in the order
// of their values. Rows of one table may come in several schemas. A Schema is
// immutable once made.
type Schema struct {
	ID      uint32 // its number within one stream and one run; 0 until a stream interned it
	Stream  string // the stream that its table is routed to
	Table   string
	Columns []Column
}

// Key returns a string that is equal for equal tables and columns (types
// included) and different for different ones.
func (s *Schema) Key() string {
	var b strings.Builder
	b.WriteString(s.Table)
	for _, c := range s.Columns {
		b.WriteByte(0)
		b.WriteString(c.Name)
		b.WriteByte(1)
		b.WriteString(c.Type)
	}
	return b.String()
}

// Flags say what a row is besides its values.
type Flags uint16

const (
	TxBegin   Flags = 1 << iota // first row of a transaction of several rows
	TxEnd                       // last row of a transaction of several rows
	Malformed                   // a line that its source could not parse; see MalformedColumns
	Moves                       // first row of a transaction that moves the position of a source
	Yields                      // left out where its table has a row with its key: ON CONFLICT DO NOTHING
	State                       // no row of a client: what a source must know again; readers pass over it
)

// MalformedColumns are the columns of a malformed row: the raw bytes, which need
// be no text, why they are no row, and where they stood, a file and an offset.
var MalformedColumns = []Column{{Name: "line", Type: "text"}, {Name: "why", Type: "text"}, {Name: "file", Type: "text"}, {Name: "at", Type: "bigint"}}

// Row is one insert.
type Row struct {
	Seq      uint64 // its number in its stream; starts at 1
	Received int64  // time of receipt, Unix microseconds
	Flags    Flags
	Schema   *Schema
	Values   []Value // as many as Schema.Columns
}

// Position is a place in a stream: a seq, and the chain checksum of the block
// that ends there. Two journals that agree in both hold the same rows up to
// Seq. The zero Position stands before the first row.
type Position struct {
	Seq   uint64 `json:"seq"`
	Chain uint32 `json:"chain"`
}

// Block is what one group commit wrote, as a reader gets it: rows with
// consecutive seqs that end at End. A sink's cursor only ever stands at the
// end of a block.
type Block struct {
	First uint64   // seq of the first row; End.Seq+1-First rows were written
	End   Position // seq of the last row, chain checksum of this block
	Open  bool     // the transaction in it goes on in the next block
	Rows  []Row    // in seq order; valid until the reader's next call; fewer than written where Damage says so
	Bytes int64    // bytes on disk

	States uint64 // rows that carry the state of a source, and are not among Rows

	Damage []Damage // what could not be read, in seq order; nil for a whole block
}

// Damage names rows, or bytes around them, that are not as they were written.
type Damage struct {
	Stream  string `json:"stream"`
	Segment uint64 `json:"segment"`
	Offset  int64  `json:"offset"`          // in the segment's file, bytes
	Length  int64  `json:"length"`          // of what cannot be read there, bytes; 0: unknown, or nothing is there
	First   uint64 `json:"first,omitempty"` // seq of the first row lost; 0: no row is lost
	Last    uint64 `json:"last,omitempty"`
	What    string `json:"what"`
	Gap     bool   `json:"gap,omitempty"`    // the rows were given up: readers and sinks pass over them
	Rolled  bool   `json:"rolled,omitempty"` // of a gap: a roll or a limit took them, nothing was damaged
}
