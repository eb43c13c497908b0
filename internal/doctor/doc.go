// Package doctor looks at a machine as whoever is woken at three would, and
// says what is wrong with it, how much it matters and what to do; and it plans
// partitions, with the arithmetic. It mends nothing, and what it writes, a small
// file whose flushes are timed, it removes.
package doctor
