package cli

import (
	"math"
	"testing"
	"time"
)

func TestPeriod(t *testing.T) {
	us := func(text string) int64 {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return at.UnixMicro()
	}
	for text, want := range map[string][2]int64{
		"2026-01-31":                                {us("2026-01-31T00:00:00Z"), us("2026-01-31T23:59:59.999999Z")},
		"2026-01-31 12:00:00":                       {us("2026-01-31T12:00:00Z"), us("2026-01-31T12:00:00.999999Z")},
		"2026-01-31T12:00:00+01:00":                 {us("2026-01-31T11:00:00Z"), us("2026-01-31T11:00:00.999999Z")},
		"2026-01-31T12:00:00.25Z":                   {us("2026-01-31T12:00:00.25Z"), us("2026-01-31T12:00:00.25Z")},
		"2026-01-31..2026-02-01":                    {us("2026-01-31T00:00:00Z"), us("2026-02-01T23:59:59.999999Z")},
		"2026-01-31..":                              {us("2026-01-31T00:00:00Z"), math.MaxInt64},
		"..2026-01-31 00:00:00":                     {math.MinInt64, us("2026-01-31T00:00:00.999999Z")},
		"2026-01-31 12:00:00..2026-01-31T13:00:00Z": {us("2026-01-31T12:00:00Z"), us("2026-01-31T13:00:00.999999Z")},
	} {
		if got, err := period(text); err != nil || *got != want {
			t.Errorf("period(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	if got, err := period(""); got != nil || err != nil {
		t.Errorf("no period is %v, %v", got, err)
	}
	for _, text := range []string{"yesterday", "2026-02-01..2026-01-31", "2026-13-01", "2026-01-31..x", "5"} {
		if got, err := period(text); err == nil {
			t.Errorf("period(%q) = %v", text, *got)
		}
	}
}
