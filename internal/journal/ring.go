package journal

import "sync"

// ringSize is how much of the tail is kept in memory, in bytes, so that a sink
// that keeps up reads nothing from the disk.
const ringSize = 4 << 20

// ring holds the blocks written last, byte for byte, in a buffer of fixed
// size. A reader copies a block out, so that it never holds up the writer.
type ring struct {
	mu     sync.Mutex
	buf    []byte
	blocks map[ringKey]ringBlock
	order  []ringKey // oldest first, from head on
	head   int
	next   int // where the next block goes
}

// ringKey is where a block stands on disk.
type ringKey struct {
	number uint64
	offset int64
}

type ringBlock struct{ at, n int }

// put keeps a copy of a block. One that is too large is not kept.
func (r *ring) put(k ringKey, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(b) > ringSize/2 {
		return
	}
	if r.next+len(b) > len(r.buf) && len(r.buf) < ringSize {
		r.grow(len(b))
	}
	if r.next+len(b) > ringSize {
		r.evict(r.next, ringSize)
		r.next = 0
	}
	r.evict(r.next, r.next+len(b))
	copy(r.buf[r.next:], b)
	r.blocks[k] = ringBlock{r.next, len(b)}
	r.order = append(r.order, k)
	r.next += len(b)
}

// grow makes room for n bytes behind those of the first lap, the only one on
// which the ring is smaller than ringSize.
func (r *ring) grow(n int) {
	bigger := make([]byte, min(max(2*len(r.buf), r.next+n, ringSize/64), ringSize))
	copy(bigger, r.buf[:r.next])
	r.buf = bigger
	if r.blocks == nil {
		r.blocks = map[ringKey]ringBlock{}
	}
}

// evict forgets the oldest blocks as long as they lie in [from, to).
func (r *ring) evict(from, to int) {
	for r.head < len(r.order) {
		b := r.blocks[r.order[r.head]]
		if b.at >= to || b.at+b.n <= from {
			break
		}
		delete(r.blocks, r.order[r.head])
		r.head++
	}
	if r.head > len(r.order)/2 {
		r.order = r.order[:copy(r.order, r.order[r.head:])]
		r.head = 0
	}
}

// get appends a block to dst[:0]; nil where it is not kept.
func (r *ring) get(k ringKey, dst []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.blocks[k]
	if !ok {
		return nil
	}
	return append(dst[:0], r.buf[b.at:b.at+b.n]...)
}

// after returns where the first block stands that is kept of a segment, behind
// an offset, and end where none is before it.
func (r *ring) after(number uint64, offset, end int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.order[r.head:] {
		if k.number == number && k.offset > offset && k.offset < end {
			return k.offset
		}
	}
	return end
}
