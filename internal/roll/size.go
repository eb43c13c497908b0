package roll

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"holdfast/internal/fault"
)

// Size is a number of bytes. Units are powers of two: the manual does not say,
// and of the two readings this one keeps more under a maximum.
type Size int64

// sizeUnits maps a unit to its power of two. The first six are the manual's; B is
// there so that a resolved size can be read again.
var sizeUnits = map[string]uint{
	"t": 40, "TB": 40, "g": 30, "GB": 30, "m": 20, "MB": 20,
	"TiB": 40, "GiB": 30, "MiB": 20, "B": 0,
}

// maxSize is larger than any volume, and small enough that sums of 100 sizes
// do not overflow.
const maxSize = 1 << 56

const sizeHint = "write a number and one of t, TB, g, GB, m, MB, like 25TB or 20.5 t; they are powers of two"

// maxDigits bounds a number on each side of its point.
const maxDigits = 18

// ParseSize reads a decimal number and a unit, with or without a blank between
// them: "25TB", "20.5 t".
func ParseSize(text string) (Size, error) {
	t := strings.TrimSpace(text)
	number, unit := splitNumber(t)
	unit = strings.TrimSpace(unit)
	whole, part, pointed := strings.Cut(number, ".")
	switch {
	case whole == "" || pointed && part == "" || strings.Contains(part, "."):
		return 0, wrong("size %q is not a number with a unit", text).WithHint(sizeHint)
	case unit == "":
		return 0, wrong("size %q has no unit", text).WithHint(sizeHint)
	}
	shift, ok := sizeUnits[unit]
	if !ok {
		return 0, wrong("size %q has the unknown unit %q", text, unit).WithHint(sizeHint)
	}
	whole, part = strings.TrimLeft(whole, "0"), strings.TrimRight(part, "0")
	if len(part) > maxDigits {
		return 0, wrong("size %q has too many decimals", text).WithHint("write up to %d", maxDigits)
	}
	if len(whole) > maxDigits {
		return 0, tooLarge(text)
	}
	n, _ := strconv.ParseUint("0"+whole, 10, 64) // digits only, and few
	if n > maxSize>>shift {
		return 0, tooLarge(text)
	}
	n <<= shift
	if part != "" {
		f, _ := strconv.ParseUint(part, 10, 64)
		power := uint64(1)
		for range part {
			power *= 10
		}
		// f < power, so the quotient fits, and nothing is lost to a float.
		hi, lo := bits.Mul64(f, 1<<shift)
		q, _ := bits.Div64(hi, lo, power)
		n += q
	}
	if n > maxSize {
		return 0, tooLarge(text)
	}
	return Size(n), nil
}

// positive is ParseSize for a limit: one of nothing is a slip of the hand.
func positive(text string) (Size, error) {
	s, err := ParseSize(text)
	if err == nil && s == 0 {
		return 0, wrong("size %q is nothing", text).WithHint(sizeHint)
	}
	return s, err
}

func tooLarge(text string) error {
	return wrong("size %q is too large", text).WithHint("the largest size is 65536 TB")
}

// splitNumber cuts text behind its leading digits and points.
func splitNumber(text string) (number, rest string) {
	i := 0
	for i < len(text) && (text[i] == '.' || text[i] >= '0' && text[i] <= '9') {
		i++
	}
	return text[:i], text[i:]
}

// String returns the size in the largest unit that it is a whole number of, in
// a form that ParseSize reads.
func (s Size) String() string {
	for _, unit := range []string{"TB", "GB", "MB"} {
		if n := int64(1) << sizeUnits[unit]; s != 0 && int64(s)%n == 0 {
			return strconv.FormatInt(int64(s)/n, 10) + " " + unit
		}
	}
	return strconv.FormatInt(int64(s), 10) + " B"
}

// Resolved returns the size with what it is in bytes, so that nobody has to
// know which of the meanings of TB was taken.
func (s Size) Resolved() string {
	return fmt.Sprintf("%s (%d bytes)", s, int64(s))
}

// wrong is what is said of a value that cannot be.
func wrong(message string, args ...any) *fault.Error {
	return fault.New(fault.InvalidParameterValue, message, args...)
}
