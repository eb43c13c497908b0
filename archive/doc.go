// Package archive knows what a family of SQL tables is, and what must hold when
// one period of it is filed away as an archive. It is pure: it speaks to no
// database, so that every rule can be tried on data that a test makes up.
//
// A [Family] names the tables, how each row gets its date, and which ids must
// rise. [Decide] looks at a [State] and says which window can be closed, or
// which rule stands against it; [Settle] asks again and again, with an earlier
// end each time, until nothing does. [Verify] holds what was found in a
// database against every rule, and names each that is broken.
//
// Dates are whole seconds since 1970, and a window includes both its ends.
package archive
