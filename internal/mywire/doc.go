// Package mywire is a door that speaks MySQL's protocol: the insert-only session
// of Holdfast for programs that only know MySQL.
//
// A statement is answered with OK once its rows are on disk, or, within a
// transaction, with the COMMIT. Everything but INSERT, and the little that
// clients ask around it, is refused with a hint. The recogniser of INSERT is
// strict: what it does not know for certain it refuses, so that no value is
// ever guessed.
//
// The protocol's framing is the package's own. docs/decisions says why: a length
// that a client announces is never allocated, parameters whose types were sent
// with an earlier execution keep their values, and no packet can panic.
//
// One goroutine serves each connection; Server.Serve starts it, and returns
// after Shutdown only when all have ended.
package mywire
