package row_test

import (
	"strconv"
	"testing"
	"time"
	_ "time/tzdata" // so that the zones are there wherever this runs

	"holdfast/row"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// TestMoments holds what a moment's text becomes in each form. A "" says that it
// is left alone.
func TestMoments(t *testing.T) {
	tests := []struct{ zone, text, zoned, clock, epoch string }{
		{"UTC", "2026-11-20 23:47:52", "2026-11-20 23:47:52+00", "", "1795218472"},
		{"UTC", "1795218472", "2026-11-20 23:47:52+00", "2026-11-20 23:47:52", ""},
		{"Europe/Vienna", "1795218472", "2026-11-21 00:47:52+01", "2026-11-21 00:47:52", ""},
		{"Europe/Vienna", "2026-11-21 00:47:52", "2026-11-21 00:47:52+01", "", "1795218472"},
		{"Europe/Vienna", "2026-11-21 00:47:52+01", "", "2026-11-21 00:47:52", "1795218472"},
		{"Europe/Vienna", "2026-07-01T12:00", "2026-07-01T12:00+02", "", "1782900000"},
		{"Europe/Vienna", " 2026-07-01 12:00:00.250 ", "2026-07-01 12:00:00.250+02", "", "1782900000.25"},
		{"Europe/Vienna", "2026-07-01", "2026-07-01 00:00:00+02", "", "1782856800"},
		{"Europe/Vienna", "2026-07-01 24:00:00", "2026-07-01 24:00:00+02", "", "1782943200"},
		// The hour that comes twice is the second one, the one that is skipped
		// goes on from before: this is what PostgreSQL does.
		{"Europe/Vienna", "2026-10-25 02:30:00", "2026-10-25 02:30:00+01", "", "1792891800"},
		{"Europe/Vienna", "2026-10-25 01:59:59", "2026-10-25 01:59:59+02", "", "1792886399"},
		{"Europe/Vienna", "2026-10-25 03:00:00", "2026-10-25 03:00:00+01", "", "1792893600"},
		{"Europe/Vienna", "2026-03-29 02:30:00", "2026-03-29 02:30:00+01", "", "1774747800"},
		{"Europe/Vienna", "2026-03-29 03:00:00", "2026-03-29 03:00:00+02", "", "1774746000"},
		{"Europe/Vienna", "1850-01-01 00:00:00", "1850-01-01 00:00:00+01:05:21", "", "-3786829521"},
		{"Asia/Kolkata", "2026-01-01 00:00:00", "2026-01-01 00:00:00+05:30", "", "1767205800"},
		{"America/St_Johns", "2026-01-01 00:00:00", "2026-01-01 00:00:00-03:30", "", "1767238200"},
		{"UTC", "2026-11-20 23:47:52 -0330", "", "2026-11-20 23:47:52", "1795231072"},
		{"UTC", "2026-11-20 23:47:52Z", "", "2026-11-20 23:47:52", "1795218472"},
		{"UTC", "1969-12-31 23:59:58.75+00", "", "1969-12-31 23:59:58.75", "-1.25"},
		{"UTC", "1969-12-31 23:59:59.75+00", "", "1969-12-31 23:59:59.75", "-0.25"},
		{"UTC", "1970-01-01 00:00:00+00", "", "1970-01-01 00:00:00", "0"},
		{"Europe/Vienna", "20261120", "", "", ""},
		{"Europe/Vienna", "12345678901", "", "", ""},
		{"Europe/Vienna", "now", "", "", ""},
		{"Europe/Vienna", "infinity", "", "", ""},
		{"Europe/Vienna", "", "", "", ""},
		{"Europe/Vienna", "2026-11-20 23:47:52 Europe/Vienna", "", "", ""},
		{"Europe/Vienna", "2026-11-20 23:47:52+1", "", "", ""},
		{"Europe/Vienna", "2026-11-20 23:47:52+01:00:00:00", "", "", ""},
		{"Europe/Vienna", "2026-11-20 23:47:52 BC", "", "", ""},
		{"Europe/Vienna", "2026-13-20 23:47:52", "", "", ""},
		{"Europe/Vienna", "2026-11-20 23:4x:52", "", "", ""},
		{"Europe/Vienna", "20.11.2026 23:47", "", "", ""},
	}
	for _, test := range tests {
		z := zone(t, test.zone)
		for _, form := range []struct {
			name, want string
			f          func(dst, text []byte, zone *time.Location) ([]byte, bool)
		}{{"zoned", test.zoned, row.AppendZoned}, {"clock", test.clock, row.AppendClock}, {"epoch", test.epoch, row.AppendEpoch}} {
			got, ok := form.f([]byte("x"), []byte(test.text), z)
			if ok != (form.want != "") || string(got) != "x"+form.want {
				t.Errorf("%s: %q in %s is %q, %v; want %q", form.name, test.text, test.zone, got, ok, form.want)
			}
		}
	}
}

// TestMomentsComeBack holds that each second around the changes of a year keeps
// its moment from epoch to text and back, and its clock.
func TestMomentsComeBack(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Vienna", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata"} {
		z := zone(t, name)
		for at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Unix(); at < 1798761600; at += 599 {
			epoch := strconv.AppendInt(nil, at, 10)
			zoned, ok := row.AppendZoned(nil, epoch, z)
			back, ok2 := row.AppendEpoch(nil, zoned, time.UTC)
			if !ok || !ok2 || string(back) != string(epoch) {
				t.Fatalf("%s: %s became %s and then %s", name, epoch, zoned, back)
			}
			clock, _ := row.AppendClock(nil, zoned, z)
			if want := time.Unix(at, 0).In(z).Format(time.DateTime); string(clock) != want {
				t.Fatalf("%s: the clock of %s is %s, want %s", name, epoch, clock, want)
			}
		}
	}
}

func FuzzMoment(f *testing.F) {
	for _, text := range []string{"2026-11-20 23:47:52+01", "1795218472", "2026-11-20", "2026-11-20T23:47:52.5Z", "9999-12-31 24:00:60"} {
		f.Add([]byte(text))
	}
	z := zone(f, "Europe/Vienna")
	f.Fuzz(func(t *testing.T, text []byte) {
		zoned, ok := row.AppendZoned(nil, text, z)
		if !ok {
			return
		}
		if again, ok := row.AppendZoned(nil, zoned, z); ok {
			t.Errorf("%q became %q, and that %q", text, zoned, again)
		}
		if _, ok := row.AppendEpoch(nil, zoned, z); !ok {
			t.Errorf("%q became %q, which is no moment", text, zoned)
		}
		if _, ok := row.AppendClock(nil, zoned, z); !ok {
			t.Errorf("%q became %q, which has no clock", text, zoned)
		}
	})
}
