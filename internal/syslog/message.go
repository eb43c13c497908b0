package syslog

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	parsing "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/rfc3164"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"holdfast/row"
	"holdfast/sink"
)

// Columns are those of the table that messages go to, with the types of
// PostgreSQL. received_at, peer and message always have a value; the others are
// NULL where a message does not say them: nothing is made up.
var Columns = []row.Column{
	{Name: "received_at", Type: "timestamp with time zone"},
	{Name: "peer", Type: "text"}, // the address that it came from; hostname is only what the sender says
	{Name: "facility", Type: "smallint"},
	{Name: "severity", Type: "smallint"},
	{Name: "logged_at", Type: "timestamp with time zone"},
	{Name: "hostname", Type: "text"},
	{Name: "appname", Type: "text"},
	{Name: "procid", Type: "text"},
	{Name: "msgid", Type: "text"},
	{Name: "structured_data", Type: "jsonb"},
	{Name: "message", Type: "text"},
}

// Declared returns Columns as a table is declared with them.
func Declared() []sink.Column {
	out := make([]sink.Column, len(Columns))
	for i, c := range Columns {
		out[i] = sink.Column{Name: c.Name, Type: c.Type, NotNull: c.Name == "received_at" || c.Name == "peer" || c.Name == "message"}
	}
	return out
}

// A line is one message as it came in.
type line struct {
	text     []byte
	received time.Time
	peer     string
	torn     string // why it is not whole; "" where it is
}

// A parser takes messages apart. Not safe for concurrent use.
type parser struct {
	modern parsing.Machine // RFC 5424
	old    parsing.Machine // RFC 3164
	zone   *time.Location  // of times without one
}

func newParser(zone *time.Location) *parser {
	return &parser{
		modern: rfc5424.NewParser(),
		old:    rfc3164.NewParser(rfc3164.WithLenientDay(), rfc3164.WithSecondFractions(), rfc3164.WithEmbeddedNewlines()),
		zone:   zone,
	}
}

// values returns l in the order of Columns. A message that neither RFC
// describes is kept whole: its priority, where it has one, and the rest.
func (p *parser) values(l line) []row.Value {
	base, data, text := p.parse(l)
	v := make([]row.Value, len(Columns))
	for i := range v {
		v[i] = row.Null
	}
	v[0], v[1], v[10] = row.Text(l.received.Format(time.RFC3339Nano)), row.Text(l.peer), row.Value{Text: text}
	if base.Facility != nil {
		v[2], v[3] = row.Text(strconv.Itoa(int(*base.Facility))), row.Text(strconv.Itoa(int(*base.Severity)))
	}
	if base.Timestamp != nil {
		v[4] = row.Text(p.dated(*base.Timestamp, l.received).Format(time.RFC3339Nano))
	}
	for i, s := range []*string{base.Hostname, base.Appname, base.ProcID, base.MsgID} {
		if s != nil {
			v[5+i] = row.Text(*s)
		}
	}
	if data != nil {
		v[9] = row.Value{Text: data}
	}
	return v
}

// parse returns what a message says of itself, its structured data as JSON, and
// its text.
func (p *parser) parse(l line) (base parsing.Base, data, text []byte) {
	priority, rest := cutPriority(l.text)
	if priority < 0 {
		return base, nil, l.text
	}
	base.ComputeFromPriority(uint8(priority))
	if bytes.HasPrefix(rest, []byte("1 ")) {
		m, err := p.modern.Parse(l.text)
		said, whole := m.(*rfc5424.SyslogMessage)
		if data, text, ok := structured(rest); ok && whole && err == nil {
			return said.Base, data, text
		}
		return base, nil, rest
	}
	text, at := withStamp(l.text, rest)
	m, err := p.old.Parse(text)
	said, whole := m.(*rfc3164.SyslogMessage)
	if err != nil || !whole { // of some messages the library has neither a message nor an error
		return base, nil, rest
	}
	base, text = said.Base, nil
	if at != nil {
		base.Timestamp = at
	}
	if base.Message != nil {
		text = []byte(*base.Message)
	}
	return base, nil, text
}

