package rejects

import (
	"context"
	"errors"
)

const (
	// mostHeld is how many bytes of the log the oldest reject that waits may hold
	// before it is looked whether they are worth it.
	mostHeld = 64 << 20
	// worth is how many times what waits the log may take.
	worth = 4
	// carryStep is how much is told again at once, since somebody waits meanwhile.
	carryStep = 8 << 20
)

// held returns how many bytes of the log may not go.
func (s *Store) held() int64 {
	s.mu.Lock()
	at := s.x.pinned()
	s.mu.Unlock()
	if at == 0 {
		return 0
	}
	return s.j.BytesAfter(at - 1)
}

// wasteful reports whether the log holds much more than what waits.
func (s *Store) wasteful() bool {
	held, most := s.held(), int64(mostHeld)
	if limit := s.j.Status().Limit; limit > 0 {
		most = min(most, limit/4)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return held > most && held > worth*s.x.bytes
}

// carry tells the oldest rejects again, at the end of the log, so that what lies
// between them may go; about most bytes of them, and only while that is worth it.
// One reject that waits for years would otherwise hold everything behind it. Who
// calls it holds writing.
func (s *Store) carry(ctx context.Context, most int64) error {
	f := fetcher{j: s.j}
	defer f.close()
	g := fetcher{j: s.j}
	defer g.close()
	for told := int64(0); told < most && s.wasteful(); {
		a := appender{s: s}
		for _, r := range s.oldestHeld(appendBytes) {
			ev, err := f.event(r.last)
			if errors.Is(err, errLost) { // nothing can be told of it but that it is
				ev, err = s.rest(r), nil
			}
			if err != nil {
				return err
			}
			s.named(&ev, r)
			values, err := g.values(r.at)
			if err != nil && !errors.Is(err, errLost) {
				return err
			}
			ev.kind, ev.state, ev.id, ev.valuesAt = carried, StateOpen, r.id, 0
			if err := a.add(ctx, ev, values); err != nil {
				return err
			}
			told += int64(r.size)
		}
		if err := a.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// oldestHeld returns the rejects that wait with the oldest values, about bytes
// of them, at least one where there is any.
func (s *Store) oldestHeld(bytes int64) []ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []ref
	for _, p := range s.x.queue {
		if p.e.state != StateOpen || p.e.at != p.at {
			continue
		}
		if len(all) > 0 && bytes < int64(p.e.size) {
			break
		}
		bytes -= int64(p.e.size)
		all = append(all, refOf(p.e))
	}
	return all
}

// tidy carries a little after a change. What goes wrong with that is no fault of
// the change, and is tried again with the next one.
func (s *Store) tidy(ctx context.Context) {
	if err := s.carry(ctx, carryStep); err != nil {
		s.o.Log.Warn("old rejects could not be told again; the stream of rejects stays larger than it must", "error", err)
	}
}
