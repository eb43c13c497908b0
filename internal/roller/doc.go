// Package roller carries plans of internal/roll out over several streams.
//
// One write is the commit point: a slot of the file ROLL, which was made full
// size when the data directory was opened, so that it needs no room. Before it
// nothing has happened; after it every stream's MANIFEST is made to say the
// same, and then files leave, in any order, and again after a crash. The
// streams themselves remove them, each by the one function that may.
//
// It also keeps the file HOLDS: legal holds, which the streams honour.
package roller
