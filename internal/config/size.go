package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes. Units are powers of two, as in the systems whose
// configurations people bring along: 1 KB is 1024 bytes.
type Size int64

// sizeUnits maps a unit in lower case to its power of two.
var sizeUnits = map[string]uint{
	"b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20,
	"g": 30, "gb": 30, "gib": 30, "t": 40, "tb": 40, "tib": 40,
}

const sizeHint = `write a number and a unit, like "200 GB"; units are t, TB, g, GB, m, MB, KB, B, in powers of two`

// maxSize is the largest size accepted, in bytes: larger than any volume, and
// small enough that sums of sizes do not overflow.
const maxSize = 1 << 56

// ParseSize reads "200 GB", "1.5t" or "0".
func ParseSize(text string) (Size, error) {
	t := strings.TrimSpace(text)
	end := strings.IndexFunc(t, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(t)
	}
	digits, unit := t[:end], strings.ToLower(strings.TrimSpace(t[end:]))
	if digits == "" {
		return 0, wrong(sizeHint, "size %q is not a number with a unit", text)
	}
	if digits == "0" && unit == "" {
		return 0, nil
	}
	shift, ok := sizeUnits[unit]
	if !ok && unit == "" {
		return 0, wrong(sizeHint, "size %q has no unit", text)
	}
	if !ok {
		return 0, wrong(sizeHint, "size %q has the unknown unit %q", text, strings.TrimSpace(t[end:]))
	}
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		if n > maxSize>>shift {
			return 0, wrong("the largest size is 65536 TB", "size %q is too large", text)
		}
		return Size(n << shift), nil
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 0, wrong(sizeHint, "size %q is not a number with a unit", text)
	}
	if f *= float64(int64(1) << shift); f > maxSize {
		return 0, wrong("the largest size is 65536 TB", "size %q is too large", text)
	}
	return Size(f), nil
}

// String returns the size resolved in bytes, in a form that ParseSize reads.
func (s Size) String() string { return strconv.FormatInt(int64(s), 10) + " B" }

// Short tells the size in the largest unit that leaves at least 1, rounded, for
// people.
func (s Size) Short() string {
	const units = "KMGTPE"
	if s < 1024 {
		return s.String()
	}
	f, u := float64(s)/1024, 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	return fmt.Sprintf("%.1f %cB", f, units[u])
}

func (s *Size) scan(text string) (err error) {
	n, err := ParseSize(text)
	if err == nil {
		*s = n
	}
	return err
}

func (*Size) shape() map[string]any {
	return map[string]any{
		"type":    []string{"string", "integer"},
		"pattern": `^\s*([0-9]+(\.[0-9]*)?\s*([kKmMgGtT]([iI]?[bB])?|[bB])|0)\s*$`,
		"maximum": 0, "minimum": 0,
	}
}
