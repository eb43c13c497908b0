package rejects

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"holdfast/row"
)

// The tables that events are rows of. An event with values is two rows that
// are committed together: what happened, and right behind it the refused row
// itself, under its own columns, so that NULL and every byte of a value stay
// what they are, however long they are.
const (
	eventTable  = "holdfast_reject"
	valuesTable = "holdfast_reject_values"
)

// kind says what happened.
type kind string

// The kinds of events. Those of the first four bring values.
const (
	refused   kind = "refused"   // the sink refused it
	carried   kind = "carried"   // told again, so that older segments may go
	edited    kind = "edited"    // an operator changed values
	reopened  kind = "reopened"  // delivered once, but the sink was put back since
	retried   kind = "retried"   // a retry brought it into the sink, or was refused
	discarded kind = "discarded" // an operator gave it up
	renamed   kind = "renamed"   // all of a sink: note is its name from here on
)

// event is one row of eventTable.
type event struct {
	kind     kind
	state    State  // of the reject, from here on
	id       uint64 // of the reject; 0: this event's own seq
	valuesAt uint64 // seq of the newest event with values; 0: this one's own
	columns  int    // of the values behind it; -1: there are none

	streamID, stream, sink string
	seq                    uint64
	received               int64
	flags                  row.Flags
	table                  string

	code, why string
	attempts  uint32
	edits     uint32
	refusedAt int64 // when it was refused first, Unix microseconds
	at        int64 // when this happened
	note      string
}

// eventColumns are the columns of eventTable. A later version may add some;
// one that is missing reads as NULL.
var eventColumns = []row.Column{
	{Name: "event", Type: "text"},
	{Name: "state", Type: "text"},
	{Name: "id", Type: "bigint"},
	{Name: "values_at", Type: "bigint"},
	{Name: "columns", Type: "integer"},
	{Name: "stream_id", Type: "text"},
	{Name: "stream", Type: "text"},
	{Name: "sink", Type: "text"},
	{Name: "seq", Type: "bigint"},
	{Name: "received_at", Type: "timestamptz"},
	{Name: "flags", Type: "integer"},
	{Name: "table_name", Type: "text"},
	{Name: "code", Type: "text"},
	{Name: "error", Type: "text"},
	{Name: "attempts", Type: "integer"},
	{Name: "edits", Type: "integer"},
	{Name: "refused_at", Type: "timestamptz"},
	{Name: "at", Type: "timestamptz"},
	{Name: "note", Type: "text"},
}

// Limits of words that come from databases and operators: enough for any
// message, and no second copy of a document that the message quotes.
const (
	maxWords = 8 << 10
	maxCode  = 64
)

// values returns e as a row of eventTable, in the order of eventColumns.
func (e *event) values() []row.Value {
	number := func(n uint64, null bool) row.Value {
		if null {
			return row.Null
		}
		return row.Text(strconv.FormatUint(n, 10))
	}
	return []row.Value{
		row.Text(string(e.kind)),
		row.Text(string(e.state)),
		number(e.id, e.id == 0),
		number(e.valuesAt, e.valuesAt == 0),
		number(uint64(e.columns), e.columns < 0),
		row.Text(e.streamID),
		row.Text(e.stream),
		row.Text(e.sink),
		number(e.seq, false),
		row.Text(stamp(e.received)),
		number(uint64(e.flags), false),
		row.Text(e.table),
		row.Text(words(e.code, maxCode)),
		row.Text(words(e.why, maxWords)),
		number(uint64(e.attempts), false),
		number(uint64(e.edits), false),
		row.Text(stamp(e.refusedAt)),
		row.Text(stamp(e.at)),
		row.Text(words(e.note, maxWords)),
	}
}

// words returns s as a value may be: UTF-8 without NUL, and at most n bytes.
func words(s string, n int) string {
	const cut = "..."
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(strings.ToValidUTF8(s[:min(len(s), 2*n)], "\uFFFD"), "\x00", "\uFFFD")
	}
	if len(s) <= n {
		return s
	}
	end := n - len(cut)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + cut
}

