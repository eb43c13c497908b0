package row

import (
	"encoding/binary"
)

// SchemaOf returns the schema id of a record that is known to be whole.
func SchemaOf(rec []byte) uint32 { return binary.LittleEndian.Uint32(rec[offSchema:]) }

// LinkAt returns the link in column at of a record of a row: a whole number
// of 64 bits. It looks at that one value, and checks no checksum.
func LinkAt(rec []byte, at int) (int64, bool) {
	if at < 0 || len(rec) < RecordHead || Kind(rec[offKind]) != KindRow {
		return 0, false
	}
	count := int(binary.LittleEndian.Uint32(rec[offCount:]))
	if at >= count || count > (len(rec)-RecordHead)/4 {
		return 0, false
	}
	end, start := binary.LittleEndian.Uint32(rec[RecordHead+4*at:]), uint32(0)
	if at > 0 {
		start = binary.LittleEndian.Uint32(rec[RecordHead+4*(at-1):]) &^ nullBit
	}
	values := rec[RecordHead+4*count:]
	if end&nullBit != 0 || start > end || int(end) > len(values) {
		return 0, false
	}
	return ParseLink(values[start:end])
}

// ParseLink reads a link: a whole number of 64 bits, without blanks.
func ParseLink(text []byte) (int64, bool) {
	negative := len(text) > 0 && text[0] == '-'
	if len(text) > 0 && (negative || text[0] == '+') {
		text = text[1:]
	}
	if len(text) == 0 {
		return 0, false
	}
	n := int64(0) // below nothing, because there is one more number there
	for _, c := range text {
		d := int64(c - '0')
		if c < '0' || c > '9' || n < (minLink+d)/10 {
			return 0, false
		}
		n = n*10 - d
	}
	if negative {
		return n, true
	}
	return -n, n != minLink
}

// minLink is the lowest link.
const minLink = -1 << 63
