package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"

	"holdfast/internal/disk"
)

// errNoRoom says that the index's budget, or its volume, has no room for a
// slice, and that no older one could make some.
var errNoRoom = errors.New("there is no room for the slice")

// reserve makes room for n more bytes, for the slice of a segment: slices of
// older segments go where the budget asks for it. What was reserved is counted
// at once, so that the budget is kept to the byte.
func (x *Index) reserve(number uint64, n int64) error {
	if x.o.MinFree != nil {
		room, err := x.o.FS.Space()
		if err != nil {
			return err
		}
		if room.Free-n < x.o.MinFree(room.Total) {
			return fmt.Errorf("the volume of the index is down to min_free")
		}
	}
	for {
		x.mu.Lock()
		lack := x.bytes + n + stateSize - x.o.Budget
		if x.o.Budget == 0 || lack <= 0 {
			x.bytes += n
			x.mu.Unlock()
			return nil
		}
		oldest := uint64(0)
		for have := range x.slices {
			if have < number && (oldest == 0 || have < oldest) {
				oldest = have
			}
		}
		if oldest != 0 {
			x.outgrown = max(x.outgrown, oldest)
		}
		x.mu.Unlock()
		if oldest == 0 {
			return errNoRoom
		}
		if err := x.remove([]uint64{oldest}); err != nil {
			return err
		}
	}
}

// release gives reserved bytes back.
func (x *Index) release(n int64) {
	x.mu.Lock()
	x.bytes -= n
	x.mu.Unlock()
}

// make makes the slice of a segment: written beside, flushed, and renamed.
func (x *Index) make(ctx context.Context, s Segment) (err error) {
	spilled := int64(0)
	r := &runs{d: x.o.FS, name: fmt.Sprintf("%0*d%s", numberDigits, s.Number, runsSuffix)}
	if err := x.clear(r.name); err != nil {
		return err
	}
	r.room = func(n int64) error {
		err := x.reserve(s.Number, n)
		if err == nil {
			spilled += n
		}
		return err
	}
	defer func() {
		err = errors.Join(err, r.close())
		x.release(spilled)
	}()
	b := newBuilder(x.o.Source.ID(), s, x.o.Columns, r)
	b.grain, b.most = max(x.o.grain, s.End/mostGranules), x.o.most
	if err := x.o.Source.Scan(ctx, s.Number, b.add); err != nil {
		return err
	}
	most := b.bound()
	if err := x.reserve(s.Number, most); err != nil {
		return err
	}
	tmp := fmt.Sprintf("%0*d%s", numberDigits, s.Number, tmpSuffix)
	if err = x.clear(tmp); err == nil {
		var size int64
		if size, err = x.write(b, tmp); err == nil {
			err = x.o.FS.Rename(tmp, sliceName(s.Number))
		}
		if err == nil {
			return x.take(s.Number, size, most)
		}
		err = errors.Join(err, x.clear(tmp))
	}
	x.release(most)
	return fmt.Errorf("write the slice of segment %d: %w", s.Number, err)
}

// clear removes a file that may be there.
func (x *Index) clear(name string) error {
	if err := x.o.FS.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// take lists a slice that has its name, for which more bytes were reserved.
func (x *Index) take(number uint64, size, reserved int64) error {
	x.mu.Lock()
	x.bytes += size - reserved
	if old := x.slices[number]; old != nil {
		x.bytes -= old.size
		x.o.Cache.drop(old)
	}
	x.slices[number] = &slice{size: size, time: x.o.Now().UnixMicro()}
	x.status.made++
	x.mu.Unlock()
	return x.o.FS.SyncDir("")
}

func (x *Index) write(b *builder, tmp string) (int64, error) {
	f, err := x.o.FS.Create(tmp)
	if err != nil {
		return 0, err
	}
	size, err := b.write(f)
	return size, errors.Join(err, f.Close())
}

// Slice is one slice.
type Slice struct {
	Number uint64 // of its segment
	Bytes  int64
}

// Slices returns the slices that there are, oldest first.
func (x *Index) Slices() []Slice {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]Slice, 0, len(x.slices))
	for n, s := range x.slices {
		all = append(all, Slice{n, s.size})
	}
	slices.SortFunc(all, func(a, b Slice) int { return three(a.Number, b.Number) })
	return all
}

func three(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Roll removes slices whose segments stay. They, and those of older segments,
// are not made again.
func (x *Index) Roll(numbers []uint64) error {
	if len(numbers) == 0 {
		return nil
	}
	x.mu.Lock()
	x.floor = max(x.floor, slices.Max(numbers))
	floor := x.floor
	x.mu.Unlock()
	if err := x.writeFloor(floor); err != nil {
		return fmt.Errorf("roll the index of stream %q: %w", x.o.Name, err)
	}
	return x.remove(numbers)
}

// state is the content of INDEX.
type state struct {
	Version int    `json:"version"`
	Rolled  uint64 `json:"rolled"` // number of the newest segment whose slice was rolled
}

// stateSize is what the budget sets aside for INDEX and its successor.
const stateSize = 2 * disk.Align

// readFloor reads INDEX. One that is damaged counts as none: slices that were
// rolled are made again, as far as the budget has room.
func (x *Index) readFloor() uint64 {
	text, err := disk.ReadFile(x.o.FS, stateName, disk.Align)
	if err != nil {
		return 0
	}
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	var s state
	if string(rest) != fmt.Sprintf("crc32c %08x\n", crc32.Checksum(line, castagnoli)) || json.Unmarshal(line, &s) != nil || s.Version != version {
		x.o.Log.Warn("the file of rolled index slices is damaged, and ignored", "stream", x.o.Name, "file", stateName)
		return 0
	}
	return s.Rolled
}

func (x *Index) writeFloor(floor uint64) error {
	line, err := json.Marshal(state{version, floor})
	if err != nil {
		return err
	}
	return disk.Replace(x.o.FS, "", stateName, fmt.Appendf(line, "\ncrc32c %08x\n", crc32.Checksum(line, castagnoli)))
}
