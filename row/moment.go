package row

import (
	"strconv"
	"strings"
	"time"
)

// A moment is text for a column of type timestamptz. In a row it stands as its
// writer's clock showed it, with the offset from UTC behind it, as in
// 2026-11-20 23:47:52+01: so it means the same to everybody, and what the
// writer's clock showed can still be told.

// MomentType reports whether a column's type is timestamptz, whose values are
// moments, or timestamp, whose values are what some clock showed.
func MomentType(typ string) (zoned, plain bool) {
	name, rest, _ := strings.Cut(strings.ToLower(typ), "(")
	if _, rest, _ = strings.Cut(rest, ")"); rest != "" { // timestamp(3) with time zone
		name += rest
	}
	switch strings.TrimSpace(name) {
	case "timestamptz", "timestamp with time zone":
		return true, false
	case "timestamp", "timestamp without time zone":
		return false, true
	}
	return false, false
}

// moment is such a text, taken apart.
type moment struct {
	clock  time.Time // what the clock showed, as if that were UTC
	length int       // of the text up to the zone
	timed  bool      // it has a time of day
	zoned  bool
	offset int // seconds east of UTC, where zoned
}

// A number of seconds since 1970 has so many digits, from 1973 to 2286.
// PostgreSQL takes numbers of 6, 8 or 14 digits for dates without hyphens.
const epochLeast, epochMost = 9, 10

// AppendZoned appends text, a value for a column of type timestamptz, with the
// offset that zone had at that moment, where text names none; a number of nine
// or ten digits is seconds since 1970, and becomes what a clock in zone showed.
// It returns false, and dst as it was, for any other text, which is to stay.
//
// A time that zone's clocks showed twice is the second one, and one that they
// skipped is counted on from before, as in PostgreSQL.
func AppendZoned(dst, text []byte, zone *time.Location) ([]byte, bool) {
	text = trimBlanks(text)
	if when, ok := epoch(text); ok {
		return appendOffset(appendClock(dst, when.In(zone)), offsetOf(when.In(zone))), true
	}
	m, ok := parseMoment(text)
	if !ok || m.zoned {
		return dst, false
	}
	dst = append(dst, text...)
	if !m.timed {
		dst = append(dst, " 00:00:00"...)
	}
	return appendOffset(dst, offsetOf(at(m.clock, zone))), true
}

// AppendClock appends what a moment's writer's clock showed, without its
// offset; a number of nine or ten digits, as with AppendZoned, becomes what a
// clock in zone showed. It returns false, and dst as it was, for any other
// text.
func AppendClock(dst, text []byte, zone *time.Location) ([]byte, bool) {
	text = trimBlanks(text)
	if when, ok := epoch(text); ok {
		return appendClock(dst, when.In(zone)), true
	}
	m, ok := parseMoment(text)
	if !ok || !m.zoned {
		return dst, false
	}
	return append(dst, text[:m.length]...), true
}

// AppendEpoch appends a moment as seconds since 1970, with its fraction where
// it has one; a text that names no zone is of a clock in zone. It returns
// false, and dst as it was, for text that is no moment.
func AppendEpoch(dst, text []byte, zone *time.Location) ([]byte, bool) {
	m, ok := parseMoment(trimBlanks(text))
	if !ok {
		return dst, false
	}
	when := m.clock.Add(-time.Duration(m.offset) * time.Second)
	if !m.zoned {
		when = at(m.clock, zone)
	}
	seconds, nanos := when.Unix(), when.Nanosecond()
	if nanos > 0 && seconds < 0 { // -1.25 is two seconds before 1970, and 0.75 on
		seconds, nanos = seconds+1, 1e9-nanos
		if seconds == 0 {
			dst = append(dst, '-')
		}
	}
	dst = strconv.AppendInt(dst, seconds, 10)
	if nanos > 0 {
		digits := strconv.Itoa(1e9 + nanos)
		end := len(digits)
		for digits[end-1] == '0' {
			end--
		}
		dst = append(append(dst, '.'), digits[1:end]...)
	}
	return dst, true
}

// epoch reads seconds since 1970.
func epoch(text []byte) (time.Time, bool) {
	if len(text) < epochLeast || len(text) > epochMost {
		return time.Time{}, false
	}
	n, ok := number(text)
	return time.Unix(int64(n), 0), ok
}

