package daemon

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/sink"
)

// described is a sink that only tells what its tables look like.
type described struct {
	sink.Sink
	tables []sink.Table
	err    error
}

func (d described) Describe(context.Context) ([]sink.Table, error) { return d.tables, d.err }

func parsed(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAuthority(t *testing.T) {
	c := parsed(t, `sinks:
  a: {type: mysql, url: "mysql://h/a", authority: ["acc*", cdrs]}
  b: {type: mysql, url: "mysql://h/b", authority: ["acc_*", "c*"]}
`)
	for table, want := range map[string]string{"acc": "a", "acc_x": "b", "cdrs": "a", "calls": "b", "other": ""} {
		if got := authority(c, table); got != want {
			t.Errorf("the authority for %q is %q, want %q", table, got, want)
		}
	}
}

// TestUnnamed holds that what a sink calls otherwise is known here as writers
// call it, and that what is added is not asked of them.
func TestUnnamed(t *testing.T) {
	k := parsed(t, `sinks:
  a: {type: mysql, url: "mysql://h/a", rename: {tables: {acc: calls}, columns: {acc.src: source}}, add: {site: x}}
`).Sinks["a"]
	got := unnamed(k, []sink.Table{
		{Name: "calls", Columns: []sink.Column{{Name: "source", Type: "text"}, {Name: "site"}, {Name: "n"}}},
		{Name: "other", Columns: []sink.Column{{Name: "source"}}, Parents: []string{"calls", "third"}},
	})
	want := []sink.Table{
		{Name: "acc", Columns: []sink.Column{{Name: "src", Type: "text"}, {Name: "n"}}},
		{Name: "other", Columns: []sink.Column{{Name: "source"}}, Parents: []string{"acc", "third"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestSplit holds that tables which a foreign key ties together and that are in
// different streams are named, and no others.
func TestSplit(t *testing.T) {
	c := parsed(t, `streams: {calls: {tables: [acc, "c*"]}}
sinks:
  a: {type: mysql, url: "mysql://h/a", rename: {tables: {acc: accounting}}}
  b: {type: mysql, url: "mysql://h/b", streams: [main]}
`)
	tables := []sink.Table{
		{Name: "accounting"}, {Name: "customers", Parents: []string{"accounting"}}, {Name: "other", Parents: []string{"accounting", "main2"}},
	}
	found, err := split(t.Context(), c, []holdfast.Sink{{Name: "a", Sink: described{tables: tables}}, {Name: "b", Sink: described{tables: tables}}})
	if err != nil || len(found) != 1 || !strings.Contains(found[0], `table "other" (stream "main") refers to table "acc" (stream "calls")`) {
		t.Errorf("found %q, %v", found, err)
	}
	away := errors.New("away")
	if _, err := split(t.Context(), c, []holdfast.Sink{{Name: "a", Sink: described{err: away}}}); !errors.Is(err, away) {
		t.Errorf("a sink that does not answer: %v", err)
	}
}

// TestDeclare starts with a profile and declared tables, twice, and finds them.
func TestDeclare(t *testing.T) {
	dir := t.TempDir()
	c := parsed(t, "data: "+dir+`
profile: kamailio
tables:
  declared:
    acc: {version: 9, columns: ["callid varchar(255) not null", "n integer"]}
`)
	for range 2 {
		db, err := open(c, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		known, _, ok := db.Known("acc")
		if !ok || len(known.Columns) != 2 || !known.Columns[0].NotNull || known.Columns[1].Type != "integer" {
			t.Errorf("acc is %+v, %v", known, ok)
		}
		if _, _, ok := db.Known("missed_calls"); !ok {
			t.Error("a table of the profile is not known")
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	version := tableVersion(c)
	if v, ok := version("acc"); !ok || v != 9 {
		t.Errorf("version of acc is %d, %v", v, ok)
	}
	if v, ok := version("missed_calls"); !ok || v == 0 {
		t.Errorf("version of missed_calls is %d, %v", v, ok)
	}
	if _, ok := version("none"); ok {
		t.Error("a table that is not known has a version")
	}
}
