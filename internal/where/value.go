package where

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"

	"holdfast/row"
)

// Key is a value as bytes of a fixed length that keep its order: of two values
// the lower one never has the higher key. Different values may share one.
type Key []byte

// textKey is how many bytes of a text its key has: enough for any address and
// most names; what is longer is told apart by its digest.
const textKey = 24

// KeyLen is how long the keys of a kind are.
func (k Kind) KeyLen() int {
	if k == Text {
		return textKey
	}
	return 8
}

// AppendKey appends the key of a text; false, and dst as it was, for a text
// that is no value of the kind: no comparison holds of it.
func (k Kind) AppendKey(dst, text []byte) (Key, bool) {
	switch k {
	case Number:
		d, ok := parseDecimal(text)
		if !ok {
			return dst, false
		}
		return appendFloat(dst, d.float(text)), true
	case Time:
		at, ok := parseTime(text)
		if !ok {
			return dst, false
		}
		return appendInt(dst, at), true
	case Bool:
		b, ok := parseBool(text)
		if !ok {
			return dst, false
		}
		return appendInt(dst, b), true
	}
	n := min(len(text), textKey)
	dst = append(dst, text[:n]...)
	for ; n < textKey; n++ {
		dst = append(dst, 0)
	}
	return dst, true
}

// appendFloat appends a float so that bytes compare as floats do.
func appendFloat(dst []byte, f float64) []byte {
	b := math.Float64bits(f + 0) // -0 becomes 0
	if b>>63 != 0 {
		b = ^b
	} else {
		b |= 1 << 63
	}
	return binary.BigEndian.AppendUint64(dst, b)
}

func appendInt(dst []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(n)^1<<63)
}

// Seed is the part of a digest that all values of a column share.
type Seed uint64

// FNV-1a, 64 bits.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func (s Seed) add(b []byte) Seed {
	for _, c := range b {
		s = (s ^ Seed(c)) * fnvPrime
	}
	return s
}

// Prefix returns the seed of a column's digests.
func Prefix(table, column string, k Kind) Seed {
	s := Seed(fnvOffset)
	for _, part := range []string{table, column, string(k)} {
		s = (s.add([]byte(part)) ^ 0xff) * fnvPrime // a byte that no UTF-8 has
	}
	return s
}

// Digest returns what equal values of the column have in common: of a text all
// its bytes, of anything else its key. See docs/format.md.
func (s Seed) Digest(k Kind, text []byte, key Key) uint64 {
	if k != Text {
		text = key
	}
	h := uint64(s.add(text))
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// Value is a constant that a column is compared with.
type Value struct {
	kind  Kind
	seed  Seed
	text  []byte
	exact decimal
	n     int64 // a time in microseconds, or a bool
}

// order compares a column's text with the value; false where it is no value of
// the kind.
func (v *Value) order(text []byte) (int, bool) {
	switch v.kind {
	case Number:
		d, ok := parseDecimal(text)
		if !ok {
			return 0, false
		}
		return d.compare(&v.exact), true
	case Time:
		at, ok := parseTime(text)
		return cmp.Compare(at, v.n), ok
	case Bool:
		b, ok := parseBool(text)
		return cmp.Compare(b, v.n), ok
	}
	return bytes.Compare(text, v.text), true
}

func (v *Value) key() Key {
	if v.kind == Time || v.kind == Bool {
		return appendInt(nil, v.n)
	}
	k, _ := v.kind.AppendKey(nil, v.text)
	return k
}

func (v *Value) digest() uint64 { return v.seed.Digest(v.kind, v.text, v.key()) }

// valueOf makes a constant of what an expression gave; false where it cannot be
// compared with the column.
func valueOf(table string, c column, given any) (Value, bool) {
	v := Value{kind: c.kind, seed: Prefix(table, c.name, c.kind)}
	ok := false
	switch x := given.(type) {
	case string:
		switch c.kind {
		case Text:
			v.text, ok = []byte(x), true
		case Time:
			v.n, ok = parseTime([]byte(x))
		}
	case bool:
		if ok = c.kind == Bool; ok && x {
			v.n = 1
		}
	case time.Time:
		v.n, ok = x.UnixMicro(), c.kind == Time
	case int:
		v.text, ok = strconv.AppendInt(nil, int64(x), 10), c.kind == Number
	case float64:
		v.text, ok = strconv.AppendFloat(nil, x, 'g', -1, 64), c.kind == Number
	}
	if ok && c.kind == Number {
		v.exact, ok = parseDecimal(v.text)
	}
	return v, ok
}

// parseTime reads a moment, in microseconds since 1970.
func parseTime(text []byte) (int64, bool) {
	var room [40]byte
	b, ok := row.AppendEpoch(room[:0], text, time.UTC)
	if !ok {
		return 0, false
	}
	whole, part, _ := bytes.Cut(b, []byte("."))
	seconds, err := strconv.ParseInt(string(whole), 10, 64)
	if err != nil {
		return 0, false
	}
	micros := int64(0)
	for i := range 6 {
		micros *= 10
		if i < len(part) {
			micros += int64(part[i] - '0')
		}
	}
	if len(whole) > 0 && whole[0] == '-' {
		micros = -micros
	}
	return seconds*1e6 + micros, true
}

// parseBool reads what PostgreSQL takes for a boolean, most of it.
func parseBool(text []byte) (int64, bool) {
	switch strings.ToLower(string(bytes.TrimSpace(text))) {
	case "t", "true", "y", "yes", "on", "1":
		return 1, true
	case "f", "false", "n", "no", "off", "0":
		return 0, true
	}
	return 0, false
}
