package index

// SetBudget changes how many bytes all files of the index may take in the hot
// tier, and in the warm one; 0: no bound. It holds from the next slice that is
// made or moved.
func (x *Index) SetBudget(hot, warm int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hot.budget = hot
	if x.warm != nil {
		x.warm.budget = warm
	}
}
