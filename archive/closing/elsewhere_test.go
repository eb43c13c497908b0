package closing_test

import (
	"strings"
	"testing"

	"holdfast/archive"
)

// TestElsewhere closes two periods of tables in a schema that the URL names, as
// a family is told to that names them with it: numbered by a sequence and by
// themselves, beside tables of the same names in the first schema.
func TestElsewhere(t *testing.T) {
	b := newBase(t)
	b.exec(`CREATE SCHEMA bill; CREATE TABLE call (id integer); INSERT INTO call VALUES (1);
		CREATE TABLE bill.call (id serial PRIMARY KEY, at integer); CREATE TABLE bill.leg (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, call_id integer REFERENCES bill.call);
		INSERT INTO bill.call (at) SELECT 1700000000 + g FROM generate_series(0, 29) g; INSERT INTO bill.leg (call_id) SELECT id FROM bill.call`)
	f, err := archive.Parse(strings.NewReader(`{"name": "calls", "tables": [{"type": 1, "name": "call", "date": "at", "id_order": true}, {"type": 2, "name": "leg", "parent": "call", "parent_key": "call_id"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	b.f = f
	add := "?"
	if strings.Contains(b.url, "?") {
		add = "&"
	}
	b.url += add + "search_path=bill"
	for _, end := range []int64{epoch + 9, epoch + 19} {
		b.must(end)
		b.sound()
	}
	b.exec("INSERT INTO bill.call (at) VALUES (1700000040); INSERT INTO bill.leg (call_id) SELECT max(id) FROM bill.call")
	b.sound()
	for query, want := range map[string]int64{
		"SELECT count(*) FROM bill.call_all": 31, "SELECT count(*) FROM bill.leg_all": 31, "SELECT count(*) FROM bill.call": 11, "SELECT max(id) FROM bill.leg": 31,
		"SELECT count(*) FROM public.call": 1, "SELECT count(*) FROM bill.archives": 4, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'": 1,
	} {
		if got := b.number(query); got != want {
			t.Errorf("%s: got %d, want %d", query, got, want)
		}
	}
}