// stamp writes a time for people; one that no calendar has, as a number.
func stamp(micro int64) string {
	t := time.UnixMicro(micro).UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return strconv.FormatInt(micro, 10)
	}
	return t.Format("2006-01-02T15:04:05.000000Z07:00")
}

// unstamp reads what stamp wrote.
func unstamp(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, err
	}
	return t.UnixMicro(), nil
}

// layout tells where a schema has each of eventColumns; -1 where it has not.
func layout(s *row.Schema) []int {
	at := make([]int, len(eventColumns))
	for i, c := range eventColumns {
		at[i] = -1
		for k, have := range s.Columns {
			if have.Name == c.Name {
				at[i] = k
				break
			}
		}
	}
	return at
}

// decode reads a row of eventTable whose columns stand as at says. What it
// returns shares no memory with values.
func decode(at []int, values []row.Value) (event, error) {
	d := decoder{at: at, values: values}
	e := event{
		kind:     kind(d.text("event")),
		state:    State(d.text("state")),
		id:       d.number("id", 64),
		valuesAt: d.number("values_at", 64),
		columns:  -1,
		streamID: d.text("stream_id"),
		stream:   d.text("stream"),
		sink:     d.text("sink"),
		seq:      d.number("seq", 64),
		received: d.time("received_at"),
		flags:    row.Flags(d.number("flags", 16)),
		table:    d.text("table_name"),
		code:     d.text("code"),
		why:      d.text("error"),
		attempts: uint32(d.number("attempts", 32)),
		edits:    uint32(d.number("edits", 32)),
		note:     d.text("note"),
	}
	e.refusedAt, e.at = d.time("refused_at"), d.time("at")
	if v := d.value("columns"); !v.Null {
		e.columns = int(d.number("columns", 16))
		if e.columns > row.MaxValues {
			d.fail("columns", fmt.Sprint(e.columns), nil)
		}
	}
	switch {
	case d.err != nil:
	case e.streamID == "" || (e.seq == 0) != (e.kind == renamed):
		d.err = fmt.Errorf("event %q names no row", e.kind)
	case e.state != StateOpen && e.state != StateDelivered && e.state != StateDiscarded:
		d.fail("state", string(e.state), nil)
	case !e.known():
		d.err = fmt.Errorf("event %q is not known to this version", e.kind)
	}
	return e, d.err
}

// known reports whether e is of a kind, and in a state, that this version writes.
func (e *event) known() bool {
	switch e.kind {
	case refused, carried, edited, reopened:
		return e.state == StateOpen && (e.kind == refused || e.id != 0)
	case retried:
		return e.id != 0 && e.state != StateDiscarded
	case renamed:
		return e.id == 0 && e.state == StateOpen && e.note != ""
	case discarded:
		return e.id != 0 && e.state == StateDiscarded
	}
	return false
}

// brings reports whether e brings values, be they readable or not.
func (k kind) brings() bool {
	return k == refused || k == carried || k == edited || k == reopened
}

// decoder reads columns by name, and keeps the first error.
type decoder struct {
	at     []int
	values []row.Value
	err    error
}

func (d *decoder) value(name string) row.Value {
	for i, c := range eventColumns {
		if c.Name == name && d.at[i] >= 0 && d.at[i] < len(d.values) {
			return d.values[d.at[i]]
		}
	}
	return row.Null
}

func (d *decoder) text(name string) string {
	if v := d.value(name); !v.Null {
		return string(v.Text)
	}
	return ""
}

func (d *decoder) number(name string, bits int) uint64 {
	s := d.text(name)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		d.fail(name, s, err)
	}
	return n
}

func (d *decoder) time(name string) int64 {
	s := d.text(name)
	if s == "" {
		return 0
	}
	t, err := unstamp(s)
	if err != nil {
		d.fail(name, s, err)
	}
	return t
}

func (d *decoder) fail(name, value string, err error) {
	if d.err != nil {
		return
	}
	d.err = fmt.Errorf("column %s cannot be %q", name, words(value, maxCode))
	if err != nil {
		d.err = fmt.Errorf("%w: %w", d.err, err)
	}
}
