package roller

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// leap is how far a clock may go forward at once without being doubted: what
	// sets clocks right does so by less, each time.
	leap = time.Hour
	// doubt is how long a clock that went further is not believed.
	doubt = 24 * time.Hour
)

// steady is a clock for what age lets go: when the machine's goes far forward at
// once, it goes on as before for a day, so that somebody has time to look before
// all that is young counts as old. What goes back is believed: nothing gets older
// by it.
type steady struct {
	wall    func() time.Time     // what the machine's clock says
	elapsed func() time.Duration // since some moment, whatever is done to that clock
	log     *slog.Logger

	mu    sync.Mutex
	at    time.Time     // what wall said last
	when  time.Duration // what elapsed said then
	ahead time.Duration // how much of wall is not believed
	until time.Duration // by elapsed, for how long
}

func newSteady(log *slog.Logger) *steady {
	begun := time.Now()
	s := &steady{wall: func() time.Time { return time.Now().Round(0) }, elapsed: func() time.Duration { return time.Since(begun) }, log: log}
	s.at = s.wall()
	return s
}

// now returns the time.
func (s *steady) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	wall, when := s.wall(), s.elapsed()
	jump := wall.Sub(s.at) - (when - s.when)
	s.at, s.when = wall, when
	switch {
	case jump > leap:
		s.ahead, s.until = s.ahead+jump, when+doubt
		s.log.Error("the clock went far forward at once; age lets nothing go by that for a day, so that it can be set right; a restart believes it", "by", jump.String())
	case jump < 0 && s.ahead > 0 && -jump > leap:
		if s.ahead = max(0, s.ahead+jump); s.ahead < leap {
			s.ahead = 0
		}
		s.log.Warn("the clock went back at once", "by", (-jump).String())
	case s.ahead > 0 && when >= s.until:
		s.ahead = 0
		s.log.Warn("the clock is believed again, and age lets go what is old by it")
	}
	return wall.Add(-s.ahead)
}
