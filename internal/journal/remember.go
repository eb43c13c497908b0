package journal

import (
	"maps"
	"slices"
)

// Remember notes whether a file beside the streams, in the data directory, says
// something that matters to rows, so that a start which does not find it can tell
// that it went. The caller calls it when what the file says, or does not say any
// more, is durable; the MANIFEST follows some time later. So no crash makes a
// file seem missing.
func (j *Journal) Remember(file string, says bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if slices.Contains(j.remembered, file) == says {
		return
	}
	files := slices.DeleteFunc(slices.Clone(j.remembered), func(f string) bool { return f == file })
	if says {
		files = append(files, file)
	}
	slices.Sort(files)
	j.remembered, j.dirty = files, true
	j.chore()
}

// Departed returns the names of sinks whose registration was ended, as far as
// they are remembered.
func (j *Journal) Departed() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(maps.Keys(j.departed))
}