// withStamp returns a message of RFC 3164 whose time is written as RFC 3339 says,
// as rsyslog forwards it, with a time as the library wants it, and the time that
// stood there; any other message as it is. rest is what stands behind the priority.
func withStamp(text, rest []byte) ([]byte, *time.Time) {
	stamp, behind, _ := bytes.Cut(rest, []byte(" "))
	if len(stamp) < len("2006-01-02T15:04:05Z") || stamp[4] != '-' {
		return text, nil
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return text, nil
	}
	head := text[:len(text)-len(rest)]
	return slices.Concat(head, []byte(time.Time{}.Format(time.Stamp)+" "), behind), &at
}

// cutPriority returns the number between the angle brackets that a message
// begins with, and what stands behind; -1 where it does not begin so.
func cutPriority(text []byte) (priority int, rest []byte) {
	end := bytes.IndexByte(text[:min(len(text), 5)], '>')
	if end < 2 || text[0] != '<' {
		return -1, text
	}
	n, err := strconv.ParseUint(string(text[1:end]), 10, 8)
	if err != nil || n > 191 { // 23 facilities of 8 severities
		return -1, text
	}
	return int(n), text[end+1:]
}

// dated gives a time of RFC 3164, which has neither year nor zone, the year that
// puts it nearest to when it was received: a message of 31 December may come in
// on 1 January.
func (p *parser) dated(t, received time.Time) time.Time {
	if t.Year() != 0 {
		return t
	}
	var best time.Time
	here := received.In(p.zone)
	for year := here.Year() - 1; year <= here.Year()+1; year++ {
		at := time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), p.zone)
		if best.IsZero() || at.Sub(received).Abs() < best.Sub(received).Abs() {
			best = at
		}
	}
	return best
}

// headerFields are those between the priority and the structured data: version,
// time, host, application, process, kind.
const headerFields = 6

// structured returns the structured data of an RFC 5424 message as JSON, nil
// where there is none, and the text behind it. The library hands it over as maps, in which
// the order is lost, and all but one of a parameter that is there several times.
func structured(rest []byte) (data, text []byte, ok bool) {
	for range headerFields {
		_, after, found := bytes.Cut(rest, []byte(" "))
		if !found {
			return nil, nil, false
		}
		rest = after
	}
	if bytes.HasPrefix(rest, []byte("-")) {
		return nil, message(rest[1:]), true
	}
	var out []byte
	for len(rest) > 0 && rest[0] == '[' {
		if out, rest, ok = element(out, rest[1:]); !ok {
			return nil, nil, false
		}
	}
	if out == nil {
		return nil, nil, false
	}
	return append(out, '}'), message(rest), true
}

// message returns the text behind the structured data, without the mark that
// says it is UTF-8.
func message(rest []byte) []byte {
	rest = bytes.TrimPrefix(rest, []byte(" "))
	return bytes.TrimPrefix(rest, []byte("\xef\xbb\xbf"))
}

// element appends one element, name parameters], to an object of JSON: a
// parameter that is there once as a string, several times as an array.
func element(out, rest []byte) (_, behind []byte, ok bool) {
	end := bytes.IndexAny(rest, " ]")
	if end < 0 {
		return nil, nil, false
	}
	name := string(rest[:end])
	rest = rest[end:]
	var names []string
	values := map[string][]string{}
	for len(rest) > 0 && rest[0] == ' ' {
		rest = bytes.TrimLeft(rest, " ")
		key, after, found := bytes.Cut(rest, []byte(`="`))
		if !found {
			return nil, nil, false
		}
		value, after, ok := quoted(after)
		if !ok {
			return nil, nil, false
		}
		if values[string(key)] == nil {
			names = append(names, string(key))
		}
		values[string(key)] = append(values[string(key)], value)
		rest = after
	}
	if len(rest) == 0 || rest[0] != ']' {
		return nil, nil, false
	}
	if out == nil {
		out = []byte{'{'}
	} else {
		out = append(out, ',')
	}
	out = append(appendString(out, name), ':', '{')
	for i, key := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(out, key), ':')
		out = appendValues(out, values[key])
	}
	return append(out, '}'), rest[1:], true
}

// quoted returns the value up to its closing quote, and what stands behind.
func quoted(b []byte) (value string, rest []byte, ok bool) {
	var s strings.Builder
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '"':
			return s.String(), b[i+1:], true
		case b[i] == '\\' && i+1 < len(b) && (b[i+1] == '"' || b[i+1] == '\\' || b[i+1] == ']'):
			i++
		}
		s.WriteByte(b[i])
	}
	return "", nil, false
}
