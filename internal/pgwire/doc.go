// Package pgwire is the PostgreSQL wire as a door to Holdfast: any PostgreSQL
// client becomes a writer by changing a host name.
//
// # What it speaks
//
// Protocol 3.0, simple and extended, insert-only: INSERT ... VALUES, COPY ...
// FROM STDIN, transactions, settings, CREATE TABLE as a declaration of columns,
// and the few questions that drivers ask before they write. All else is refused
// with 0A000 and a hint, and the connection stays usable.
//
// # What an answer means
//
// Rows of a transaction block are held by a [Tx] until COMMIT. Outside a block
// everything up to the next Sync, or one simple Query, is one implicit
// transaction with one commit. CommandComplete of a COMMIT, and ReadyForQuery
// after an implicit transaction, are written only once [Tx.Commit] returned nil;
// where it returns an error, answers of that transaction which are still in the
// buffer are withdrawn and the error takes their place.
//
// # What a value is
//
// Values become PostgreSQL's text form. Numbers stay exactly as they were
// written, literals lose their quotes and escapes, binary parameters are decoded
// by their OID, booleans become t and f. Nothing is evaluated but what depends on
// literals and the moment alone, when the row is taken: now() and its relatives,
// the words now, today, tomorrow and yesterday for columns of time types,
// gen_random_uuid(), to_timestamp(number), NULLIF of two literals, and casts that
// leave a text as it is. Whatever else would have to be computed is refused, never
// passed on as text; test/grammar holds all of that against PostgreSQL's own
// grammar. DEFAULT leaves the
// column out of that row, so that the sink's own default applies.
//
// Frames are read here rather than by pgproto3.Backend, because that allocates
// a body's announced length before it has arrived, copies each query into a
// string, and knows no later minor version; the answers are pgproto3's.
package pgwire
