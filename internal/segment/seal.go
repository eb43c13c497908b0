package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"holdfast/internal/disk"
)

// A sealed segment ends in its footer: a Summary as JSON at an aligned offset,
// zeros, and in the last 32 bytes of the file the trailer:
//
//	0   8    magic "HFSEALED"
//	8   u64  offset of the footer
//	16  u32  length of the footer
//	20  u32  CRC32C of the footer
//	24  u32  zero
//	28  u32  CRC32C of the trailer's first 28 bytes
const (
	trailerSize  = 32
	trailerMagic = "HFSEALED"

	// maxFooter bounds a footer: 64 index entries and some thousand schemas.
	maxFooter = 64 << 20

	// footerRoom is what a segment leaves free for its footer, beside what
	// index and schemas take in it, so that sealing does not make it grow.
	footerRoom = disk.Align
)

// errNotSealed says that a file has no trailer.
var errNotSealed = fmt.Errorf("segment is not sealed")

// Seal writes the footer behind a segment's content and cuts the file there.
// Where s has no digest of the content yet, the segment is read back from the
// disk for it. f is the
// descriptor that wrote the segment, or, after a restart, one that has flushed
// it. It returns the summary with its digest, and the file's size.
func Seal(f disk.File, s Summary) (Summary, int64, error) {
	if s.SHA256 == "" {
		sum, err := digest(f, s.Tail.End)
		if err != nil {
			return s, 0, fmt.Errorf("seal segment %d: %w", s.Header.Number, err)
		}
		s.SHA256 = sum
	}
	footer, err := json.Marshal(s)
	if err != nil {
		return s, 0, fmt.Errorf("seal segment %d: %w", s.Header.Number, err)
	}
	if len(footer) > maxFooter {
		return s, 0, fmt.Errorf("seal segment %d: footer of %d bytes is larger than %d", s.Header.Number, len(footer), maxFooter)
	}
	buf := disk.Buffer(len(footer) + trailerSize)
	copy(buf, footer)
	putTrailer(buf[len(buf)-trailerSize:], trailerMagic, s.Tail.End, footer)
	size := s.Tail.End + int64(len(buf))
	err = f.WriteAt(buf, s.Tail.End)
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return s, 0, fmt.Errorf("seal segment %d: %w", s.Header.Number, err)
	}
	return s, size, nil
}

func putTrailer(t []byte, magic string, off int64, footer []byte) {
	le := binary.LittleEndian
	copy(t, magic)
	le.PutUint64(t[8:], uint64(off))
	le.PutUint32(t[16:], uint32(len(footer)))
	le.PutUint32(t[20:], crc32.Checksum(footer, castagnoli))
	le.PutUint32(t[28:], crc32.Checksum(t[:28], castagnoli))
}

// digest returns the SHA-256 of the first end bytes.
func digest(f disk.File, end int64) (string, error) {
	h := sha256.New()
	buf := disk.Buffer(int(min(end, readAhead)))
	for off := int64(0); off < end; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), end-off)], off)
		h.Write(buf[:n])
		off += int64(n)
		if err != nil {
			return "", fmt.Errorf("read back at offset %d: %w", off, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// ReadFooter returns the footer of a sealed segment. Sealed tells whether a
// trailer is there at all, so that a damaged footer is told from none.
func ReadFooter(f disk.File) (s Summary, sealed bool, err error) {
	size, err := f.Size()
	if err != nil {
		return s, false, err
	}
	if size < headerSize+disk.Align || size%disk.Align != 0 {
		return s, false, errNotSealed
	}
	last := disk.Buffer(disk.Align)
	if _, err := f.ReadAt(last, size-disk.Align); err != nil {
		return s, false, err
	}
	t := last[disk.Align-trailerSize:]
	le := binary.LittleEndian
	if string(t[:8]) != trailerMagic || le.Uint32(t[28:]) != crc32.Checksum(t[:28], castagnoli) {
		return s, false, errNotSealed
	}
	off, n := int64(le.Uint64(t[8:])), int64(le.Uint32(t[16:]))
	if off < headerSize || off%disk.Align != 0 || n > maxFooter || off+n+trailerSize > size {
		return s, true, fmt.Errorf("footer at offset %d with %d bytes does not fit into the file", off, n)
	}
	buf := disk.Buffer(int(n))
	if _, err := f.ReadAt(buf, off); err != nil {
		return s, true, err
	}
	if crc32.Checksum(buf[:n], castagnoli) != le.Uint32(t[20:]) {
		return s, true, fmt.Errorf("footer checksum does not match")
	}
	if err := json.Unmarshal(buf[:n], &s); err != nil {
		return s, true, fmt.Errorf("read footer: %w", err)
	}
	if s.Tail.End != off {
		return s, true, fmt.Errorf("footer says that the content ends at %d, it stands at %d", s.Tail.End, off)
	}
	return s, true, nil
}

// footerLength returns the footer's length from a file's end that begins with
// the footer.
func footerLength(b []byte) int {
	return int(binary.LittleEndian.Uint32(b[len(b)-trailerSize+16:]))
}
