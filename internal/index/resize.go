package index

// SetBudget changes how many bytes all files of the index may take; 0: no bound.
// It holds from the next slice that is made.
func (x *Index) SetBudget(bytes int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.o.Budget = bytes
}
