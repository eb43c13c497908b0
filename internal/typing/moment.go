package typing

import "holdfast/internal/fault"

// Dates and times can be written in a hundred ways, of which some depend on
// DateStyle. What is refused here is written in the one way that depends on
// nothing (2026-01-31 23:59:59.5+01:00) and names a moment that is not there.

// moment judges a date, with a time behind it or not.
func (j *Judge) moment(text []byte) *fault.Error {
	t := trim(text)
	if len(t) == 0 {
		return fault.New(fault.InvalidDatetime, `invalid input syntax for type %s: "%s"`, j.name, shown(text))
	}
	if len(t) < 10 || t[4] != '-' || t[7] != '-' {
		return nil
	}
	year, y := decimalOf(t[:4])
	month, m := decimalOf(t[5:7])
	day, d := decimalOf(t[8:10])
	if !y || !m || !d {
		return nil
	}
	possible := true
	if rest := t[10:]; len(rest) > 0 {
		if rest[0] != ' ' && rest[0] != 'T' {
			return nil
		}
		var iso bool
		if iso, possible = clockTime(rest[1:]); !iso {
			return nil
		}
	}
	if possible && year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month) {
		return nil
	}
	return j.outOfRange(text)
}

// clock judges a time of day.
func (j *Judge) clock(text []byte) *fault.Error {
	t := trim(text)
	if len(t) == 0 {
		return fault.New(fault.InvalidDatetime, `invalid input syntax for type %s: "%s"`, j.name, shown(text))
	}
	if iso, possible := clockTime(t); !iso || possible {
		return nil
	}
	return j.outOfRange(text)
}

func (j *Judge) outOfRange(text []byte) *fault.Error {
	return fault.New(fault.DatetimeOutOfRange, `date/time field value out of range: "%s"`, shown(text))
}

// clockTime reads HH:MM[:SS[.fraction]] with a zone behind it or not. iso is
// false for everything else, and for zones which are refused for themselves.
func clockTime(t []byte) (iso, possible bool) {
	if len(t) < 5 || t[2] != ':' {
		return false, false
	}
	hour, h := decimalOf(t[:2])
	minute, m := decimalOf(t[3:5])
	second, s, fraction := 0, true, false
	t = t[5:]
	if len(t) >= 3 && t[0] == ':' {
		second, s = decimalOf(t[1:3])
		t = t[3:]
		if len(t) > 1 && t[0] == '.' && isDigit(t[1]) {
			t = t[1:]
			for place := 1; len(t) > 0 && isDigit(t[0]); place++ {
				fraction = fraction || t[0] != '0' && place <= 6 // what is below a microsecond may be rounded away
				t = t[1:]
			}
		}
	}
	if !h || !m || !s || !zone(t) {
		return false, false
	}
	return true, hour < 24 && minute < 60 && second <= 60 || hour == 24 && minute == 0 && second == 0 && !fraction
}

// zone reports whether t is nothing, Z, or a plain offset from UTC.
func zone(t []byte) bool {
	if len(t) == 0 || len(t) == 1 && t[0] == 'Z' {
		return true
	}
	if t[0] != '+' && t[0] != '-' || len(t) < 3 {
		return false
	}
	hours, ok := decimalOf(t[1:3])
	switch rest := t[3:]; {
	case !ok || hours > 14:
		return false
	case len(rest) == 0:
		return true
	case len(rest) == 3 && rest[0] == ':':
		minutes, ok := decimalOf(rest[1:])
		return ok && minutes < 60
	}
	return false
}

// decimalOf reads t, which must be all digits.
func decimalOf(t []byte) (n int, ok bool) {
	for _, c := range t {
		if !isDigit(c) {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}
