package holdfast_test

import (
	"context"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // so that the zones are there wherever this runs

	"holdfast"
	"holdfast/row"
)

// TestZone holds that moments are kept with the zone of their writer: the
// transaction's, or else the database's; and that nothing else is touched.
func TestZone(t *testing.T) {
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		zone, own *time.Location
		typ       string
		text      string
		want      string
	}{
		{"no zone at all", nil, nil, "timestamptz", "2026-11-20 23:47:52", "2026-11-20 23:47:52+00"},
		{"the database's", vienna, nil, "timestamptz", "2026-11-20 23:47:52", "2026-11-20 23:47:52+01"},
		{"the transaction's", vienna, time.FixedZone("", -7*3600), "timestamptz", "2026-11-20 23:47:52", "2026-11-20 23:47:52-07"},
		{"the value's", vienna, nil, "timestamptz", "2026-11-20 23:47:52+05:30", "2026-11-20 23:47:52+05:30"},
		{"seconds", vienna, nil, "timestamptz", "1795218472", "2026-11-21 00:47:52+01"},
		{"seconds without a zone", vienna, nil, "timestamp", "1795218472", "2026-11-21 00:47:52"},
		{"a type in words", vienna, nil, "Timestamp(3) With Time Zone", "2026-11-20 23:47:52", "2026-11-20 23:47:52+01"},
		{"a type without a zone", vienna, nil, "timestamp(3) without time zone", "2026-11-20 23:47:52", "2026-11-20 23:47:52"},
		{"a zone for a type without one", vienna, nil, "timestamp", "2026-11-20 23:47:52+05", "2026-11-20 23:47:52+05"},
		{"a word", vienna, nil, "timestamptz", "infinity", "infinity"},
		{"text", vienna, nil, "text", "2026-11-20 23:47:52", "2026-11-20 23:47:52"},
		{"a number", vienna, nil, "bigint", "1795218472", "1795218472"},
		{"an array", vienna, nil, "timestamptz[]", "{1795218472}", "{1795218472}"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			db, err := holdfast.Open(t.TempDir(), holdfast.Options{Zone: test.zone})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			columns := []row.Column{{Name: "n", Type: "text"}, {Name: "at", Type: test.typ}, {Name: "null", Type: test.typ}}
			if err := db.Declare("t", columns); err != nil {
				t.Fatal(err)
			}
			s, err := db.Schema("t", columns)
			if err != nil {
				t.Fatal(err)
			}
			tx := db.Begin()
			tx.SetZone(test.own)
			values := []row.Value{row.Text("1795218472"), row.Text(test.text), row.Null}
			// Twice, the second time with buffers that are used again.
			for range 2 {
				for range 2 {
					if err := tx.Insert(s, values); err != nil {
						t.Fatal(err)
					}
				}
				if err := tx.Commit(context.Background(), true); err != nil {
					t.Fatal(err)
				}
			}
			if string(values[1].Text) != test.text {
				t.Errorf("the caller's value became %q", values[1].Text)
			}
			lines, _ := all(t, db, holdfast.ReadOptions{})
			if len(lines) != 4 {
				t.Errorf("%d rows, want 4", len(lines))
			}
			for _, line := range lines {
				if !strings.HasSuffix(line, " t [1795218472 "+test.want+" NULL]") {
					t.Errorf("a row is %q, want at %q", line, test.want)
				}
			}
		})
	}
}

// TestZoneRefusal holds that a refusal shows the value as it was given.
func TestZoneRefusal(t *testing.T) {
	db, err := holdfast.Open(t.TempDir(), holdfast.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Declare("t", []row.Column{{Name: "at", Type: "timestamptz"}}); err != nil {
		t.Fatal(err)
	}
	err = db.Insert(t.Context(), "t", []string{"at"}, "2026-02-31 00:00:00")
	if err == nil || !strings.Contains(err.Error(), `out of range: "2026-02-31 00:00:00"`) {
		t.Errorf("it was refused with %v", err)
	}
}
