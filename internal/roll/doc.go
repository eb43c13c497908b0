// Package roll decides which of the oldest segments leave, and where to, when
// a budget or an age says so; and it reads the messages that say it.
//
// It is pure: manifests, links, marks and holds come in, a Plan goes out. It
// opens no file, starts no goroutine and asks no clock, so that whatever it
// decides can be decided again from the same input. Nothing here removes
// anything: whoever carries a plan out commits its watermarks first.
//
// The words of a message (sizeRoll, timeRoll), of a scheduler line and of a
// budget are those of the NetWitness Core database manual, of which docs/rollover-manual.md
// tells what is read how. Imports nothing of the project but internal/fault.
package roll
