package spool

import (
	"slices"

	"holdfast/internal/notice"
)

// notices is what the system tells of the directories of a spool. The zero
// value is told of nothing.
type notices struct {
	changed <-chan struct{} // nil where nothing is told
	dirs    []string
	cancel  func()
}

// renew has the system tell of other directories; again says that it does so
// from now on only, so that they have to be looked at once more. Where the
// system tells of nothing, directories are polled.
func (n *notices) renew(dirs []string) (again bool) {
	if slices.Equal(n.dirs, dirs) {
		return false
	}
	n.stop()
	n.dirs = slices.Clone(dirs)
	changed, cancel, err := notice.Dirs(dirs)
	if err != nil {
		return false
	}
	n.changed, n.cancel = changed, cancel
	return true
}

func (n *notices) stop() {
	if n.cancel != nil {
		n.cancel()
	}
	*n = notices{}
}
