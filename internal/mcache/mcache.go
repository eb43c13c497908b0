// Package mcache reads and writes the message cache of OpenXDAS: a FIFO of
// messages in a directory, in files of 1 MiB called xdasd.cache.0,
// xdasd.cache.1 and so on, each removed when it has been read to its end.
// docs/mcache.md has the bytes.
//
// No complete source of the original is public, and its description
// contradicts itself in how a record's length is counted. A reader therefore
// tries each reading; only the right one lands exactly on the end of the data.
package mcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// Limit is the size of every file, in bytes. It stands in each header, and
	// tells the byte order.
	Limit = 1 << 20
	// MaxRecord is the size of the largest record, in bytes, its length included.
	MaxRecord = 64 << 10
	// Fields is how many fields a message has.
	Fields = 33

	prefix     = "xdasd.cache."
	headerSize = 12
	fixedSize  = 76 // of a record: length, flags, offsets
	// MaxMessage is the size of the largest message, in bytes.
	MaxMessage = MaxRecord - fixedSize
)

// ErrTooLarge says that a record would take more than MaxRecord bytes.
var ErrTooLarge = errors.New("record is larger than 65536 bytes")

// Record is one message.
type Record struct {
	Flags uint32
	// Offsets are where the fields begin in Message, and where the last ends.
	Offsets [Fields + 1]uint16
	Message []byte
}

// Field returns field i as it stands in the message, with the colon behind it.
func (r *Record) Field(i int) []byte { return r.Message[r.Offsets[i]:r.Offsets[i+1]] }

// Order is a byte order.
type Order uint8

// The byte orders. A file's limit tells which one it has.
const (
	Little Order = iota
	Big
)

// String returns its name.
func (o Order) String() string {
	if o == Big {
		return "big-endian"
	}
	return "little-endian"
}

func (o Order) bytes() interface {
	binary.ByteOrder
	binary.AppendByteOrder
} {
	if o == Big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// Reading is one way to understand the length of a record.
type Reading uint8

// The readings. Holdfast writes A.
const (
	// A: one length word, which does not count itself.
	A Reading = iota
	// B: one length word, which counts itself.
	B
	// C: a length word before the record, and again as its first word; neither
	// counts itself.
	C
)

// String returns its letter.
func (r Reading) String() string { return string("ABC"[r]) }

// Header is what a file begins with.
type Header struct {
	Order Order
	BOF   uint32 // where the oldest record that was not read begins
	EOF   uint32 // where the next record goes

	void bool // the file has none
}

// ParseHeader reads the first bytes of a file.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < headerSize {
		return Header{}, fmt.Errorf("it has %d bytes, fewer than a header", len(b))
	}
	h := Header{}
	switch {
	case binary.LittleEndian.Uint32(b[8:]) == Limit:
	case binary.BigEndian.Uint32(b[8:]) == Limit:
		h.Order = Big
	default:
		return h, fmt.Errorf("its limit is % x, which is %d in neither byte order", b[8:12], Limit)
	}
	h.BOF, h.EOF = h.Order.bytes().Uint32(b), h.Order.bytes().Uint32(b[4:])
	if h.BOF < headerSize || h.BOF > h.EOF || h.EOF > Limit {
		return h, fmt.Errorf("its bof is %d and its eof %d, not %d <= bof <= eof <= %d", h.BOF, h.EOF, headerSize, Limit)
	}
	return h, nil
}

// AppendHeader appends the header of a file.
func AppendHeader(dst []byte, h Header) []byte {
	o := h.Order.bytes()
	return o.AppendUint32(o.AppendUint32(o.AppendUint32(dst, h.BOF), h.EOF), Limit)
}

// AppendRecord appends a record, in reading A. It refuses one that is too
// large, and offsets that do not fit its message.
func AppendRecord(dst []byte, order Order, r *Record) ([]byte, error) {
	if len(r.Message) > MaxMessage {
		return dst, fmt.Errorf("%w: it takes %d", ErrTooLarge, fixedSize+len(r.Message))
	}
	if err := r.checkOffsets(); err != nil {
		return dst, err
	}
	o := order.bytes()
	dst = o.AppendUint32(dst, uint32(fixedSize-4+len(r.Message)))
	dst = o.AppendUint32(dst, r.Flags)
	for _, at := range r.Offsets {
		dst = o.AppendUint16(dst, at)
	}
	return append(dst, r.Message...), nil
}

func (r *Record) checkOffsets() error {
	last := uint16(0)
	for i, at := range r.Offsets {
		if at < last || int(at) > len(r.Message) {
			return fmt.Errorf("field %d begins at %d, outside its message of %d bytes or before the field in front of it", i, at, len(r.Message))
		}
		last = at
	}
	return nil
}

// parseRecord reads the record that b begins with. n is its length.
func parseRecord(b []byte, order Order, reading Reading) (r Record, n int, err error) {
	o := order.bytes()
	lead := 0 // bytes in front of the record's own length
	if reading == C {
		lead = 4
	}
	if len(b) < lead+fixedSize {
		return r, 0, fmt.Errorf("%d bytes are left, fewer than a record has", len(b))
	}
	size := int64(o.Uint32(b[lead:])) // of the record from its own length on
	if reading != B {
		size += 4
	}
	if size < fixedSize || size > MaxRecord || size+int64(lead) > int64(len(b)) {
		return r, 0, fmt.Errorf("length %d cannot be, with %d bytes left", o.Uint32(b[lead:]), len(b))
	}
	if lead > 0 && o.Uint32(b) != o.Uint32(b[lead:]) {
		return r, 0, fmt.Errorf("lengths %d and %d differ", o.Uint32(b), o.Uint32(b[lead:]))
	}
	n = lead + int(size)
	b = b[lead:n]
	r.Flags = o.Uint32(b[4:])
	for i := range r.Offsets {
		r.Offsets[i] = o.Uint16(b[8+2*i:])
	}
	r.Message = b[fixedSize:len(b):len(b)]
	return r, n, r.checkOffsets()
}

// Name returns what the file with a number is called.
func Name(number uint32) string { return prefix + strconv.FormatUint(uint64(number), 10) }

// ParseName returns the number of a file. A name with leading zeros is none of
// this cache.
func ParseName(name string) (number uint32, ok bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || Name(uint32(n)) != name {
		return 0, false
	}
	return uint32(n), true
}
