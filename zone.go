package holdfast

import (
	"time"

	"holdfast/row"
)

// moments are the columns of one schema whose values are moments.
type moments struct {
	schema *row.Schema
	zoned  []int // columns of type timestamptz
	plain  []int // columns of type timestamp
}

// maxSeconds is how long a number of seconds since 1970 is; a moment with a
// zone is longer.
const maxSeconds = len("9999999999")

// SetZone says of which zone times are that Insert gets without one, for
// columns of type timestamptz: the zone of Options otherwise. nil goes back to
// that.
func (t *Tx) SetZone(zone *time.Location) { t.zone = zone }

// Treat says how the rows are meant that Insert takes from now on: of which zone
// times are without one, as SetZone does, and whether the rows yield. One that
// does is left out by SQL sinks whose table has a row with its key, as ON CONFLICT
// DO NOTHING says; it is no reject.
func (t *Tx) Treat(zone *time.Location, yields bool) { t.zone, t.yields = zone, yields }

// momentsOf returns which columns of a schema are moments.
func (db *DB) momentsOf(s *row.Schema) *moments {
	if m, ok := db.moments.Load(s); ok {
		return m.(*moments)
	}
	m := &moments{schema: s}
	for i, c := range s.Columns {
		zoned, plain := row.MomentType(c.Type)
		switch {
		case zoned:
			m.zoned = append(m.zoned, i)
		case plain:
			m.plain = append(m.plain, i)
		}
	}
	kept, _ := db.moments.LoadOrStore(s, m)
	return kept.(*moments)
}

// place returns values with moments as they are kept: a timestamptz with the
// offset of the writer's zone, so that it means the same to every sink, and
// seconds since 1970 as a date and a time. They are valid until the next call.
func (t *Tx) place(s *row.Schema, values []row.Value) []row.Value {
	if t.timed == nil || t.timed.schema != s {
		t.timed = t.db.momentsOf(s)
	}
	m := t.timed
	if len(m.zoned) == 0 && len(m.plain) == 0 {
		return values
	}
	zone := t.zone
	if zone == nil {
		zone = t.db.o.Zone
	}
	t.placed, t.text = append(t.placed[:0], values...), t.text[:0]
	for _, i := range m.zoned {
		t.replace(i, zone, row.AppendZoned)
	}
	for _, i := range m.plain {
		// Seconds since 1970 alone: what names a zone is the database's to read.
		if len(t.placed[i].Text) <= maxSeconds {
			t.replace(i, zone, row.AppendClock)
		}
	}
	return t.placed
}

// replace puts what f makes of a value in its place.
func (t *Tx) replace(i int, zone *time.Location, f func(dst, text []byte, zone *time.Location) ([]byte, bool)) {
	v, from := &t.placed[i], len(t.text)
	if v.Null {
		return
	}
	var ok bool
	if t.text, ok = f(t.text, v.Text, zone); ok {
		v.Text = t.text[from:len(t.text):len(t.text)]
	}
}
