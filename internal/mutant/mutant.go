// Package mutant seeds bugs: the ones that journals have had, put back on
// purpose, so that it can be shown which tests notice them. They are there only
// in a build with the tag mutants, and then one at a time; scripts/mutants
// lists them and holds each against the tests.
package mutant

// Last is the highest number of a bug.
const Last = 40
