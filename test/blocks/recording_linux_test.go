package blocks

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"

	"golang.org/x/sys/unix"
)

// entry is one write, or, without data, one flush.
type entry struct {
	off  int64
	data []byte
	end  int64 // of the log behind it
}

func (e entry) flush() bool { return len(e.data) == 0 }

// mode is where a journal works, and how.
type mode struct {
	kind     kind
	buffered bool // through the page cache
}

func (m mode) String() string {
	if m.buffered {
		return m.kind.name + " buffered"
	}
	return m.kind.name + " direct"
}

// recording is what a disk was sent while a journal worked, and what was
// promised meanwhile.
type recording struct {
	mode
	base    image
	raw     []byte // the log as it was written
	log     []entry
	history *history
}

// parse reads a log.
func parse(log []byte) ([]entry, error) {
	var entries []entry
	for pos := 0; pos < len(log); {
		if len(log)-pos < entryHead {
			return nil, fmt.Errorf("the log ends inside of an entry, at %d", pos)
		}
		e := entry{off: int64(binary.LittleEndian.Uint64(log[pos:]))}
		n := int(binary.LittleEndian.Uint64(log[pos+8:]))
		pos += entryHead
		if n > len(log)-pos {
			return nil, fmt.Errorf("the log ends inside of a write of %d bytes, at %d", n, pos)
		}
		e.data = log[pos : pos+n]
		pos += n
		e.end = int64(pos)
		entries = append(entries, e)
	}
	return entries, nil
}

// time is how long the log was when its first n entries had arrived.
func (r *recording) time(n int) int64 {
	if n == 0 {
		return 0
	}
	return r.log[n-1].end
}

// flushed returns how many of the first n entries the last flush among them
// covers.
func (r *recording) flushed(n int) int {
	for n > 0 && !r.log[n-1].flush() {
		n--
	}
	return n
}

// page is the grain at which an image knows what it holds.
const page = 4096

// image is the content of a disk, most of which was never written: its pages,
// nil where it holds zeros. A page is never changed, so that copies share them.
type image [][]byte

// readImage reads an image from a file.
func readImage(name string) (image, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	im := make(image, info.Size()/page)
	for off := int64(0); ; {
		if off, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA); err == unix.ENXIO {
			return im, nil
		} else if err != nil {
			return nil, err
		}
		p := make([]byte, page)
		if _, err := f.ReadAt(p, off); err != nil {
			return nil, err
		}
		im[off/page] = p
		off += page
	}
}

// write writes data, whose offset and length are as a disk takes them.
func (im image) write(off int64, data []byte) {
	for len(data) > 0 {
		at := off % page
		n := min(page-at, int64(len(data)))
		p := data[:n:n]
		if n < page {
			p = make([]byte, page)
			copy(p, im[off/page])
			copy(p[at:], data[:n])
		}
		im[off/page] = p
		off, data = off+n, data[n:]
	}
}

// save makes f hold the image.
func (im image) save(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(im)) * page); err != nil {
		return err
	}
	const most = 1024 // pages that one call takes
	for i := 0; i < len(im); i++ {
		from := i
		for i < len(im) && im[i] != nil && i-from < most {
			i++
		}
		if i == from {
			continue
		}
		if n, err := unix.Pwritev(int(f.Fd()), im[from:i], int64(from)*page); err != nil || n != (i-from)*page {
			return fmt.Errorf("write %d pages of an image: %d bytes written: %w", i-from, n, err)
		}
		i--
	}
	return nil
}

// apply writes to f what chance leaves of entries: each write whole, not at
// all, or, grain by grain, in part. Without a seed all of them are written.
func apply(f *os.File, entries []entry, grain int64, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 6))
	kept := rnd.IntN(10)
	for _, e := range entries {
		from, to := e.off, e.off+int64(len(e.data))
		whole := seed == 0 || rnd.IntN(9) < kept
		for torn := seed != 0 && rnd.IntN(3) == 0; from < to; {
			end := to
			if torn {
				end = min(to, from+grain)
				whole = rnd.IntN(9) < kept
			}
			if whole {
				if _, err := f.WriteAt(e.data[from-e.off:end-e.off], from); err != nil {
					return err
				}
			}
			from = end
		}
	}
	return nil
}
