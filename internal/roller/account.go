package roller

import (
	"slices"
	"sync"
	"time"

	"holdfast/internal/roll"
)

// Account is what became of a stream by rolls and limits. Only the last roll
// over linked streams is known from before the start.
type Account struct {
	At       time.Time // when something of it went last; zero: never, as far as is known
	Rule     string    // by which rule
	By       string
	Serial   uint64 // of the roll; 0: a limit of the stream alone
	Segments int    // that went by it
	Bytes    int64  // 0 where that was before the start

	Tried    time.Time // when something was to go last
	Asked    string    // by which rule
	InTheWay []string  // what stood in the way of that; empty: nothing

	Removed      uint64 // segments since the start, those in the trash not counted
	RemovedBytes uint64
}

// Account returns that of a stream.
func (r *Roller) Account(stream string) (one Account) {
	r.accounts.change(stream, func(a *Account) { one = *a })
	return one
}

// Removed notes that a segment of a stream is gone for good, by a roll or, with
// serial 0, by a limit of the stream alone.
func (r *Roller) Removed(stream string, serial uint64, bytes int64, rule, by string) {
	now := r.o.Now()
	r.accounts.change(stream, func(a *Account) {
		a.Removed++
		a.RemovedBytes += uint64(max(bytes, 0))
		if serial == 0 {
			a.At, a.Rule, a.By, a.Serial, a.Segments, a.Bytes = now, rule, by, 0, 1, bytes
			a.Tried, a.Asked, a.InTheWay = now, rule, nil
		}
	})
}

// before takes over what the last run has committed last.
func (r *Roller) before(last *record) {
	for stream, s := range last.Streams {
		n := len(s.Doomed)
		if n == 0 {
			continue
		}
		r.accounts.change(stream, func(one *Account) {
			one.At, one.Rule, one.By, one.Serial, one.Segments = time.UnixMicro(last.At), last.Rule, last.By, last.Serial, n
			one.Tried, one.Asked = one.At, last.Rule
		})
	}
}

// maxInTheWay bounds what an account tells.
const maxInTheWay = 5

// tried notes what a plan that was to be carried out came to. serial is 0 where
// it was not.
func (r *Roller) tried(p *roll.Plan, serial uint64, by string, types []string) {
	now := r.o.Now()
	gone := map[string]*Account{}
	for _, s := range p.Steps {
		if s.Index || serial == 0 {
			continue
		}
		if gone[s.Stream] == nil {
			gone[s.Stream] = &Account{}
		}
		gone[s.Stream].Segments++
		gone[s.Stream].Bytes += s.Bytes
	}
	ways := map[string][]string{}
	for _, o := range p.Obstacles {
		for _, s := range r.streams {
			if o.Stream != s.Name && (o.Stream != "" || len(types) > 0 && !slices.Contains(types, s.Name)) {
				continue // files that are not Holdfast's are in the way of all that were to go
			}
			if len(ways[s.Name]) < maxInTheWay {
				ways[s.Name] = append(ways[s.Name], o.String())
			}
		}
	}
	for _, s := range r.streams {
		went, ways := gone[s.Name], ways[s.Name]
		concerned := p.Met && (len(types) == 0 || slices.Contains(types, s.Name))
		if went == nil && ways == nil && !concerned { // what was in the way is no more where all holds
			continue
		}
		r.accounts.change(s.Name, func(a *Account) {
			a.Tried, a.Asked, a.InTheWay = now, p.Rule, ways
			if went != nil {
				a.At, a.Rule, a.By, a.Serial, a.Segments, a.Bytes = now, p.Rule, by, serial, went.Segments, went.Bytes
			}
		})
	}
}

// pinned is what Pins has found out.
type pinned struct {
	mu    sync.Mutex // before Roller.mu, which is only tried with it held
	all   []roll.Pin
	err   error
	until time.Time // until when it is told again
}

// pinShare bounds what part of the time is spent on finding out what pins what,
// however often somebody asks and however many segments there are.
const pinShare = 20

// Pins tells of each stream what keeps its oldest segment, as it is or was a
// moment ago. It does not wait for a roll that is under way.
func (r *Roller) Pins() ([]roll.Pin, error) {
	p := &r.pinned
	p.mu.Lock()
	defer p.mu.Unlock()
	began := time.Now()
	if began.Before(p.until) || !r.mu.TryLock() {
		return p.all, p.err
	}
	st, err := r.state()
	streams := r.streams
	r.mu.Unlock()
	if err == nil {
		p.all, err = roll.Pins(st)
	}
	p.err = err
	for i := range p.all {
		if p.all[i].Why != roll.HeldBy {
			continue
		}
		for _, s := range streams {
			if s.Name == p.all[i].Stream {
				p.all[i].Who = s.Journal.HeldBy(p.all[i].Number)
			}
		}
	}
	p.until = time.Now().Add(pinShare * time.Since(began))
	return p.all, p.err
}
