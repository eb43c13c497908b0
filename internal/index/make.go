package index

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"holdfast/internal/disk"
)

// errNoRoom says that the index's budget, or its volume, has no room for a
// slice, and that no older one could make some.
var errNoRoom = errors.New("there is no room for the slice")

// make makes the slice of a segment: written beside, flushed, and renamed.
func (x *Index) make(ctx context.Context, s Segment) (err error) {
	spilled, h := int64(0), x.place(s.Number)
	r := &runs{d: h.fs, name: fmt.Sprintf("%0*d%s", numberDigits, s.Number, runsSuffix)}
	if err := h.clear(r.name); err != nil {
		return err
	}
	r.room = func(n int64) error {
		err := x.reserve(h, s.Number, n)
		if err == nil {
			spilled += n
		}
		return err
	}
	defer func() {
		err = errors.Join(err, r.close())
		x.release(h, spilled)
	}()
	b := newBuilder(x.o.Source.ID(), s, x.o.Columns, r)
	b.grain, b.most = max(x.o.grain, s.End/mostGranules), x.o.most
	if err := x.o.Source.Scan(ctx, s.Number, b.add); err != nil {
		return err
	}
	most := b.bound()
	if err := x.reserve(h, s.Number, most); err != nil {
		return err
	}
	tmp := fmt.Sprintf("%0*d%s", numberDigits, s.Number, tmpSuffix)
	if err = h.clear(tmp); err == nil {
		var size int64
		if size, err = write(h, b, tmp); err == nil {
			var named bool
			if named, err = x.take(h, s.Number, size, most); named {
				return err
			}
		}
		err = errors.Join(err, h.clear(tmp))
	}
	x.release(h, most)
	return fmt.Errorf("write the slice of segment %d: %w", s.Number, err)
}

// take gives a slice that is written its name, and lists it: more bytes were
// reserved for it. What was there of its segment before goes.
func (x *Index) take(h *home, number uint64, size, reserved int64) (named bool, err error) {
	x.files.Lock()
	defer x.files.Unlock()
	name := sliceName(number)
	if err := h.fs.Rename(fmt.Sprintf("%0*d%s", numberDigits, number, tmpSuffix), name); err != nil {
		return false, err
	}
	x.mu.Lock()
	h.bytes += size - reserved
	old := x.slices[number]
	if old != nil {
		x.o.Cache.drop(old)
	}
	if old != nil && old.at == h {
		h.bytes -= old.size
	}
	x.slices[number] = &slice{size: size, time: x.o.Now().UnixMicro(), at: h}
	x.status.made++
	x.mu.Unlock()
	err = h.fs.SyncDir("")
	if old == nil || old.at == h || err != nil {
		return true, err // what is elsewhere goes with the next start
	}
	if err = old.at.clear(name); err == nil {
		x.release(old.at, old.size)
	}
	return true, err
}

func write(h *home, b *builder, tmp string) (int64, error) {
	f, err := h.fs.Create(tmp)
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
	Warm   bool // it is in the warm tier
}

// Slices returns the slices that there are, oldest first.
func (x *Index) Slices() []Slice {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]Slice, 0, len(x.slices))
	for n, s := range x.slices {
		all = append(all, Slice{n, s.size, s.at == x.warm})
	}
	slices.SortFunc(all, func(a, b Slice) int { return cmp.Compare(a.Number, b.Number) })
	return all
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
