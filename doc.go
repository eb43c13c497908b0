// Package holdfast is the insert-only database as a library: [Open] a
// directory, [DB.Insert] rows, [DB.Read] them back, [DB.Close].
//
// # What it keeps
//
// Rows go into streams. A stream is one FIFO with a directory and a budget of
// its own, and numbers its rows from 1, each by one, at commit. A table
// belongs to one stream; every table that no stream names belongs to main. One
// transaction writes to one stream.
//
// A nil error of [DB.Insert], and of [Tx.Commit] with durable set, means that
// the rows are on disk: a power cut does not take them. All rows of a
// transaction are there afterwards, or none.
//
// # Where rows go
//
// Each [Sink] of [Options] gets every row of its streams, in order and exactly
// once, by a goroutine of its own that tries again for as long as it takes. No
// row is removed before all registered sinks of its stream have committed it.
// A sink stays registered when it is left out at a later Open: its rows are
// kept until it is back. Without any registered sink all rows are history, and
// stay as long as the stream's limits let them.
//
// # Compatibility
//
// Before version 1 the API may change between minor versions; what is on disk
// stays readable, as docs/format.md tells.
package holdfast
