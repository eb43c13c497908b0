// Package auth decides who a client is and which tables it may write to: users
// with PostgreSQL's own SCRAM verifiers, tokens kept as hashes, grants per
// table. It knows no connection and no clock: doors hand over what clients sent,
// and the time.
//
// A Policy is what a configuration says; a Guard holds the one in force, so that
// a reload reaches sessions that are open. As soon as a Policy has one user or
// token, everything that no grant allows is refused.
//
// Whether a user exists is never told: one who does not is led through the same
// exchange, with the same work, to the same refusal. See Policy.Begin.
package auth
