package roller

import (
	"slices"

	"holdfast/internal/disk"
	"holdfast/internal/index"
	"holdfast/internal/journal"
	"holdfast/internal/roll"
)

// addIndexes adds the indexes of streams to a state, behind the streams. A slice
// has the links and the times of the segment that it refers to.
func (r *Roller) addIndexes(st *roll.State) error {
	for i, s := range r.streams {
		if s.Index == nil {
			continue
		}
		store := roll.Store{Stream: s.Name, IsIndex: true, Link: roll.Link(s.Link)}
		var err error
		if store.HotVolume, err = addVolume(st, s.IndexFS); err != nil {
			return err
		}
		if s.IndexWarm != nil {
			if store.WarmVolume, err = addVolume(st, s.IndexWarm); err != nil { // as with streams, that is told when something moves
				store.WarmVolume, err = addVolume(st, nowhere{"that of the warm index of " + s.Name})
			}
			if err != nil {
				return err
			}
		}
		there := map[uint64]index.Slice{}
		for _, one := range s.Index.Slices() {
			there[one.Number] = one
		}
		for _, f := range st.Stores[i].Files {
			one, has := there[f.Number]
			if !has {
				continue
			}
			f.Bytes, f.Volume, f.Tier, f.Sealed, f.Held = one.Bytes, store.HotVolume, roll.Hot, true, false // a hold keeps rows
			if one.Warm {
				f.Volume, f.Tier = store.WarmVolume, roll.Warm
			}
			store.Files = append(store.Files, f)
		}
		st.Stores = append(st.Stores, store)
	}
	return nil
}

// addVolume adds the volume of a directory to a state, and returns its name.
func addVolume(st *roll.State, d interface{ Space() (disk.Space, error) }) (string, error) {
	space, err := d.Space()
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(st.Volumes, func(o roll.Volume) bool { return o.Name == space.Volume }) {
		st.Volumes = append(st.Volumes, roll.Volume{Name: space.Volume, Total: space.Total, Free: space.Free})
	}
	return space.Volume, nil
}

// nowhere is a directory that cannot be asked for its room.
type nowhere struct{ volume string }

// Space returns none.
func (n nowhere) Space() (disk.Space, error) { return disk.Space{Volume: n.volume}, nil }

// warmIndexed tells whether the index of any stream has a warm tier.
func warmIndexed(streams []Stream) bool {
	return slices.ContainsFunc(streams, func(s Stream) bool { return s.Index != nil && s.IndexWarm != nil })
}

// doomed tells whether a segment goes by a cut, which lists them in order.
func doomed(c *journal.Cut, number uint64) bool {
	_, found := slices.BinarySearch(c.Doomed, number)
	return found
}

// rollIndexes removes the slices that a plan lets go while their segments stay.
// The others leave with their segments: the index sees to that.
func (r *Roller) rollIndexes(plan *roll.Plan, cuts map[string]*journal.Cut) {
	alone := map[string][]uint64{}
	for _, step := range plan.Steps {
		if c := cuts[step.Stream]; step.Index && leaves(step) && (c == nil || !doomed(c, step.Number)) {
			alone[step.Stream] = append(alone[step.Stream], step.Number)
		}
	}
	for _, s := range r.streams {
		if len(alone[s.Name]) == 0 {
			continue
		}
		if err := s.Index.Roll(alone[s.Name]); err != nil {
			r.o.Log.Error("index slices could not be rolled; the next roll tries again", "stream", s.Name, "error", err)
		}
	}
}
