// Package clients runs programs that write to PostgreSQL, unchanged: each of
// them once against a PostgreSQL server, and once against the built binary with
// that server behind it. What each was answered, and what it wrote, must be the
// same; where it is not, the difference is named here with its reason. The
// table in docs/clients.md is what was seen: -update writes it, and every other
// run holds it against what it sees.
//
// HOLDFAST_BIN names a binary to test instead of building one. A client that is
// not installed is skipped, aloud; with CI=true it fails.
package clients
