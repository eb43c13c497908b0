package roller

import (
	"log/slog"
	"testing"
	"time"
)

// TestSteady sets a clock forward and back, by much and by little.
func TestSteady(t *testing.T) {
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	wall, gone := begin, time.Duration(0)
	s := &steady{wall: func() time.Time { return wall }, elapsed: func() time.Duration { return gone }, log: slog.New(slog.DiscardHandler), at: begin}
	year := 365 * 24 * time.Hour
	for i, step := range []struct {
		passes, jumps time.Duration
		wrong         time.Duration // how far it is from what has passed since the beginning
	}{
		{passes: time.Minute},
		{passes: time.Minute, jumps: time.Minute, wrong: time.Minute}, // as a clock is set
		{passes: time.Minute, jumps: -time.Minute},
		{passes: 48 * time.Hour}, // nobody asked for long
		{passes: time.Minute, jumps: year},
		{passes: 23 * time.Hour},
		{passes: time.Minute, jumps: -year}, // set right within the day
		{passes: 2 * time.Hour},
		{passes: time.Minute, jumps: year},
		{passes: time.Minute, jumps: 2 * year}, // and again
		{passes: 23 * time.Hour},
		{passes: 2 * time.Hour, wrong: 3 * year}, // nobody set it right
		{passes: time.Minute, wrong: 3 * year},
		{passes: time.Minute, jumps: -3 * year}, // what goes back is believed
		{passes: time.Minute, jumps: -time.Hour * 5, wrong: -5 * time.Hour},
		{passes: time.Minute, jumps: 5*time.Hour + time.Minute, wrong: -5 * time.Hour},
		{passes: 25 * time.Hour, wrong: time.Minute},
	} {
		gone += step.passes
		wall = wall.Add(step.passes + step.jumps)
		if off := s.now().Sub(begin.Add(gone)); off != step.wrong {
			t.Fatalf("step %d: it is off by %s, want %s", i, off, step.wrong)
		}
	}
}
