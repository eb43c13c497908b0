package journal

import (
	"maps"

	"holdfast/internal/fault"
	"holdfast/internal/segment"
)

// Register enters a sink: from now on rows are kept until it has committed
// them, and that is durable when Register returns. It returns how far the sink
// is known to have read; a new sink starts before the oldest row kept.
func (j *Journal) Register(sink string) (mark uint64, err error) {
	return j.register(sink, func() uint64 { return j.oldestLocked().Seq })
}

// RegisterAt is Register for a sink that does not want the rows up to seq. One
// that is registered keeps its place.
func (j *Journal) RegisterAt(sink string, seq uint64) (mark uint64, err error) {
	return j.register(sink, func() uint64 { return min(max(seq, j.oldestLocked().Seq), j.end.Seq) })
}

// register enters a sink at what start returns, which is called with mu held.
func (j *Journal) register(sink string, start func() uint64) (mark uint64, err error) {
	j.roster.Lock()
	defer j.roster.Unlock()
	j.mu.Lock()
	mark, known := j.marks[sink]
	if !known {
		mark = start()
		j.marks[sink] = mark
	}
	fits := segment.Stream{ID: j.id, Name: j.o.Name, Marks: j.marks}.Fits()
	if !fits {
		delete(j.marks, sink)
	}
	ended, was := j.departed[sink]
	if !known && fits {
		delete(j.departed, sink)
	}
	j.mu.Unlock()
	if known {
		return mark, nil
	}
	if !fits {
		return 0, j.tooMany(sink)
	}
	if err := j.saveManifest(); err != nil {
		j.mu.Lock() // not durable, so not registered: the next call must try anew
		delete(j.marks, sink)
		if was {
			j.departed[sink] = ended
		}
		j.mu.Unlock()
		return 0, err
	}
	return mark, nil
}

func (j *Journal) tooMany(sink string) error {
	return fault.New(fault.LimitExceeded, "stream %q has too many sinks for %q to be registered", j.o.Name, sink).
		WithHint("about 40 fit; spread the tables over several streams")
}

// Retire ends the registration of a sink: rows are no longer kept for it, and
// that is durable when Retire returns. After an error the sink is registered
// as before. It is done where the sink is not registered.
func (j *Journal) Retire(sink string) error { return j.depart(sink, "") }

// Rename makes the registration of a sink, with its mark, that of the sink
// called to, in one step: at no moment is neither of them registered. After an
// error it is as before. It fails where to is registered already.
func (j *Journal) Rename(sink, to string) error {
	return j.depart(sink, to)
}

// depart ends a registration; with a name given, the mark goes on under it.
func (j *Journal) depart(sink, to string) error {
	j.roster.Lock()
	defer j.roster.Unlock()
	if err := j.rename(sink, to); err != nil {
		return err
	}
	j.mu.Lock()
	_, known := j.marks[sink]
	if !known {
		j.mu.Unlock()
		return nil
	}
	// Rows are kept for it until the MANIFEST is durable without it.
	j.leaving = sink
	ended, was := j.departed[sink]
	j.departed[sink] = j.epoch
	j.trimEndedLocked()
	j.mu.Unlock()
	err := j.saveManifest()
	j.mu.Lock()
	j.leaving = ""
	if err == nil {
		delete(j.marks, sink)
	} else {
		delete(j.marks, to)
		delete(j.departed, sink)
		if was {
			j.departed[sink] = ended
		}
		j.dirty = true // another save may have come through meanwhile
	}
	j.mu.Unlock()
	j.chore()
	return err
}

// rename enters the new name with the old one's mark, where there is a new one.
func (j *Journal) rename(sink, to string) error {
	if to == "" {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	mark, known := j.marks[sink]
	if !known {
		return fault.New(fault.UndefinedObject, "sink %q is not registered with stream %q", sink, j.o.Name)
	}
	if _, taken := j.marks[to]; taken {
		return fault.New(fault.InvalidParameterValue, "sink %q is registered with stream %q already", to, j.o.Name).
			WithHint("choose another name, or retire that one")
	}
	marks := maps.Clone(j.marks)
	delete(marks, sink)
	marks[to] = mark
	if !(segment.Stream{ID: j.id, Name: j.o.Name, Marks: marks}).Fits() {
		return j.tooMany(to)
	}
	j.marks[to] = mark
	delete(j.departed, to)
	return nil
}

// maxEnded is how many registrations that were ended are remembered. They
// matter to segments that a MANIFEST does not describe, which are few and new.
const maxEnded = 100

// trimEndedLocked forgets the oldest of too many.
func (j *Journal) trimEndedLocked() {
	for len(j.departed) > maxEnded {
		oldest := ""
		for name, epoch := range j.departed {
			if oldest == "" || epoch < j.departed[oldest] {
				oldest = name
			}
		}
		delete(j.departed, oldest)
	}
}

// Mark notes that a registered sink has committed everything up to seq. The
// note is durable some time later: the sink's own cursor is the truth.
func (j *Journal) Mark(sink string, seq uint64) {
	j.mu.Lock()
	old, known := j.marks[sink]
	if known && seq > old {
		j.marks[sink] = seq
		j.dirty = true
	}
	removable := j.removableLocked() != nil
	j.mu.Unlock()
	if removable {
		j.chore()
	}
}

// Rewind notes that a registered sink has committed no more than what is up to
// seq, where it had more before: from now on the rows behind it are kept, and
// that is durable when Rewind returns. What is gone already stays gone.
func (j *Journal) Rewind(sink string, seq uint64) error {
	j.mu.Lock()
	old, known := j.marks[sink]
	back := known && seq < old
	if back {
		j.marks[sink] = seq
	}
	j.mu.Unlock()
	if !back {
		return nil
	}
	return j.saveManifest()
}

// Sinks returns the registered sinks and how far each has committed.
func (j *Journal) Sinks() map[string]uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.marks)
}
