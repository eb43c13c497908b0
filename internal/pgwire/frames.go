package pgwire

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"holdfast/internal/fault"
	"holdfast/internal/gate"
)

const (
	standing     = 8 << 10  // the read buffer that an idle connection keeps
	large        = 64 << 10 // the next size, pooled, and what COPY reads into
	maxMessage   = 64 << 20 // the body of a query, of a Bind and of one row of COPY
	maxSmall     = 10_000   // messages without data: PostgreSQL's PQ_SMALL_MESSAGE_LIMIT
	maxStartup   = 10_000   // PostgreSQL's MAX_STARTUP_PACKET_LENGTH
	maxUnbounded = 1<<31 - 1
)

var largeBuffers = sync.Pool{New: func() any { b := make([]byte, large); return &b }}

// frames reads messages. Its buffer grows with what has arrived, never with
// what a length announces.
type frames struct {
	r      io.Reader
	mem    *gate.Memory // of what is above large
	base   []byte
	buf    []byte // base, or a larger one
	pooled *[]byte
	taken  int // of mem
	rp, wp int
	read   atomic.Uint64 // bytes, for others to see
}

func newFrames(r io.Reader, mem *gate.Memory) *frames {
	f := &frames{r: r, mem: mem, base: make([]byte, standing)}
	f.buf = f.base
	return f
}

// buffered returns how much is there to be read without waiting.
func (f *frames) buffered() int { return f.wp - f.rp }

// errTooLarge says that a message was skipped because memory for it is not
// there; the connection goes on.
var errTooLarge = fault.New(fault.OutOfMemory, "memory for messages is used up by other connections").
	WithHint("send smaller statements, use COPY, or try again")

// next reads a message's header.
func (f *frames) next() (kind byte, n int, err error) {
	if err := f.need(5); err != nil {
		return 0, 0, err
	}
	kind, size := f.buf[f.rp], binary.BigEndian.Uint32(f.buf[f.rp+1:])
	f.rp += 5
	limit := limitOf(kind)
	if limit == 0 {
		return 0, 0, fault.New(fault.ProtocolViolation, "message type %q is not known", kind)
	}
	if size < 4 || size-4 > uint32(limit) {
		return 0, 0, fault.New(fault.ProtocolViolation, "message of type %q has the invalid length %d", kind, int32(size)).
			WithHint("at most %d bytes are taken; use COPY for more", limit)
	}
	return kind, int(size) - 4, nil
}

// limitOf is the longest body of a message; 0 for a type that is not known.
// CopyData is read in pieces, so its length costs nothing.
func limitOf(kind byte) int {
	switch kind {
	case 'Q', 'P', 'B', 'F':
		return maxMessage
	case 'd':
		return maxUnbounded
	case 'C', 'D', 'E', 'H', 'S', 'X', 'c', 'f', 'p':
		return maxSmall
	}
	return 0
}

// body reads n bytes. They are valid until the next call of any method.
func (f *frames) body(n int) ([]byte, error) {
	// Memory is taken as the message comes, not as its length says: else who
	// only announces takes it from those who send.
	for step := 2 * large; n > large && f.buffered() < n; step *= 2 {
		step = min(step, n)
		if more := step - f.taken; more > 0 {
			if !f.mem.Take(more) {
				if err := f.discard(n); err != nil {
					return nil, err
				}
				return nil, errTooLarge
			}
			f.taken = step
		}
		if err := f.need(step); err != nil {
			return nil, err
		}
	}
	if err := f.need(n); err != nil {
		return nil, err
	}
	b := f.buf[f.rp : f.rp+n : f.rp+n]
	f.rp += n
	return b, nil
}

// some reads at least one and at most n bytes.
func (f *frames) some(n int) ([]byte, error) {
	if err := f.need(1); err != nil {
		return nil, err
	}
	n = min(n, f.buffered())
	b := f.buf[f.rp : f.rp+n : f.rp+n]
	f.rp += n
	return b, nil
}

// discard skips n bytes.
func (f *frames) discard(n int) error {
	for n > 0 {
		b, err := f.some(n)
		if err != nil {
			return err
		}
		n -= len(b)
	}
	return nil
}

// need reads until n bytes are buffered.
func (f *frames) need(n int) error {
	for idle := 0; f.buffered() < n; {
		f.room(n)
		m, err := f.r.Read(f.buf[f.wp:])
		f.wp += m
		f.read.Add(uint64(m))
		switch {
		case m > 0:
			idle = 0
		case err != nil:
			if errors.Is(err, io.EOF) && f.buffered() > 0 {
				return io.ErrUnexpectedEOF
			}
			return err
		default:
			if idle++; idle > 100 {
				return io.ErrNoProgress
			}
		}
	}
	return nil
}

// room makes place behind wp, for n bytes from rp in the end.
func (f *frames) room(n int) {
	if f.rp > 0 && (f.rp == f.wp || f.rp+n > len(f.buf)) {
		f.wp = copy(f.buf, f.buf[f.rp:f.wp])
		f.rp = 0
	}
	if f.wp < len(f.buf) {
		return
	}
	if len(f.buf) < large {
		f.widen()
		return
	}
	bigger := make([]byte, min(2*len(f.buf), max(n, large)))
	copy(bigger, f.buf[:f.wp])
	f.putBack()
	f.buf = bigger
}

// widen moves to a pooled buffer of size large.
func (f *frames) widen() {
	if len(f.buf) >= large {
		return
	}
	p := largeBuffers.Get().(*[]byte)
	f.wp = copy(*p, f.buf[f.rp:f.wp])
	f.rp = 0
	f.buf, f.pooled = *p, p
}

func (f *frames) putBack() {
	if f.pooled != nil {
		largeBuffers.Put(f.pooled)
		f.pooled = nil
	}
}

// shrink goes back to the standing buffer, once what is left fits into it, and
// reports whether it did.
func (f *frames) shrink() bool {
	if len(f.buf) == len(f.base) || f.buffered() > len(f.base) {
		return false
	}
	f.wp = copy(f.base, f.buf[f.rp:f.wp])
	f.rp = 0
	f.release()
	return true
}

// release gives up everything but the standing buffer.
func (f *frames) release() {
	f.putBack()
	f.buf = f.base
	f.mem.Give(f.taken)
	f.taken = 0
}
