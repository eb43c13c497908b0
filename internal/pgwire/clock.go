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
	wordGiven // reading.at
)

// reading is one reading of the clock: a moment, and the type that it is
// written as.
type reading struct {
	word clockWord
	as   string
	at   int64 // microseconds since 1970, for wordGiven
}

// recast turns the reading into another type, and reports whether it can.
func (r *reading) recast(t sqlType) bool {
	switch t.name {
	case "timestamptz", "timestamp", "date", "time":
		if r.as == "time" && t.name != "time" {
			return false
		}
		if r.as == "date" && (t.name == "time" || r.word == wordGiven && t.name != "date") {
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
	if len(w) < len("now") {
		return false, nil
	}
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
	{"now", true, reading{word: wordNow, as: "timestamptz"}},
	{"current_timestamp", false, reading{word: wordNow, as: "timestamptz"}},
	{"localtimestamp", false, reading{word: wordNow, as: "timestamp"}},
	{"current_date", false, reading{word: wordToday, as: "date"}},
	{"localtime", false, reading{word: wordNow, as: "time"}},
	{"transaction_timestamp", true, reading{word: wordNow, as: "timestamptz"}},
	{"statement_timestamp", true, reading{word: wordStatement, as: "timestamptz"}},
	{"clock_timestamp", true, reading{word: wordStatement, as: "timestamptz"}},
}

// appendText writes the reading in PostgreSQL's text form; at is the moment, in
// the session's time zone.
func (r reading) appendText(dst []byte, at time.Time) []byte {
	if _, day := daysOf[r.word]; day {
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
	dst = at.AppendFormat(dst, "2006-01-02 15:04:05.999999-07:00:00") // offsets had seconds once
	return bytes.TrimSuffix(bytes.TrimSuffix(dst, []byte(":00")), []byte(":00"))
}

var daysOf = map[clockWord]int{wordToday: 0, wordTomorrow: 1, wordYesterday: -1}
