// Package grammar holds the PostgreSQL door's reading of INSERT against
// PostgreSQL's own grammar: statements that were changed at random must mean to
// the door what they mean to PostgreSQL, or be refused, and none may be taken
// that PostgreSQL refuses.
//
// It is a module of its own, because PostgreSQL's grammar comes as C, takes long
// to build, and has no place in the product.
package grammar
