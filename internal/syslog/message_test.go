package syslog

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"
)

// shown returns the values of a message behind received_at and peer, NULL as ~.
func shown(t *testing.T, text string, received time.Time, zone *time.Location) []string {
	t.Helper()
	var out []string
	for _, v := range newParser(zone).values(line{text: []byte(text), received: received, peer: "192.0.2.1"})[2:] {
		if v.Null {
			out = append(out, "~")
		} else {
			out = append(out, string(v.Text))
		}
	}
	return out
}

// TestMessages holds what becomes of messages: those of both RFCs, what senders
// make of them, and what is neither, of which nothing may be lost or made up.
func TestMessages(t *testing.T) {
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 5, 0, time.UTC)
	for _, test := range []struct {
		text string
		// facility, severity, logged_at, hostname, appname, procid, msgid, structured_data, message
		want [9]string
	}{
		{`<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"] ` + "\xef\xbb\xbfAn application event log entry...",
			[9]string{"20", "5", "2003-10-11T22:14:15.003Z", "mymachine.example.com", "evntslog", "~", "ID47", `{"exampleSDID@32473":{"iut":"3","eventSource":"Application","eventID":"1011"}}`, "An application event log entry..."}},
		{`<34>1 2003-10-11T22:14:15.003+02:00 h su 77 ID - 'su root' failed`, [9]string{"4", "2", "2003-10-11T22:14:15.003+02:00", "h", "su", "77", "ID", "~", "'su root' failed"}},
		{`<34>1 - - - - - -`, [9]string{"4", "2", "~", "~", "~", "~", "~", "~", ""}},
		// RFC 5424, 7.2.1: a parameter may be there several times
		{`<13>1 - h a - - [origin ip="192.0.2.1" ip="192.0.2.129" software="x"][b q="\"\]\\"] m`,
			[9]string{"1", "5", "~", "h", "a", "~", "~", `{"origin":{"ip":["192.0.2.1","192.0.2.129"],"software":"x"},"b":{"q":"\"]\\"}}`, "m"}},
		{`<13>1 - h a - - [empty] m`, [9]string{"1", "5", "~", "h", "a", "~", "~", `{"empty":{}}`, "m"}},
		// RFC 3164: the year is the nearest, the zone is the configured one
		{`<13>Jan  1 00:59:59 host logger[123]: hello`, [9]string{"1", "5", "2026-01-01T00:59:59+01:00", "host", "logger", "123", "~", "~", "hello"}},
		{`<13>Dec 31 23:59:59 host logger: before midnight`, [9]string{"1", "5", "2025-12-31T23:59:59+01:00", "host", "logger", "~", "~", "~", "before midnight"}},
		{`<13>2026-01-01T01:00:05.123456+01:00 host app: rsyslog's other form`, [9]string{"1", "5", "2026-01-01T01:00:05.123456+01:00", "host", "app", "~", "~", "~", "rsyslog's other form"}},
		// neither: the priority and all of the rest
		{`<13>1 not a header`, [9]string{"1", "5", "~", "~", "~", "~", "~", "~", "1 not a header"}},
		{`<13>1 - h a - - [open x="1" m`, [9]string{"1", "5", "~", "~", "~", "~", "~", "~", `1 - h a - - [open x="1" m`}},
		{`<13>hello`, [9]string{"1", "5", "~", "~", "~", "~", "~", "~", "hello"}},
		{`<192>hello`, [9]string{"~", "~", "~", "~", "~", "~", "~", "~", "<192>hello"}},
		{`<1x>hello`, [9]string{"~", "~", "~", "~", "~", "~", "~", "~", "<1x>hello"}},
		{"hello \x1b[31m world", [9]string{"~", "~", "~", "~", "~", "~", "~", "~", "hello \x1b[31m world"}},
		{`<`, [9]string{"~", "~", "~", "~", "~", "~", "~", "~", "<"}},
	} {
		got := shown(t, test.text, now, vienna)
		for i, want := range test.want {
			if got[i] != want {
				t.Errorf("%s: %s is %q, want %q", test.text, Columns[2+i].Name, got[i], want)
			}
		}
	}
}

// FuzzMessage holds that no message stops the parser, that structured data is
// JSON, and that a message which neither RFC describes is kept whole.
func FuzzMessage(f *testing.F) {
	for _, text := range []string{
		`<165>1 2003-10-11T22:14:15.003Z h a 1 ID [x@1 a="b" a="c"][y] m`, `<13>Jan  1 00:59:59 host logger[123]: hello`, `<13>1 - - - - - -`, `<13>`, `<13>1 - h a - - [x a="\"`, "x",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 {
			return
		}
		l := line{text: text, received: time.Unix(1_800_000_000, 0), peer: "192.0.2.1"}
		p := newParser(time.UTC)
		v := p.values(l)
		if !v[9].Null && utf8.Valid(text) && !json.Valid(v[9].Text) {
			t.Errorf("%q: structured data %q is no JSON", text, v[9].Text)
		}
		if v[4].Null && v[5].Null && v[6].Null && v[9].Null && len(v[10].Text) > 0 && !bytes.HasSuffix(text, v[10].Text) {
			t.Errorf("%q: the message is %q", text, v[10].Text)
		}
	})
}
