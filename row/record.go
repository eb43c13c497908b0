package row

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"holdfast/internal/mutant"
)

// A record is the bytes of a row, a schema or a state entry inside a block.
// All numbers are little-endian.
//
//	 0  u32  length of the record, this included
//	 4  u32  index of the record in its block, stamped when the block is filled
//	 8  u32  checksum, see sum
//	12  u8   kind
//	13  u8   zero
//	14  u16  flags
//	16  u32  schema id
//	20  u32  number of values
//	24  u32  end offset of each value, from the end of this array; top bit: NULL
//	 …       the values
const (
	// RecordHead is the size of a record's fixed part, in bytes.
	RecordHead = 24

	offIndex  = 4
	offSum    = 8
	offKind   = 12
	offFlags  = 14
	offSchema = 16
	offCount  = 20

	nullBit = 1 << 31
)

// Limits of a row. They bound what a reader allocates for a length it has
// read, and what one writer can hold in memory.
const (
	// MaxBytes is the size of the largest record, in bytes: large enough for
	// a document in a column, small enough to be held a few times over.
	MaxBytes = 8 << 20
	// MaxValues is how many columns a row has at most. PostgreSQL stops at 1600.
	MaxValues = 4096
)

// Kind tells what a record is.
type Kind uint8

// The kinds of records. Only a row has a seq.
const (
	KindRow    Kind = 1 // values of one row
	KindSchema Kind = 2 // table name, then a name and a type for each column
	KindState  Kind = 3 // a source's state: key, value
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// indexMix spreads a record's index over the checksum, so that a record that
// was copied to another place does not pass there. Any odd constant will do;
// this is 2^32 divided by the golden ratio.
const indexMix = 0x9E3779B1

// sum is the checksum before the index is mixed in: CRC32C over the length and
// everything behind the checksum field.
func sum(rec []byte) uint32 {
	s := crc32.Update(0, castagnoli, rec[:offIndex])
	return crc32.Update(s, castagnoli, rec[offKind:])
}

// AppendRecord appends the record of values to dst, with index 0, and returns
// the extended slice. The caller has checked the values against MaxBytes and
// MaxValues with Size.
func AppendRecord(dst []byte, kind Kind, schema uint32, flags Flags, values []Value) []byte {
	start := len(dst)
	size := Size(values)
	dst = grow(dst, size)
	rec := dst[start:]
	binary.LittleEndian.PutUint32(rec, uint32(size))
	binary.LittleEndian.PutUint32(rec[offIndex:], 0)
	rec[offKind], rec[offKind+1] = byte(kind), 0
	binary.LittleEndian.PutUint16(rec[offFlags:], uint16(flags))
	binary.LittleEndian.PutUint32(rec[offSchema:], schema)
	binary.LittleEndian.PutUint32(rec[offCount:], uint32(len(values)))
	base := RecordHead + 4*len(values)
	end := uint32(0)
	for i := range values {
		e := end
		if values[i].Null {
			e |= nullBit
		} else {
			copy(rec[base+int(end):], values[i].Text)
			end += uint32(len(values[i].Text))
			e = end
		}
		binary.LittleEndian.PutUint32(rec[RecordHead+4*i:], e)
	}
	binary.LittleEndian.PutUint32(rec[offSum:], sum(rec))
	return dst
}

// grow extends dst by n bytes, whose contents are undefined.
func grow(dst []byte, n int) []byte {
	if need := len(dst) + n; need <= cap(dst) {
		return dst[:need]
	}
	bigger := make([]byte, len(dst)+n, 2*len(dst)+n)
	copy(bigger, dst)
	return bigger
}

// Size returns how many bytes the record of values takes.
func Size(values []Value) int {
	n := RecordHead + 4*len(values)
	for i := range values {
		if !values[i].Null {
			n += len(values[i].Text)
		}
	}
	return n
}

// Length returns the length of the record that b starts with, or an error
// where that length cannot be. It looks at nothing else.
func Length(b []byte) (int, error) {
	if len(b) < RecordHead {
		return 0, badLength{RecordHead, len(b)}
	}
	n := binary.LittleEndian.Uint32(b)
	if n < RecordHead || (n > MaxBytes || int(n) > len(b)) && !mutant.On(10) {
		return 0, badLength{n, len(b)}
	}
	return int(n), nil
}

// badLength says why a record cannot be so long. Whoever looks for records in
// a damaged block asks at each of its bytes, so no text is made before it is
// wanted.
type badLength struct {
	length uint32
	left   int // bytes
}

func (e badLength) Error() string {
	if e.left < RecordHead {
		return fmt.Sprintf("record is cut off after %d bytes", e.left)
	}
	return fmt.Sprintf("record length %d does not fit into the %d bytes left", e.length, e.left)
}

// Stamp writes the record's index in its block, and the checksum that goes
// with it and with the segment's salt, into a record with index 0. No writer
// of rows knows the salt, so none can hide a record that passes in a value.
func Stamp(rec []byte, index, salt uint32) {
	s := binary.LittleEndian.Uint32(rec[offSum:])
	binary.LittleEndian.PutUint32(rec[offIndex:], index)
	binary.LittleEndian.PutUint32(rec[offSum:], s^index*indexMix^salt)
}

// Bind ties the checksum of a stamped record to the place it is written to,
// given as a number; a second time with the same number takes that back. Parse
// is told the place with the salt: the XOR of both.
func Bind(rec []byte, place uint32) {
	s := binary.LittleEndian.Uint32(rec[offSum:])
	binary.LittleEndian.PutUint32(rec[offSum:], s^place)
}

// setFlags adds flags to a record with index 0 and renews its checksum.
func setFlags(rec []byte, flags Flags) {
	f := binary.LittleEndian.Uint16(rec[offFlags:])
	binary.LittleEndian.PutUint16(rec[offFlags:], f|uint16(flags))
	binary.LittleEndian.PutUint32(rec[offSum:], sum(rec))
}

// clearFlags takes flags from a record with index 0 and renews its checksum.
func clearFlags(rec []byte, flags Flags) {
	f := binary.LittleEndian.Uint16(rec[offFlags:])
	binary.LittleEndian.PutUint16(rec[offFlags:], f&^uint16(flags))
	binary.LittleEndian.PutUint32(rec[offSum:], sum(rec))
}

// Record is the view of one record's bytes that Parse has checked.
type Record struct {
	Kind   Kind
	Flags  Flags
	Schema uint32
	Index  uint32
	n      int
	bytes  []byte
}

// Parse checks rec, the bytes of exactly one record, against its checksum, the
// salt it was stamped with, and its own lengths, and returns a view of it. The
// salt of a record that was not stamped is 0.
func Parse(rec []byte, salt uint32) (Record, error) {
	n, err := Length(rec)
	if err == nil && n == len(rec) {
		index := binary.LittleEndian.Uint32(rec[offIndex:])
		if got := binary.LittleEndian.Uint32(rec[offSum:]); got != sum(rec)^index*indexMix^salt {
			return Record{}, fmt.Errorf("record checksum %08x does not match its bytes", got)
		}
	}
	return ParseCovered(rec)
}

// ParseCovered is Parse for a record whose bytes, and whose place, another
// checksum covers that was verified: it checks its lengths alone.
func ParseCovered(rec []byte) (Record, error) {
	n, err := Length(rec)
	if err != nil {
		return Record{}, err
	}
	if n != len(rec) {
		return Record{}, fmt.Errorf("record has %d bytes, its length says %d", len(rec), n)
	}
	count := binary.LittleEndian.Uint32(rec[offCount:])
	if count > uint32((n-RecordHead)/4) {
		return Record{}, fmt.Errorf("record of %d bytes says that it has %d values", n, count)
	}
	r := Record{
		Kind:   Kind(rec[offKind]),
		Flags:  Flags(binary.LittleEndian.Uint16(rec[offFlags:])),
		Schema: binary.LittleEndian.Uint32(rec[offSchema:]),
		Index:  binary.LittleEndian.Uint32(rec[offIndex:]),
		n:      int(count),
		bytes:  rec,
	}
	return r, r.checkEnds()
}

// checkEnds makes sure that the values lie one behind the other and end where
// the record does, so that Value needs no checks.
func (r Record) checkEnds() error {
	room := uint32(len(r.bytes) - RecordHead - 4*r.n)
	last := uint32(0)
	for i := range r.n {
		end := binary.LittleEndian.Uint32(r.bytes[RecordHead+4*i:]) &^ nullBit
		if end < last || end > room {
			return fmt.Errorf("value %d of the record ends at %d, outside its %d bytes", i, end, room)
		}
		last = end
	}
	if last != room {
		return fmt.Errorf("record has %d bytes behind its last value", room-last)
	}
	return nil
}

// Len returns the number of values.
func (r Record) Len() int { return r.n }

// Value returns value i without looking at the others. It points into the
// record's bytes.
func (r Record) Value(i int) Value {
	end := binary.LittleEndian.Uint32(r.bytes[RecordHead+4*i:])
	if end&nullBit != 0 {
		return Null
	}
	start := uint32(0)
	if i > 0 {
		start = binary.LittleEndian.Uint32(r.bytes[RecordHead+4*(i-1):]) &^ nullBit
	}
	base := uint32(RecordHead + 4*r.n)
	return Value{Text: r.bytes[base+start : base+end : base+end]}
}

// AppendValues appends all values to dst.
func (r Record) AppendValues(dst []Value) []Value {
	for i := range r.n {
		dst = append(dst, r.Value(i))
	}
	return dst
}

// AppendSchema appends the record that defines s under its ID.
func AppendSchema(dst []byte, s *Schema) []byte {
	values := make([]Value, 0, 1+2*len(s.Columns))
	values = append(values, Text(s.Table))
	for _, c := range s.Columns {
		values = append(values, Text(c.Name), Text(c.Type))
	}
	return AppendRecord(dst, KindSchema, s.ID, 0, values)
}

// ParseSchema returns the schema that a record of KindSchema defines.
func ParseSchema(r Record) (*Schema, error) {
	if r.Kind != KindSchema || r.n == 0 || r.n%2 == 0 {
		return nil, fmt.Errorf("record of kind %d with %d values is no schema", r.Kind, r.n)
	}
	s := &Schema{ID: r.Schema, Table: string(r.Value(0).Text)}
	for i := 1; i < r.n; i += 2 {
		s.Columns = append(s.Columns, Column{Name: string(r.Value(i).Text), Type: string(r.Value(i + 1).Text)})
	}
	return s, nil
}
