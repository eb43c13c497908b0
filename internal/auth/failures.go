package auth

import (
	"net/netip"
	"sync"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/peer"
)

const (
	burst     = 20              // logins that may fail at once from one address
	refill    = 3 * time.Second // after which one more may
	addresses = 4096            // that are remembered; more make the oldest forgotten
	forgotten = burst * refill  // after which an address has all of its burst again
)

// Failures counts logins that failed, by address, so that nobody guesses fast.
// An IPv6 address counts as its /64, which is what one subscriber gets. It is
// safe for concurrent use; the zero value works.
type Failures struct {
	mu   sync.Mutex
	from map[netip.Prefix]time.Time // when the address would be clean again
}

// Wait returns how long the address must wait before its next login; 0: not.
func (f *Failures) Wait(from netip.Addr, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Each failure moves the time on by refill; burst of them lie ahead at most.
	clean, known := f.from[peer.Network(from)]
	if !known {
		return 0
	}
	return max(0, clean.Add(-(burst-1)*refill).Sub(now))
}

// Check is Wait as a refusal.
func (f *Failures) Check(from netip.Addr, now time.Time) error {
	wait := f.Wait(from, now)
	if wait == 0 {
		return nil
	}
	return fault.New(fault.InvalidAuthorization, "too many failed logins from this address").
		WithHint("try again in %d seconds", int(wait/time.Second)+1)
}

// Failed counts one.
func (f *Failures) Failed(from netip.Addr, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.from == nil {
		f.from = make(map[netip.Prefix]time.Time)
	}
	key := peer.Network(from)
	if _, known := f.from[key]; !known && len(f.from) >= addresses {
		f.forget(now)
	}
	clean := f.from[key]
	if clean.Before(now) {
		clean = now
	}
	if clean = clean.Add(refill); clean.After(now.Add(forgotten)) {
		clean = now.Add(forgotten)
	}
	f.from[key] = clean
}

// forget makes room: for those that are clean, or else for the one that is
// soonest.
func (f *Failures) forget(now time.Time) {
	var soonest netip.Prefix
	var when time.Time
	for key, clean := range f.from {
		if !clean.After(now) {
			delete(f.from, key)
			continue
		}
		if when.IsZero() || clean.Before(when) {
			soonest, when = key, clean
		}
	}
	if len(f.from) >= addresses {
		delete(f.from, soonest)
	}
}
