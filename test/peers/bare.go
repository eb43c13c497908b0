package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"holdfast/internal/disk"
)

// ringSize is the size of the bare file, that of a segment.
const ringSize = 64 << 20

// frame is what stands before each record in the bare file: its length and
// its CRC32C.
const frame = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// bare is the limit: a file whose blocks were all written before, written
// round and round with O_DIRECT and O_DSYNC, one write per group. It has
// lengths and checksums, but no segments, no seq, no schema, no recovery: it
// could not tell old records from new ones after a crash.
type bare struct {
	f     *os.File
	front *front
	group []byte // of the leader

	mu    sync.Mutex
	at    int64
	lap   int // records written since the ring began anew
	total int
}

func openBare(dir string, _ work) (*session, error) {
	f, err := os.OpenFile(filepath.Join(dir, "ring"), os.O_CREATE|os.O_RDWR|syscall.O_DIRECT|syscall.O_DSYNC, 0o600)
	if err != nil {
		return nil, err
	}
	zeros := disk.Buffer(1 << 20)
	for at := int64(0); at < ringSize; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, at); err != nil {
			return nil, err
		}
	}
	b := &bare{f: f}
	b.front = newFront(func(records [][]byte) error {
		b.group = encode(b.group, records)
		return b.write(b.group, len(records))
	})
	return &session{writer: b.writer, held: b.held}, nil
}

// writer shares flushes between single records. Who has a whole batch encodes
// it by himself, so that another's is flushed meanwhile.
func (b *bare) writer() appender {
	var own []byte
	return func(records [][]byte) error {
		if len(records) == 1 {
			return b.front.add(records)
		}
		own = encode(own, records)
		return b.write(own, len(records))
	}
}

// encode puts records, framed, into buf, made larger where need be, and pads
// them with zeros to whole blocks.
func encode(buf []byte, records [][]byte) []byte {
	n := 0
	for _, r := range records {
		n += frame + len(r)
	}
	n = disk.Up(n)
	if cap(buf) < n {
		buf = disk.Buffer(2 * n)
	}
	buf = buf[:n]
	at := 0
	for _, r := range records {
		binary.LittleEndian.PutUint32(buf[at:], uint32(len(r)))
		binary.LittleEndian.PutUint32(buf[at+4:], crc32.Checksum(r, castagnoli))
		at += frame + copy(buf[at+frame:], r)
	}
	clear(buf[at:])
	return buf
}

// write writes and flushes a group of n records.
func (b *bare) write(group []byte, n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at+int64(len(group)) > ringSize {
		b.at, b.lap = 0, 0
	}
	if _, err := b.f.WriteAt(group, b.at); err != nil {
		return err
	}
	b.at += int64(len(group))
	b.lap += n
	b.total += n
	return nil
}

// held counts the records since the ring began anew, against those written.
func (b *bare) held() (int, error) {
	defer b.f.Close()
	buf := disk.Buffer(int(b.at))
	if _, err := b.f.ReadAt(buf[:b.at], 0); err != nil && err != io.EOF {
		return 0, err
	}
	found := 0
	for at := 0; at+frame <= int(b.at); {
		n := int(binary.LittleEndian.Uint32(buf[at:]))
		if n == 0 {
			at = disk.Up(at + 1) // the rest of the block is padding
			continue
		}
		if at+frame+n > int(b.at) || crc32.Checksum(buf[at+frame:][:n], castagnoli) != binary.LittleEndian.Uint32(buf[at+4:]) {
			return 0, fmt.Errorf("the bare file's record at offset %d is not what was written", at)
		}
		at += frame + n
		found++
	}
	return b.total - b.lap + found, nil
}
