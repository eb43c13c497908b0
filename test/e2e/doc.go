// Package e2e drives the built binary as a user does: it starts and kills the
// server, writes through real clients, and reads the sink's database.
//
// HOLDFAST_BIN names a binary to test instead of building one; HOLDFAST_SEED
// replays a run of the tests that choose at random; HOLDFAST_LONG=1 gives the
// tests that are cut short in `make test` their full length. With CI=true a
// missing psql or sqlite3 fails the test instead of skipping it.
package e2e
