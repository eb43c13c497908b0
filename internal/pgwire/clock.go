package pgwire

import (
	"bytes"
	"time"
)

// clockWord is which moment is meant.
type clockWord uint8

const (
	wordNow       clockWord = iota + 1 // the transaction's first moment
	wordStatement                      // the moment of taking
	wordToday
	wordTomorrow
	wordYesterday
)

// reading is one reading of the clock: a moment, and the type that it is
// written as.
type reading struct {
	word clockWord
	as   string
}

// recast turns the reading into another type, and reports whether it can.
func (r *reading) recast(t sqlType) bool {
	switch t.name {
	case "timestamptz", "timestamp", "date", "time":
		if r.as == "date" && t.name == "time" {
			return false
		}
		if r.as == "date" && r.word < wordToday {
			r.word = wordToday
		}
		r.as = t.name
		return t.mod == "" && t.dims == 0
	}
	return false
}

// wordOf recognises the words that PostgreSQL's time types take for a moment.
// They would mean the moment of delivery by the time a sink reads them.
func wordOf(text []byte) clockWord {
	if len(text) == 0 || len(text) > 64 {
		return 0
	}
	t := bytes.TrimSpace(text)
	switch {
	case fold(t, "now"):
		return wordNow
	case fold(t, "today"):
		return wordToday
	case fold(t, "tomorrow"):
		return wordTomorrow
	case fold(t, "yesterday"):
		return wordYesterday
	}
	return 0
}

// clockCall reads a function, or a word of SQL, that means a moment.
func (p *valueParser) clockCall(it *item) (bool, error) {
	at, w := p.pos, p.word()
	for _, c := range clockCalls {
		if !fold(w, c.name) {
			continue
		}
		p.pos += len(w)
		switch {
		case c.call:
			if !p.punct('(') || !p.punct(')') {
				p.pos = at
				return false, nil
			}
		case p.punct('('):
			p.pos = at
			return false, p.refuse("precision of "+c.name+" is not taken", "leave it out; times have microseconds")
		}
		it.kind, it.clock = itemClock, c.reading
		return true, nil
	}
	return false, nil
}

var clockCalls = []struct {
	name    string
	call    bool
	reading reading
}{
	{"now", true, reading{wordNow, "timestamptz"}},
	{"current_timestamp", false, reading{wordNow, "timestamptz"}},
	{"localtimestamp", false, reading{wordNow, "timestamp"}},
	{"current_date", false, reading{wordToday, "date"}},
	{"localtime", false, reading{wordNow, "time"}},
	{"transaction_timestamp", true, reading{wordNow, "timestamptz"}},
	{"statement_timestamp", true, reading{wordStatement, "timestamptz"}},
	{"clock_timestamp", true, reading{wordStatement, "timestamptz"}},
}

// appendText writes the reading in PostgreSQL's text form; at is the moment, in
// the session's time zone.
func (r reading) appendText(dst []byte, at time.Time) []byte {
	if r.word >= wordToday {
		at = time.Date(at.Year(), at.Month(), at.Day()+daysOf[r.word], 0, 0, 0, 0, at.Location())
	}
	switch r.as {
	case "date":
		return at.AppendFormat(dst, "2006-01-02")
	case "time":
		return at.AppendFormat(dst, "15:04:05.999999")
	case "timestamp":
		return at.AppendFormat(dst, "2006-01-02 15:04:05.999999")
	}
	dst = at.AppendFormat(dst, "2006-01-02 15:04:05.999999-07:00")
	return bytes.TrimSuffix(dst, []byte(":00"))
}

var daysOf = map[clockWord]int{wordTomorrow: 1, wordYesterday: -1}
