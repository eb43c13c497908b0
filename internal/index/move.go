package index

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"holdfast/internal/disk"
)

// errSource says that the slice that was to be moved cannot be read, or is not
// what was written for its segment.
var errSource = errors.New("the slice cannot be read")

// Move moves the slice of a segment to the warm tier, where the oldest leave
// when there is no room: held against its checksums while it is copied under
// another name, flushed, read back, compared, renamed, and only then removed from
// the hot one. A crash leaves it in one of the two, or in both, of which a start
// removes the hot one. Where it is damaged or cannot be read it goes and is made
// anew, where the warm tier is too small for it, it leaves. One that is not there,
// or warm already, is no error.
func (x *Index) Move(number uint64) error {
	x.mu.Lock()
	s := x.slices[number]
	if x.warm == nil || s == nil || s.at == x.warm {
		x.mu.Unlock()
		return nil
	}
	bad := s.bad
	x.mu.Unlock()
	if bad {
		return x.recool(number)
	}
	err := x.reserve(x.warm, number, s.size)
	if errors.Is(err, errNoRoom) {
		return x.outgrow(number)
	}
	if err == nil {
		err = x.moveTo(number, s)
	}
	if errors.Is(err, errSource) {
		x.o.Log.Warn("an index slice cannot be moved, and is made anew", "stream", x.o.Name, "segment", number, "error", err)
		x.mu.Lock()
		x.status.bad++
		x.mu.Unlock()
		return x.recool(number)
	}
	if err != nil {
		return fmt.Errorf("move the slice of segment %d to the warm tier of the index: %w", number, err)
	}
	return nil
}

// recool removes a slice that is then made anew in the warm tier.
func (x *Index) recool(number uint64) error {
	x.mu.Lock()
	x.cool = max(x.cool, number)
	x.mu.Unlock()
	defer x.again()
	return x.remove([]uint64{number})
}

// moveTo moves a slice for which room is reserved.
func (x *Index) moveTo(number uint64, s *slice) error {
	x.files.Lock()
	defer x.files.Unlock()
	x.mu.Lock()
	gone := x.slices[number] != s
	x.mu.Unlock()
	if gone {
		x.release(x.warm, s.size)
		return nil
	}
	name := sliceName(number)
	tmp := fmt.Sprintf("%0*d%s", numberDigits, number, tmpSuffix)
	err := x.warm.clear(tmp)
	if err == nil {
		err = x.copyTo(tmp, number, s.size)
	}
	if err == nil {
		err = x.warm.fs.Rename(tmp, name)
	}
	if err != nil {
		x.release(x.warm, s.size)
		return errors.Join(err, x.warm.clear(tmp))
	}
	if err = x.warm.fs.SyncDir(""); err == nil {
		// Who looks finds it in the warm tier before it is away from the hot one.
		x.become(number, &slice{size: s.size, time: s.time, at: x.warm})
		if err = s.at.clear(name); err == nil {
			x.release(s.at, s.size)
			x.mu.Lock()
			x.cool = max(x.cool, number)
			x.mu.Unlock()
			return s.at.fs.SyncDir("")
		}
		x.become(number, &slice{size: s.size, time: s.time, at: s.at})
	}
	undone := x.warm.clear(name)
	if undone == nil { // else it takes its bytes until the next start
		x.release(x.warm, s.size)
	}
	return errors.Join(err, undone)
}

// become puts a slice in the place of what was known of its segment.
func (x *Index) become(number uint64, s *slice) {
	x.mu.Lock()
	x.o.Cache.drop(x.slices[number])
	x.slices[number] = s
	x.mu.Unlock()
}

// copyBuffer is how much of a slice is held in memory while it is copied.
const copyBuffer = 256 << 10

// copyTo copies a slice to a file of the warm tier, flushes it, and holds what
// the disk gives back against what was read, and that against its checksums: rot
// is not carried on.
func (x *Index) copyTo(tmp string, number uint64, size int64) error {
	from, err := x.hot.fs.Open(sliceName(number), false)
	if err != nil {
		return fmt.Errorf("%w: %w", errSource, err)
	}
	defer from.Close()
	m, _, err := readMeta(from, size)
	if err == nil && (m.Stream != x.o.Source.ID() || m.Number != number) {
		err = errBad
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errSource, err)
	}
	buf := disk.Buffer(copyBuffer)
	to, err := x.warm.fs.Create(tmp)
	if err != nil {
		return err
	}
	read, err := through(from, size, buf, func(part []byte, off int64) error {
		if err := soundPages(part, off, m.Pages); err != nil {
			return fmt.Errorf("%w: %w", errSource, err)
		}
		return to.WriteAt(part, off)
	})
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return err
	}
	back, err := x.warm.fs.Open(tmp, false)
	if err != nil {
		return err
	}
	defer back.Close()
	again, err := through(back, size, buf, nil)
	if errors.Is(err, errSource) || err == nil && again != read {
		return fmt.Errorf("the copy is not what was written (%v)", err)
	}
	return err
}

// digest is that of a file.
type digest [sha256.Size]byte

// through reads a file of so many bytes, hands each part on, and returns its
// digest.
func through(f disk.File, size int64, buf []byte, each func(part []byte, off int64) error) (sum digest, err error) {
	if size%disk.Align != 0 {
		return sum, fmt.Errorf("%w: it has %d bytes", errSource, size)
	}
	var h hash.Hash = sha256.New()
	for off := int64(0); off < size; off += int64(len(buf)) {
		part := buf[:min(int64(len(buf)), size-off)]
		if n, err := f.ReadAt(part, off); n < len(part) || err != nil && err != io.EOF {
			return sum, fmt.Errorf("%w: %d bytes at %d: %w", errSource, n, off, errors.Join(err))
		}
		h.Write(part)
		if each == nil {
			continue
		}
		if err := each(part, off); err != nil {
			return sum, err
		}
	}
	h.Sum(sum[:0])
	return sum, nil
}
