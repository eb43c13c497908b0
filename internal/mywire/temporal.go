package mywire

import "fmt"

// date reads a date, or a date and a time, in its binary form.
func (r *reader) date() []byte {
	size := r.number(1)
	if size != 0 && size != 4 && size != 7 && size != 11 {
		r.bad = true
		return nil
	}
	if size == 0 {
		return []byte("0000-00-00 00:00:00")
	}
	b := fmt.Appendf(nil, "%04d-%02d-%02d", r.number(2), r.number(1), r.number(1))
	if size >= 7 {
		b = fmt.Appendf(b, " %02d:%02d:%02d", r.number(1), r.number(1), r.number(1))
	}
	if size == 11 {
		b = fmt.Appendf(b, ".%06d", r.number(4))
	}
	return b
}

// clock reads a time of day, or a span, in its binary form.
func (r *reader) clock() []byte {
	size := r.number(1)
	if size != 0 && size != 8 && size != 12 {
		r.bad = true
		return nil
	}
	if size == 0 {
		return []byte("00:00:00")
	}
	var b []byte
	if r.number(1) == 1 {
		b = append(b, '-')
	}
	hours := 24 * r.number(4)
	b = fmt.Appendf(b, "%02d:%02d:%02d", hours+r.number(1), r.number(1), r.number(1))
	if size == 12 {
		b = fmt.Appendf(b, ".%06d", r.number(4))
	}
	return b
}
