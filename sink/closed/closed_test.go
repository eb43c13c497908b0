package closed_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/archive"
	"holdfast/row"
	"holdfast/sink/closed"
)

// told is what a database tells of a family whose periods end at noon.
func told(t *testing.T, unit string, zoneless bool, pending int64, ends ...int64) [][2]string {
	t.Helper()
	f, err := archive.Parse(strings.NewReader(`{"name":"f","late":"reject","unit":"` + unit + `","tables":[{"type":1,"name":"calls","date":"at"},{"type":2,"name":"legs","parent":"calls","parent_key":"call"},{"type":3,"name":"bits","parent":"legs","parent_key":"leg"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var entries []archive.Entry
	start := ends[0] - 86_399
	for i, end := range ends {
		entries = append(entries, archive.Entry{ArchiveID: int64(i + 1), Type: 1, Window: archive.Window{Start: start, End: end}})
		start = end + 1
	}
	text, err := archive.ClosedBy(f, entries, pending, map[int64]int64{1: ends[0] + 60}, map[string]bool{"calls": zoneless}).Text()
	if err != nil {
		t.Fatal(err)
	}
	return [][2]string{{"f", text}}
}

// late asks of one row, given as name=value.
func late(g *closed.Gate, table string, values ...string) string {
	s, r := &row.Schema{Table: table}, &row.Row{Seq: 7}
	for _, v := range values {
		name, text, _ := strings.Cut(v, "=")
		s.Columns = append(s.Columns, row.Column{Name: name})
		if r.Values = append(r.Values, row.Text(text)); text == "NULL" {
			r.Values[len(r.Values)-1] = row.Null
		}
	}
	if r.Schema = s; g.Late(r) == nil {
		return ""
	}
	why := g.Late(r)
	return fmt.Sprintf("%d %s %s %v", why.Seq, why.Table, why.Code, why.Err)
}

// TestLate judges dates as they are written, to the second.
func TestLate(t *testing.T) {
	noon := time.Date(2026, 10, 31, 11, 59, 59, 0, time.UTC).Unix()
	for _, test := range []struct {
		unit     string
		zoneless bool
		text     string
		late     bool
	}{
		{"unix", false, fmt.Sprint(noon), true}, {"unix", false, fmt.Sprint(noon + 1), false}, {"unix", false, " " + fmt.Sprint(noon) + " ", true},
		{"unix", false, fmt.Sprint(noon) + ".4", true}, {"unix", false, fmt.Sprint(noon) + ".6", false}, {"unix", false, "NULL", false},
		{"unix", false, "0", true}, {"unix", false, "-5", true}, {"unix", false, "soon", false}, {"unix", false, "", false}, {"unix", false, "NaN", false}, {"unix", false, "-1e300", false},
		{"time", false, "2026-10-31 11:59:59", true}, {"time", false, "2026-10-31 12:00:00", false}, {"time", false, "2026-10-31T11:59:59.999999", true},
		{"time", false, "2026-10-31 12:59:59+01", true}, {"time", false, "2026-10-31 13:00:00+01", false}, {"time", false, "2026-10-31 12:59:59+01:00", true},
		{"time", false, "2026-10-31t11:59:59Z", true}, {"time", false, "2026-10-31 09:59:59-0200", true}, {"time", false, "2026-10-31", true}, {"time", false, "2026-11-01", false},
		{"time", true, "2026-10-31 11:59:59+05", true}, {"time", true, "2026-10-31 12:00:00+05", false}, {"time", true, "2026-10-31 12:00:00-05", false},
		{"time", false, "31 Oct 2026", false}, {"time", false, "now", false}, {"time", false, fmt.Sprint(noon), false},
	} {
		var g closed.Gate
		if err := g.Begin(told(t, test.unit, test.zoneless, 0, noon)); err != nil {
			t.Fatal(err)
		}
		if why := late(&g, "calls", "id=1", "at="+test.text); (why != "") != test.late {
			t.Errorf("%s %v %q: %q, want it late: %v", test.unit, test.zoneless, test.text, why, test.late)
		}
	}
}

// TestLateSays tells where a row belongs, and takes what hangs on it along,
// within one transaction.
func TestLateSays(t *testing.T) {
	var g closed.Gate
	if why := late(&g, "calls", "at=1"); why != "" {
		t.Errorf("nothing is known, but %s", why)
	}
	rows := told(t, "unix", false, 400_000, 100_000, 200_000, 300_000)
	if err := g.Begin(rows); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		want, table string
		values      []string
	}{
		{"7 calls late dated 1970-01-02 03:46:40, it belongs to archive 1 (1970-01-01 03:46:41 to 1970-01-02 03:46:40), closed at 1970-01-02 03:47:40", "calls", []string{"id=1", "at=100000"}},
		{"7 calls late dated 1970-01-02 03:46:41, it belongs to archive 2 (1970-01-02 03:46:41 to 1970-01-03 07:33:20)", "calls", []string{"AT=100001"}},
		{"7 calls late dated 1970-01-04 11:20:01, it belongs to the period up to 1970-01-05 15:06:40, which is being closed", "calls", []string{"at=300001"}},
		{"7 calls late dated 1970-01-01 00:00:05, it belongs to the time before archive 1, and all up to 1970-01-05 15:06:40 is closed", "calls", []string{"at=5"}},
		{"7 legs late its row in calls came late: dated 1970-01-02 03:46:40", "legs", []string{"id=4", "call=1"}},
		{"7 bits late its row in legs came late: its row in calls", "bits", []string{"leg=4"}},
		{"", "legs", []string{"id=4", "call=2"}}, {"", "legs", []string{"call=NULL"}}, {"", "calls", []string{"id=1"}}, {"", "others", []string{"at=5"}},
	} {
		if got := late(&g, test.table, test.values...); !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s %v: got %q, want %q", test.table, test.values, got, test.want)
		}
	}
	if err := g.Begin(rows); err != nil {
		t.Fatal(err)
	}
	if why := late(&g, "legs", "call=1"); why != "" {
		t.Errorf("another transaction: %s", why)
	}
	if err := g.Begin([][2]string{{"f", "{"}}); err == nil {
		t.Error("damage is taken for nothing")
	}
}

// TestAgain asks at the end of a transaction whether what passed is late by now.
func TestAgain(t *testing.T) {
	first, second := told(t, "unix", false, 0, 100_000), told(t, "unix", false, 0, 100_000, 200_000)
	for name, test := range map[string]struct {
		before, after [][2]string
		values        string
		late          bool
	}{
		"nothing changed":  {first, first, "at=100001", false},
		"closed":           {first, second, "at=200000", true},
		"behind it":        {first, second, "at=200001", false},
		"told first now":   {nil, first, "at=200001", true}, // nobody looked at it
		"no longer told":   {first, nil, "at=100001", false},
		"refused, and all": {first, second, "at=5", false},
	} {
		var g closed.Gate
		if err := g.Begin(test.before); err != nil {
			t.Fatal(err)
		}
		late(&g, "calls", test.values)
		if err := g.Again(test.after); errors.Is(err, closed.ErrMeanwhile) != test.late {
			t.Errorf("%s: %v", name, err)
		}
	}
}