// at returns the moment at which clocks in zone showed clock, which is given as
// if it were UTC.
func at(clock time.Time, zone *time.Location) time.Time {
	if zone == time.UTC {
		return clock
	}
	guess := time.Date(clock.Year(), clock.Month(), clock.Day(), clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), zone)
	start, end := guess.ZoneBounds()
	// Around a change both offsets are tried. What holds under the later one
	// wins; where neither holds, clocks were put forward over it.
	change := end
	if !start.IsZero() && (end.IsZero() || guess.Sub(start) < end.Sub(guess)) {
		change = start
	}
	if change.IsZero() {
		return guess
	}
	before := clock.Add(-time.Duration(offsetOf(change.Add(-1))) * time.Second)
	after := clock.Add(-time.Duration(offsetOf(change)) * time.Second)
	if !after.Before(change) {
		return after.In(zone)
	}
	if before.Before(change) {
		return before.In(zone)
	}
	// Skipped: counted on with the offset from before, written with it, too.
	return before.In(time.FixedZone("", offsetOf(change.Add(-1))))
}

func offsetOf(t time.Time) int {
	_, offset := t.Zone()
	return offset
}

func appendClock(dst []byte, t time.Time) []byte {
	return t.AppendFormat(dst, "2006-01-02 15:04:05.999999999")
}

// appendOffset appends +01, +05:30 or, as long ago, +01:05:21.
func appendOffset(dst []byte, seconds int) []byte {
	sign := byte('+')
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	dst = append(dst, sign, '0'+byte(seconds/36000), '0'+byte(seconds/3600%10))
	if seconds%3600 == 0 {
		return dst
	}
	dst = append(dst, ':', '0'+byte(seconds/600%6), '0'+byte(seconds/60%10))
	if seconds%60 == 0 {
		return dst
	}
	return append(dst, ':', '0'+byte(seconds/10%6), '0'+byte(seconds%10))
}

// parseMoment reads 2026-11-20, with a time of day behind it or not, and with
// Z or an offset behind that or not. It is false for everything else: times
// can be written in a hundred ways, and the database knows them.
func parseMoment(text []byte) (m moment, ok bool) {
	if len(text) < 10 || text[4] != '-' || text[7] != '-' {
		return m, false
	}
	year, y := number(text[:4])
	month, mo := number(text[5:7])
	day, d := number(text[8:10])
	if !y || !mo || !d || year < 1 || month < 1 || month > 12 || day < 1 || day > 31 {
		return m, false
	}
	hour, minute, second, nanos := 0, 0, 0, 0
	m.length = 10
	if rest := text[10:]; len(rest) > 0 {
		if len(rest) < 6 || rest[0] != ' ' && rest[0] != 'T' || rest[3] != ':' {
			return m, false
		}
		var h, mi, s bool
		hour, h = number(rest[1:3])
		minute, mi = number(rest[4:6])
		s, rest = true, rest[6:]
		if len(rest) >= 3 && rest[0] == ':' {
			second, s = number(rest[1:3])
			rest = rest[3:]
			nanos, rest = fraction(rest)
		}
		if !h || !mi || !s || hour > 24 || minute > 59 || second > 60 {
			return m, false
		}
		m.timed, m.length = true, len(text)-len(rest)
		if m.offset, m.zoned, ok = parseOffset(trimBlanks(rest)); !ok {
			return m, false
		}
	}
	m.clock = time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	return m, true
}

// fraction reads ".25"; digits beyond the ninth do not count.
func fraction(text []byte) (nanos int, rest []byte) {
	if len(text) < 2 || text[0] != '.' || text[1]-'0' > 9 {
		return 0, text
	}
	scale := int(1e8)
	for text = text[1:]; len(text) > 0 && text[0]-'0' <= 9; text = text[1:] {
		nanos += int(text[0]-'0') * scale
		scale /= 10
	}
	return nanos, text
}

// parseOffset reads nothing, Z, or an offset like +01, +0130, +01:30 or
// +01:05:21.
func parseOffset(t []byte) (seconds int, zoned, ok bool) {
	if len(t) == 0 {
		return 0, false, true
	}
	if len(t) == 1 && t[0]|0x20 == 'z' {
		return 0, true, true
	}
	if t[0] != '+' && t[0] != '-' {
		return 0, false, false
	}
	minus := t[0] == '-'
	t = t[1:]
	for i, unit := range [...]int{3600, 60, 1} {
		if i > 0 && len(t) == 0 {
			break
		}
		if i > 0 && t[0] == ':' {
			t = t[1:]
		}
		if len(t) < 2 {
			return 0, false, false
		}
		n, ok := number(t[:2])
		if !ok || n > 59 || i == 0 && n > 15 {
			return 0, false, false
		}
		seconds += n * unit
		t = t[2:]
	}
	if minus {
		seconds = -seconds
	}
	return seconds, true, len(t) == 0
}

// number reads text, which must be all digits, at most ten of them.
func number(text []byte) (n int, ok bool) {
	for _, c := range text {
		if c-'0' > 9 {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

func trimBlanks(text []byte) []byte {
	for len(text) > 0 && text[0] == ' ' {
		text = text[1:]
	}
	for len(text) > 0 && text[len(text)-1] == ' ' {
		text = text[:len(text)-1]
	}
	return text
}
