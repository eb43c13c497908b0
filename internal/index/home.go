package index

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"holdfast/internal/disk"
)

// home is a directory of slices: the hot one, or the warm one.
type home struct {
	fs     disk.FS
	budget int64 // of all files of the index there; 0: no bound
	bytes  int64 // of them, those in the making included
	aside  int64 // what the budget sets aside for INDEX and its successor
}

// clear removes a file that may be there.
func (h *home) clear(name string) error {
	if err := h.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// load lists what is there, and removes what a crash has left.
func (x *Index) load() error {
	if err := x.list(&x.hot); err != nil {
		return err
	}
	x.floor = x.readFloor()
	if x.warm == nil {
		return nil
	}
	if err := x.list(x.warm); err != nil {
		return fmt.Errorf("its warm tier: %w", err)
	}
	for n, s := range x.slices {
		if s.at == x.warm {
			x.cool = max(x.cool, n)
		}
	}
	return nil
}

// list lists the slices of one home. The warm one is the second: a slice that is
// in both was whole there before it was to leave the hot one, and does that now.
func (x *Index) list(h *home) error {
	entries, err := h.fs.List("")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name, tmpSuffix) || strings.HasSuffix(e.Name, runsSuffix) || e.Name == stateName+".tmp" {
			if err := h.clear(e.Name); err != nil {
				return err
			}
			continue
		}
		n, ok := sliceNumber(e.Name)
		if !ok {
			continue
		}
		if double := x.slices[n]; double != nil {
			if err := double.at.clear(e.Name); err != nil {
				return err
			}
			double.at.bytes -= double.size
		}
		x.slices[n] = &slice{size: e.Size, at: h}
		h.bytes += e.Size
	}
	return nil
}

// place returns where the slice of a segment is made. What is as old as what is
// warm belongs there.
func (x *Index) place(number uint64) *home {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.warm != nil && number <= x.cool {
		return x.warm
	}
	return &x.hot
}

// reserve makes room for n more bytes, for the slice of a segment: slices of
// older segments go on where the budget asks for it. What was reserved is counted
// at once, so that the budget is kept to the byte.
func (x *Index) reserve(h *home, number uint64, n int64) error {
	if x.o.MinFree != nil {
		room, err := h.fs.Space()
		if err != nil {
			return err
		}
		if room.Free-n < x.o.MinFree(room.Total) {
			return fmt.Errorf("the volume of the index is down to min_free")
		}
	}
	for {
		oldest, err := x.claim(h, number, n)
		if err != nil || oldest == 0 {
			return err
		}
		if h == &x.hot && x.warm != nil {
			err = x.Move(oldest)
		} else {
			err = x.outgrow(oldest)
		}
		if err != nil {
			return err
		}
	}
}

// claim counts n more bytes, or returns which slice is in their way, older than
// the segment that they are for.
func (x *Index) claim(h *home, number uint64, n int64) (oldest uint64, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if h.budget == 0 || h.bytes+n+h.aside <= h.budget {
		h.bytes += n
		return 0, nil
	}
	for have, s := range x.slices {
		if s.at == h && have < number && (oldest == 0 || have < oldest) {
			oldest = have
		}
	}
	if oldest == 0 {
		return 0, errNoRoom
	}
	return oldest, nil
}

// outgrow lets a slice leave for which there is no room any more.
func (x *Index) outgrow(number uint64) error {
	x.mu.Lock()
	x.outgrown = max(x.outgrown, number)
	x.mu.Unlock()
	return x.remove([]uint64{number})
}

// release gives reserved bytes back.
func (x *Index) release(h *home, n int64) {
	x.mu.Lock()
	h.bytes -= n
	x.mu.Unlock()
}
