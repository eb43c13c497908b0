package mywire

import (
	"bufio"
	"errors"
	"io"
	"slices"

	"holdfast/internal/fault"
	"holdfast/internal/gate"
)

const (
	readBuffer   = 8 << 10
	bufferKept   = 64 << 10  // of a packet, between statements
	maxPacket    = 1<<24 - 2 // one more is continued in another packet, which is not taken
	maxLogin     = 16 << 10  // of a client that has not logged in; connection attributes make it long
	packetHeader = 4
)

// packets reads and writes packets. Its buffer grows with what has arrived,
// never with what a length announces.
type packets struct {
	line  io.ReadWriter
	r     *bufio.Reader
	mem   *gate.Memory // of what is above bufferKept
	limit int          // of a packet's body
	seq   byte         // the number that the next packet must have
	buf   []byte
	taken int // of mem
	out   []byte
}

func newPackets(line io.ReadWriter, mem *gate.Memory) *packets {
	return &packets{line: line, r: bufio.NewReaderSize(line, readBuffer), mem: mem, limit: maxLogin}
}

var (
	errTooLarge = fault.New(fault.LimitExceeded, "got a packet bigger than 'max_allowed_packet' bytes").
			WithHint("at most %d bytes are taken: send fewer rows in one statement, or use the PostgreSQL door's COPY", maxPacket)
	errNoMemory = fault.New(fault.OutOfMemory, "memory for statements is used up by other connections").
			WithHint("send smaller statements, or try again")
	errOrder = fault.New(fault.ProtocolViolation, "got packets out of order")
)

// header reads a packet's header and returns the length of its body.
func (p *packets) header() (int, error) {
	var h [packetHeader]byte
	if _, err := io.ReadFull(p.r, h[:]); err != nil {
		return 0, err
	}
	n := int(h[0]) | int(h[1])<<8 | int(h[2])<<16
	switch {
	case h[3] != p.seq:
		return 0, errOrder
	case n > p.limit:
		return 0, errTooLarge
	}
	p.seq++
	return n, nil
}

// body reads n bytes, which are valid until the next read.
func (p *packets) body(n int) ([]byte, error) {
	b := p.buf[:0]
	for len(b) < n {
		step := min(n-len(b), max(len(b), readBuffer))
		if !p.hold(len(b) + step) {
			if _, err := io.CopyN(io.Discard, p.r, int64(n-len(b))); err != nil {
				return nil, err
			}
			return nil, errNoMemory
		}
		b = slices.Grow(b, step)
		at := len(b)
		b = b[:at+step]
		if _, err := io.ReadFull(p.r, b[at:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	p.buf = b
	return b, nil
}

// hold takes memory for n bytes of a packet, twice: for a buffer and for the one
// that it grows out of. It is taken as they come, not as the length says, lest
// who only announces takes it from those who send.
func (p *packets) hold(n int) bool {
	more := 2*n - p.taken
	if n <= bufferKept || more <= 0 {
		return true
	}
	if !p.mem.Take(more) {
		return false
	}
	p.taken += more
	return true
}

// shrink gives back what a large packet took.
func (p *packets) shrink() {
	if p.taken > 0 {
		p.mem.Give(p.taken)
		p.taken = 0
	}
	if cap(p.buf) > bufferKept {
		p.buf = nil
	}
	if cap(p.out) > bufferKept {
		p.out = nil
	}
}

// put adds a packet to what is sent with the next flush.
func (p *packets) put(body []byte) {
	n := len(body) // no answer is anywhere near maxPacket
	p.out = append(p.out, byte(n), byte(n>>8), byte(n>>16), p.seq)
	p.out = append(p.out, body...)
	p.seq++
}

// flush sends what was put.
func (p *packets) flush() error {
	out := p.out
	p.out = p.out[:0]
	if len(out) == 0 {
		return nil
	}
	_, err := p.line.Write(out)
	return err
}

// reader takes values out of a packet. What is not there makes it bad, and
// gives zero values from then on.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

// number reads a little-endian number of size bytes, 8 at most.
func (r *reader) number(size int) (n uint64) {
	for i, c := range r.bytes(uint64(size)) {
		n |= uint64(c) << (8 * i)
	}
	return n
}

// length reads a length-encoded integer.
func (r *reader) length() uint64 {
	switch c := r.number(1); c {
	case 0xfc:
		return r.number(2)
	case 0xfd:
		return r.number(3)
	case 0xfe:
		return r.number(8)
	case 0xfb, 0xff:
		r.bad = true
		return 0
	default:
		return c
	}
}

// text reads a length-encoded string.
func (r *reader) text() []byte { return r.bytes(r.length()) }

// terminated reads up to a NUL, or to the end where there is none.
func (r *reader) terminated() []byte {
	at := slices.Index(r.b, 0)
	if at < 0 {
		return r.bytes(uint64(len(r.b)))
	}
	out := r.bytes(uint64(at))
	r.bytes(1)
	return out
}

// appendLength appends a length-encoded integer.
func appendLength(b []byte, n uint64) []byte {
	switch {
	case n < 0xfb:
		return append(b, byte(n))
	case n < 1<<16:
		return append(b, 0xfc, byte(n), byte(n>>8))
	case n < 1<<24:
		return append(b, 0xfd, byte(n), byte(n>>8), byte(n>>16))
	}
	b = append(b, 0xfe)
	return appendNumber(b, n, 8)
}

// appendNumber appends a little-endian number of size bytes.
func appendNumber(b []byte, n uint64, size int) []byte {
	for range size {
		b = append(b, byte(n))
		n >>= 8
	}
	return b
}

// appendText appends a length-encoded string.
func appendText(b []byte, s string) []byte {
	return append(appendLength(b, uint64(len(s))), s...)
}
