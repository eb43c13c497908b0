package bench

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"

	"holdfast/internal/disk"
	"holdfast/row"
)

// What stands here are the baselines of the append path. They write the same
// values to the same disk, through internal/disk where they flush, so that
// they have the fastest way to the platter that is known to us.

// ring is a file that was written before from end to end, as a segment taken
// from the pool was, and is written round and round. It never rotates, and
// nobody could read it after a crash.
type ring struct {
	f    disk.File
	size int64
	at   int64
}

// newRing makes the file, as large as a segment, and writes and flushes all of it.
func newRing(p *pair, at place) (*ring, error) {
	root, err := disk.OpenReal(filepath.Join(at.dir, "baseline"))
	if err != nil {
		return nil, err
	}
	p.onClose(root.Close)
	f, err := root.Create("ring")
	if err != nil {
		return nil, err
	}
	p.onClose(f.Close)
	zeros := disk.Buffer(1 << 20)
	for off := int64(0); off < at.segment; off += int64(len(zeros)) {
		if err := f.WriteAt(zeros, off); err != nil {
			return nil, err
		}
	}
	return &ring{f: f, size: at.segment}, f.Sync()
}

// write writes and flushes p, which is aligned and padded, in one call.
func (r *ring) write(p []byte) error {
	if r.at+int64(len(p)) > r.size {
		r.at = 0
	}
	err := r.f.WriteSyncAt(p, r.at)
	r.at += int64(len(p))
	return err
}

// flushEach is the baseline of one waiter: it copies one record into one page,
// writes and flushes it, by itself. It needs no lock and wakes nobody, which
// the product must.
func flushEach(r *ring, record []byte) side {
	page := disk.Buffer(len(record))
	return func(n int, took *histogram) (float64, error) {
		return float64(n), alone(n, took, func() error {
			copy(page, record)
			return r.write(page)
		})
	}
}

// group is the baseline of many waiters: a group commit stripped of all that
// makes it a journal. A waiter copies its record into the open block under a
// mutex and waits; one goroutine swaps the block out, writes and flushes it
// with one call, and wakes everybody in it by closing a channel, as the product
// does, while the next block fills. There is no header, no checksum, no schema,
// no seq, no rotation, no copy of the tail in memory, and nobody can cancel.
type group struct {
	ring *ring
	work chan struct{} // holds one token: the open block has something in it
	done chan struct{} // closed when the goroutine has ended

	mu   sync.Mutex
	open *crowd
	free []byte // the other block's memory; nil while it is being written
}

// crowd is a block and those who wait for it.
type crowd struct {
	buf     []byte
	n       int
	flushed chan struct{} // closed when err is set
	err     error
}

// newGroup starts the goroutine; limit is how many bytes all waiters together
// have in a block at most.
func newGroup(p *pair, r *ring, limit int) *group {
	g := &group{
		ring: r, work: make(chan struct{}, 1), done: make(chan struct{}), free: disk.Buffer(limit),
		open: &crowd{buf: disk.Buffer(limit), flushed: make(chan struct{})},
	}
	go g.commit()
	p.onClose(func() error {
		close(g.work)
		<-g.done
		return nil
	})
	return g
}

// add copies record into the open block and returns when it is flushed.
func (g *group) add(record []byte) error {
	g.mu.Lock()
	c := g.open
	first := c.n == 0
	c.n += copy(c.buf[c.n:], record)
	g.mu.Unlock()
	if first {
		g.work <- struct{}{}
	}
	<-c.flushed
	return c.err
}

func (g *group) commit() {
	defer close(g.done)
	for range g.work {
		g.mu.Lock()
		c := g.open
		g.open, g.free = &crowd{buf: g.free, flushed: make(chan struct{})}, nil
		g.mu.Unlock()
		c.err = g.ring.write(c.buf[:disk.Up(c.n)])
		buf := c.buf
		close(c.flushed)
		g.mu.Lock()
		g.free = buf
		g.mu.Unlock()
	}
}

// flushGroup lets count waiters append to g.
func flushGroup(g *group, count int, record []byte) side {
	return func(n int, took *histogram) (float64, error) {
		return float64(n), waiters(count, n, took, func(_, share int, took *histogram) error {
			return alone(share, took, func() error { return g.add(record) })
		})
	}
}

// flushBatches encodes a batch just as a writer of the product does, then
// writes and flushes those bytes, then does the next. A plain program has
// nothing to overlap the flush with.
func flushBatches(r *ring, s *row.Schema, values []row.Value, size int) side {
	var b row.Batch
	var buf []byte
	return func(n int, took *histogram) (float64, error) {
		return float64(n), inBatches(n, size, took, func(rows int) error {
			if err := fill(&b, s, values, rows); err != nil {
				return err
			}
			if need := disk.Up(b.Len()); need > len(buf) {
				buf = disk.Buffer(need)
			}
			return r.write(buf[:disk.Up(copy(buf, b.Bytes()))])
		})
	}
}

// fill puts rows rows into the emptied batch.
func fill(b *row.Batch, s *row.Schema, values []row.Value, rows int) error {
	b.Reset()
	for range rows {
		if err := b.Add(s, 0, values); err != nil {
			return err
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// plainFile is a file that grows through the page cache and starts anew once
// it is as large as a segment, so that the cache, not the disk, is measured.
type plainFile struct {
	f    *os.File
	size int64
	at   int64
}

func newPlainFile(p *pair, at place) (*plainFile, error) {
	f, err := os.Create(filepath.Join(at.dir, "plain"))
	if err != nil {
		return nil, err
	}
	p.onClose(f.Close)
	return &plainFile{f: f, size: at.segment}, nil
}

func (w *plainFile) write(p []byte) error {
	if w.at+int64(len(p)) > w.size {
		w.at = 0
	}
	n, err := w.f.WriteAt(p, w.at)
	w.at += int64(n)
	return err
}

// appendLine puts length, checksum and values of one row behind b: the least
// that lets somebody read rows back and notice a flipped bit.
func appendLine(b []byte, values []row.Value) []byte {
	at := len(b)
	b = append(b, make([]byte, 8)...)
	for _, v := range values {
		b = append(b, v.Text...)
		b = append(b, '\t')
	}
	body := b[at+8:]
	binary.LittleEndian.PutUint32(b[at:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[at+4:], crc32.Checksum(body, castagnoli))
	return b
}

// bufferSize is where a buffer without flushes is at its best.
const bufferSize = 256 << 10

// bufferRows collects rows in a buffer and writes it when it is full. It never
// flushes, and what is in the buffer does not even survive a kill.
func bufferRows(w *plainFile, values []row.Value, size int) side {
	buf := make([]byte, 0, bufferSize+4096)
	return func(n int, took *histogram) (float64, error) {
		return float64(n), inBatches(n, size, took, func(rows int) error {
			for range rows {
				buf = appendLine(buf, values)
				if len(buf) < bufferSize {
					continue
				}
				if err := w.write(buf); err != nil {
					return err
				}
				buf = buf[:0]
			}
			return nil
		})
	}
}

// writeRows writes each row with one system call, which is what survives a
// kill, and is never flushed.
func writeRows(w *plainFile, values []row.Value) side {
	var buf []byte
	return func(n int, took *histogram) (float64, error) {
		return float64(n), alone(n, took, func() error {
			buf = appendLine(buf[:0], values)
			return w.write(buf)
		})
	}
}
