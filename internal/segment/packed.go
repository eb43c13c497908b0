package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"holdfast/internal/disk"
)

// A packed segment is a sealed one in zstd frames that do not depend on each
// other, each of packedFrame bytes of the segment, the last one of what is left.
// Behind them stands a frame that zstd skips: the index as JSON, zeros, and at the
// end of a page a trailer like that of a sealed segment; and then the same once
// more, so that no flipped bit costs the index. zstd -d gives the segment back.
const (
	packedMagic = "HFPACKED"
	packedFrame = 128 << 10 // what a flipped bit costs at most
	skipMagic   = 0x184D2A50
	skipHead    = 8
	maxIndex    = 64 << 20
)

// PackedRoom returns how large a packed segment of size bytes is at most: where
// nothing can be packed.
func PackedRoom(size int64) int64 { return int64(disk.Up(size+size/512)) + 256<<10 }

// Packed is the index of a packed segment.
type Packed struct {
	Version int      `json:"version"`
	Size    int64    `json:"size"`   // of the segment's file
	SHA256  string   `json:"sha256"` // of it
	Frame   int64    `json:"frame"`  // bytes of it in each frame but the last
	Frames  []uint32 `json:"frames"` // how long each frame is
	CRC32C  []uint32 `json:"crc32c"` // of each frame
	Packed  string   `json:"packed"` // SHA-256 of all frames
}

// One of each serves all: they keep no state between calls.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err) // no option can be wrong
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(packedFrame))
		if err != nil {
			panic(err)
		}
		return d
	})
)

// Pack writes the segment in f, packed, to w, whole pages at a time and in all.
// It returns the index, and how many bytes were written.
func Pack(f disk.File, w io.Writer) (Packed, int64, error) {
	size, err := f.Size()
	if err != nil {
		return Packed{}, 0, err
	}
	p := Packed{Version: Version, Size: size, Frame: packedFrame}
	out := &pages{w: w, buf: disk.Buffer(1 << 20)[:0]}
	whole, packed := sha256.New(), sha256.New()
	buf, frame := disk.Buffer(packedFrame), []byte(nil)
	for off := int64(0); off < size; off += packedFrame {
		part := buf[:min(packedFrame, size-off)]
		if n, err := f.ReadAt(buf[:disk.Up(len(part))], off); n < len(part) {
			return p, 0, fmt.Errorf("read at offset %d: %w", off, errors.Join(err, io.ErrUnexpectedEOF))
		}
		whole.Write(part)
		frame = encoder().EncodeAll(part, frame[:0])
		packed.Write(frame)
		p.Frames, p.CRC32C = append(p.Frames, uint32(len(frame))), append(p.CRC32C, crc32.Checksum(frame, castagnoli))
		if err := out.write(frame); err != nil {
			return p, 0, err
		}
	}
	p.SHA256, p.Packed = hex.EncodeToString(whole.Sum(nil)), hex.EncodeToString(packed.Sum(nil))
	index, err := json.Marshal(p)
	if err != nil {
		return p, 0, err
	}
	for range 2 {
		at := out.n + skipHead
		tail := make([]byte, disk.Up(at+int64(len(index))+trailerSize)-out.n)
		binary.LittleEndian.PutUint32(tail, skipMagic)
		binary.LittleEndian.PutUint32(tail[4:], uint32(len(tail)-skipHead))
		copy(tail[skipHead:], index)
		putTrailer(tail[len(tail)-trailerSize:], packedMagic, at, index)
		if err := out.write(tail); err != nil {
			return p, 0, err
		}
	}
	return p, out.n, out.flush()
}

// pages hands over whole pages.
type pages struct {
	w   io.Writer
	buf []byte // aligned
	n   int64
}

