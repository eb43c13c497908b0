package daemon

import (
	"context"
	"math"
	"strings"
	"time"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/internal/httpapi"
	"holdfast/internal/roll"
)

var _ httpapi.Roller = admin{}

// Roll implements httpapi.Roller.
func (a admin) Roll(_ context.Context, o httpapi.RollOrder) (httpapi.RollAnswer, error) {
	m, err := holdfast.ParseRoll(o.Node, o.Message, o.Params)
	if err != nil {
		return httpapi.RollAnswer{}, err
	}
	done, err := a.db.Roll(m, o.By, o.Apply)
	if err != nil {
		return httpapi.RollAnswer{}, err
	}
	var text strings.Builder
	_ = done.Plan.WriteText(&text) // a Builder takes all
	plan, err := done.Plan.JSON()
	return httpapi.RollAnswer{Plan: plan, Text: text.String(), Met: done.Plan.Met, Steps: len(done.Plan.Steps), Serial: done.Serial, Until: done.Until}, err
}

// UndoRoll implements httpapi.Roller.
func (a admin) UndoRoll(_ context.Context, o httpapi.RollUndo) (uint64, error) {
	return a.db.UndoRoll(o.Serial, o.By)
}

// Holds implements httpapi.Roller.
func (a admin) Holds(context.Context) (all []httpapi.Hold, err error) {
	for _, h := range a.db.Holds() {
		one := httpapi.Hold{Name: h.Name, Streams: h.Streams, Note: h.Note, By: h.By, Made: time.UnixMicro(h.Made), Seqs: ends(h.Seqs), Links: ends(h.Links)}
		if r := h.Times; r != nil {
			if r.First != math.MinInt64 {
				one.From = time.UnixMicro(r.First)
			}
			if r.Last != math.MaxInt64 {
				one.To = time.UnixMicro(r.Last)
			}
		}
		all = append(all, one)
	}
	return all, nil
}

func ends(r *holdfast.HoldRange) *[2]int64 {
	if r == nil {
		return nil
	}
	return &[2]int64{r.First, r.Last}
}

func between(e *[2]int64) *holdfast.HoldRange {
	if e == nil {
		return nil
	}
	return &holdfast.HoldRange{First: e[0], Last: e[1]}
}

// AddHold implements httpapi.Roller.
func (a admin) AddHold(_ context.Context, h httpapi.Hold) error {
	one := holdfast.Hold{Name: h.Name, Streams: h.Streams, Note: h.Note, By: h.By, Seqs: between(h.Seqs), Links: between(h.Links)}
	if !h.From.IsZero() || !h.To.IsZero() {
		one.Times = &holdfast.HoldRange{First: math.MinInt64, Last: math.MaxInt64}
		if !h.From.IsZero() {
			one.Times.First = h.From.UnixMicro()
		}
		if !h.To.IsZero() {
			one.Times.Last = h.To.UnixMicro()
		}
	}
	return a.db.AddHold(one)
}

// RemoveHold implements httpapi.Roller.
func (a admin) RemoveHold(_ context.Context, name string) error { return a.db.RemoveHold(name) }

// clockEvery is how often the clock is looked at: a time of day comes sooner or
// later where somebody sets it.
const clockEvery = time.Minute

// ageEvery is how often max_age is looked at.
const ageEvery = time.Minute

// jobs returns what a configuration schedules, max_age included.
func jobs(c *config.Config) ([]roll.Job, error) {
	var all []roll.Job
	for _, s := range c.Schedule {
		if _, closes, _ := s.Closing(); closes {
			continue
		}
		j, err := s.Job()
		if err != nil {
			return nil, err
		}
		all = append(all, j)
	}
	for _, name := range c.StreamNames() {
		if age := time.Duration(c.Streams[name].MaxAge); age > 0 {
			all = append(all, roll.Job{Every: ageEvery, Message: roll.Message{Node: roll.Database, Time: &roll.TimeRoll{Types: []string{name}, Age: age}}})
		}
	}
	return all, nil
}

// schedule is the goroutine that does what is scheduled: one job at a time, so
// that none overlaps with itself. A time that passed while another was at work
// is made up for once; those that passed while no server ran are not.
type schedule struct {
	stop  context.CancelFunc
	ended chan struct{}
}

// startSchedule starts it.
func (s *server) startSchedule() error {
	all, err := jobs(s.cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.schedule = &schedule{cancel, make(chan struct{})}
	go s.follow(ctx, all)
	return nil
}

// close ends it, after the job that is under way.
func (s *schedule) close() {
	if s != nil {
		s.stop()
		<-s.ended
	}
}

// follow waits for the next job and does it.
func (s *server) follow(ctx context.Context, all []roll.Job) {
	defer close(s.schedule.ended)
	next := make([]time.Time, len(all))
	for i, j := range all {
		next[i] = j.Next(time.Now())
	}
	for {
		first := -1
		for i, at := range next {
			if !at.IsZero() && (first < 0 || at.Before(next[first])) {
				first = i
			}
		}
		if first < 0 {
			return
		}
		t := time.NewTimer(min(time.Until(next[first]), clockEvery))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		if time.Until(next[first]) > 0 {
			continue
		}
		s.runJob(all[first])
		next[first] = all[first].Next(time.Now())
	}
}

// runJob does one job: scheduled messages act.
func (s *server) runJob(j roll.Job) {
	done, err := s.db.Roll(j.Message, "schedule", true)
	switch {
	case err != nil:
		s.log.Error("scheduled roll", "job", j.String(), "error", err)
	case !done.Plan.Met:
		s.log.Warn("a scheduled roll does not reach what it asks", "job", j.String(), "roll", done.Serial, "removed", len(done.Plan.Steps), "in_the_way", obstacles(done.Plan))
	case done.Serial != 0:
		s.log.Info("rolled", "job", j.String(), "roll", done.Serial, "removed", len(done.Plan.Steps))
	}
}

// maxObstacles bounds what one line of the log tells.
const maxObstacles = 5

func obstacles(p *roll.Plan) string {
	var all []string
	for i, o := range p.Obstacles {
		if i == maxObstacles {
			all = append(all, "...")
			break
		}
		all = append(all, o.String())
	}
	return strings.Join(all, "; ")
}
