package closing

// SetInSwap says how many rows are put back under the lock, and returns how
// many it were before.
func SetInSwap(rows int64) int64 {
	before := maxInSwap
	maxInSwap = rows
	return before
}
