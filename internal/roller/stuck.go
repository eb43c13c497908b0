package roller

import "time"

// Stuck is why the mover gets nothing out of a stream's hot tier; the zero
// Stuck: it does, or need not.
type Stuck struct {
	Why   string
	Since time.Time
}

// Stuck returns that of a stream.
func (r *Roller) Stuck(stream string) (one Stuck) {
	r.movers.change(stream, func(s *Stuck) { one = *s })
	return one
}

// moved notes how the mover fared with a stream, and returns err.
func (r *Roller) moved(stream string, err error) error {
	now := r.o.Now()
	r.movers.change(stream, func(s *Stuck) {
		switch {
		case err == nil:
			*s = Stuck{}
		case s.Why == "":
			*s = Stuck{err.Error(), now}
		default:
			s.Why = err.Error()
		}
	})
	return err
}
