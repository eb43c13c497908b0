package journal

// Resize gives the stream's places other sizes: home to the one with the
// MANIFEST, the others by ID; those that are not named keep theirs. Who waits
// for room tries again.
func (j *Journal) Resize(home int64, sizes map[string]int64) {
	j.mu.Lock()
	places := 0
	for _, d := range j.dirs {
		if !d.Warm {
			places++
		}
		if size, named := sizes[d.ID]; named && d != j.home {
			d.Size = size
		}
	}
	if places > 1 { // one alone is bounded by the budget
		j.home.Size = home
	}
	j.measureLocked()
	j.mu.Unlock()
	j.chore()
}

// measureLocked notes the smallest size of a hot place.
func (j *Journal) measureLocked() {
	least := int64(0)
	for _, d := range j.dirs {
		if d.Size > 0 && !d.Warm && (least == 0 || d.Size < least) {
			least = d.Size
		}
	}
	j.smallest.Store(least)
}