func (p *pages) write(b []byte) error {
	p.n += int64(len(b))
	for len(b) > 0 {
		n := min(len(b), cap(p.buf)-len(p.buf))
		p.buf, b = append(p.buf, b[:n]...), b[n:]
		if len(p.buf) == cap(p.buf) {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pages) flush() error {
	_, err := p.w.Write(p.buf)
	p.buf = p.buf[:0]
	return err
}

// Unpacked is a packed segment, read as the segment that it is. A frame that is
// damaged reads as zeros, which no checksum of the segment passes.
type Unpacked struct {
	disk.File
	Index Packed
	at    []int64 // where each frame begins

	mu    sync.Mutex
	last  int // the frame in cache
	cache []byte
}

// ErrNotPacked says that a file has no index of a packed segment.
var ErrNotPacked = fmt.Errorf("segment is not packed, or its index is damaged")

// Unpack returns f, which is packed, as the segment that it is.
func Unpack(f disk.File) (*Unpacked, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size < disk.Align || size%disk.Align != 0 {
		return nil, ErrNotPacked
	}
	for end := size; end >= disk.Align && end > size-maxIndex; end -= disk.Align {
		u, err := unpackAt(f, end)
		if !errors.Is(err, ErrNotPacked) {
			return u, err
		}
	}
	return nil, ErrNotPacked
}

// unpackAt is Unpack with the index whose trailer ends at end.
func unpackAt(f disk.File, end int64) (*Unpacked, error) {
	last := disk.Buffer(disk.Align)
	if _, err := f.ReadAt(last, end-disk.Align); err != nil {
		return nil, err
	}
	t, le := last[disk.Align-trailerSize:], binary.LittleEndian
	off, n := int64(le.Uint64(t[8:])), int64(le.Uint32(t[16:]))
	if string(t[:8]) != packedMagic || le.Uint32(t[28:]) != crc32.Checksum(t[:28], castagnoli) || off < skipHead || n > maxIndex || off+n+trailerSize > end {
		return nil, ErrNotPacked
	}
	index, err := readRange(f, off, n)
	if err != nil {
		return nil, err
	}
	u := &Unpacked{File: f, last: -1}
	if crc32.Checksum(index, castagnoli) != le.Uint32(t[20:]) || json.Unmarshal(index, &u.Index) != nil {
		return nil, ErrNotPacked
	}
	if u.Index.Version != Version {
		return nil, fmt.Errorf("packed segment has version %d, this program knows %d: %w", u.Index.Version, Version, ErrVersion)
	}
	if u.Index.Size < 0 || u.Index.Frame != packedFrame || int64(len(u.Index.Frames)) != (u.Index.Size+packedFrame-1)/packedFrame || len(u.Index.CRC32C) != len(u.Index.Frames) {
		return nil, ErrNotPacked
	}
	at := int64(0)
	for _, n := range u.Index.Frames {
		if n > packedFrame+packedFrame/8 {
			return nil, ErrNotPacked
		}
		u.at = append(u.at, at)
		at += int64(n)
	}
	if at+skipHead > off { // of the second one more
		return nil, ErrNotPacked
	}
	return u, nil
}

// readRange reads what need not be aligned.
func readRange(f disk.File, off, n int64) ([]byte, error) {
	from := off &^ (disk.Align - 1)
	buf := disk.Buffer(int(off + n - from))
	got, err := f.ReadAt(buf, from)
	if int64(got) < off+n-from {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	return buf[off-from:][:n], nil
}

// Size implements disk.File: that of the segment.
func (u *Unpacked) Size() (int64, error) { return u.Index.Size, nil }

// errReadOnly says that a packed segment is not written.
var errReadOnly = errors.New("a packed segment is not written")

// WriteAt implements disk.File.
func (u *Unpacked) WriteAt([]byte, int64) error { return errReadOnly }

// WriteSyncAt implements disk.File.
func (u *Unpacked) WriteSyncAt([]byte, int64) error { return errReadOnly }

// Truncate implements disk.File.
func (u *Unpacked) Truncate(int64) error { return errReadOnly }

// ReadAt implements disk.File.
func (u *Unpacked) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) && off < u.Index.Size {
		n, err := u.part(p[done:], off)
		if err != nil {
			return done, err
		}
		done, off = done+n, off+int64(n)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// part copies what of one frame is wanted.
func (u *Unpacked) part(p []byte, off int64) (int, error) {
	i := int(off / packedFrame)
	skip := off - int64(i)*packedFrame
	size := min(packedFrame, u.Index.Size-int64(i)*packedFrame)
	u.mu.Lock()
	if u.last == i {
		n := copy(p, u.cache[skip:])
		u.mu.Unlock()
		return n, nil
	}
	u.mu.Unlock()
	b, err := u.frame(i, int(size))
	if err != nil {
		return 0, err
	}
	u.mu.Lock()
	u.last, u.cache = i, b
	u.mu.Unlock()
	return copy(p, b[skip:]), nil
}

// frame unpacks one frame of size bytes.
func (u *Unpacked) frame(i, size int) ([]byte, error) {
	b, err := readRange(u.File, u.at[i], int64(u.Index.Frames[i]))
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, packedFrame)
	if crc32.Checksum(b, castagnoli) == u.Index.CRC32C[i] {
		out, err = decoder().DecodeAll(b, out)
	}
	if err != nil || len(out) != size {
		out = make([]byte, size)
	}
	return out, nil
}

// Check reads everything, and returns why it is not what was packed: nil, or an
// error that wraps ErrNotPacked, or the disk's.
func (u *Unpacked) Check() error {
	packed, whole := sha256.New(), sha256.New()
	for i, n := range u.Index.Frames {
		b, err := readRange(u.File, u.at[i], int64(n))
		if err != nil {
			return err
		}
		packed.Write(b)
		part, err := u.frame(i, int(min(packedFrame, u.Index.Size-int64(i)*packedFrame)))
		if err != nil {
			return err
		}
		whole.Write(part)
	}
	if hex.EncodeToString(packed.Sum(nil)) != u.Index.Packed || hex.EncodeToString(whole.Sum(nil)) != u.Index.SHA256 {
		return fmt.Errorf("a digest does not match: %w", ErrNotPacked)
	}
	return nil
}
