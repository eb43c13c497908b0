// Package gate bounds who stands at the doors: connections that have not said
// who they are, and those that were let in, in all and of each address and user;
// and the memory that they hold.
//
// Whoever only occupies places gives way: a connection that waits for longer
// than honest ones need is cut off when another wants its place, the address
// with most of them first, of these the oldest.
package gate

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/peer"
)

// Limits are the bounds of a Gate. Each that is 0 has the value in brackets.
type Limits struct {
	Open              int           // let in, of all doors together [1000]
	PerAddress        int           // let in, of one address [Open]
	PerUser           int           // let in, of one user [Open]
	Waiting           int           // not let in yet, of all doors together [256]
	WaitingPerAddress int           // likewise, of one address [Waiting]
	Patience          time.Duration // that each waiting connection has for certain [500 ms]
}

func (l Limits) settled() Limits {
	fill := func(n *int, by int) {
		if *n <= 0 {
			*n = by
		}
	}
	fill(&l.Open, 1000)
	fill(&l.PerAddress, l.Open)
	fill(&l.PerUser, l.Open)
	fill(&l.Waiting, 256)
	fill(&l.WaitingPerAddress, l.Waiting)
	if l.Patience <= 0 {
		l.Patience = 500 * time.Millisecond
	}
	return l
}

// Gate counts connections. It is safe for concurrent use.
type Gate struct {
	mu          sync.Mutex
	limits      Limits
	waiting     *list.List // of *Guest, the oldest first
	waitingFrom map[netip.Prefix]int
	open        int
	openFrom    map[netip.Prefix]int
	openAs      map[string]int
	watch       func() // may be nil
}

// New makes a Gate.
func New(l Limits) *Gate {
	return &Gate{
		limits: l.settled(), waiting: list.New(),
		waitingFrom: make(map[netip.Prefix]int), openFrom: make(map[netip.Prefix]int), openAs: make(map[string]int),
	}
}

// SetLimits changes the bounds. Connections that are there stay.
func (g *Gate) SetLimits(l Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits = l.settled()
}

// Watch makes the gate call changed whenever a connection has come or gone. It
// is called once, before the first does.
func (g *Gate) Watch(changed func()) { g.watch = changed }

func (g *Gate) changed() {
	if g.watch != nil {
		g.watch()
	}
}

// Limits returns the bounds in force.
func (g *Gate) Limits() Limits {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limits
}

// Count returns how many connections were let in, and how many wait.
func (g *Gate) Count() (open, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open, g.waiting.Len()
}

// Guest is one connection.
type Guest struct {
	gate  *Gate
	from  netip.Prefix
	since time.Time
	cut   func()
	place *list.Element // among those that wait; nil: it does not
	in    bool          // it was let in
	user  string
	gone  bool
}

// Enter takes a connection's address, and what ends the connection, which must
// not block. It returns nil where there is no place for it: then nothing is
// remembered of it.
func (g *Gate) Enter(from netip.Addr, cut func()) *Guest {
	k := &Guest{gate: g, from: peer.Network(from), since: time.Now(), cut: cut}
	g.mu.Lock()
	var slow *Guest
	switch {
	case g.waitingFrom[k.from] >= g.limits.WaitingPerAddress:
		slow = g.slowest(k.from)
	case g.waiting.Len() >= g.limits.Waiting:
		slow = g.slowest(g.most())
	default:
		slow = k // none needs to go
	}
	if slow != nil {
		if slow != k {
			g.forget(slow)
		}
		k.place = g.waiting.PushBack(k)
		g.waitingFrom[k.from]++
	}
	g.mu.Unlock()
	switch slow {
	case nil:
		return nil
	case k:
		g.changed()
	default:
		slow.cut()
	}
	return k
}

// most returns the address with most that wait, of those with one that has
// waited for too long. g.mu is held.
func (g *Gate) most() (from netip.Prefix) {
	best := 0
	for e := g.waiting.Front(); e != nil; e = e.Next() {
		k := e.Value.(*Guest)
		if time.Since(k.since) < g.limits.Patience {
			break // those behind came later
		}
		if n := g.waitingFrom[k.from]; n > best {
			from, best = k.from, n
		}
	}
	return from
}

// slowest returns the one of the address that has waited for longest, nil where
// none has for too long. g.mu is held.
func (g *Gate) slowest(from netip.Prefix) *Guest {
	for e := g.waiting.Front(); e != nil; e = e.Next() {
		k := e.Value.(*Guest)
		if time.Since(k.since) < g.limits.Patience {
			return nil
		}
		if k.from == from {
			return k
		}
	}
	return nil
}

// forget takes k out of all counts. g.mu is held.
func (g *Gate) forget(k *Guest) {
	drop := func(m map[netip.Prefix]int) {
		if m[k.from]--; m[k.from] == 0 {
			delete(m, k.from)
		}
	}
	if k.place != nil {
		g.waiting.Remove(k.place)
		k.place = nil
		drop(g.waitingFrom)
	}
	if k.in {
		k.in = false
		g.open--
		drop(g.openFrom)
		if g.openAs[k.user]--; g.openAs[k.user] == 0 {
			delete(g.openAs, k.user)
		}
	}
	k.gone = true
}

// Admit lets the connection in as user, "" where nobody knows who it is, or
// returns why there is no room. Once let in it stays so.
func (k *Guest) Admit(user string) error {
	g := k.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	full := func(whose string, n int, hint string) error {
		return fault.New(fault.TooManyConnections, "too many connections%s: %d are open", whose, n).WithHint("%s", hint)
	}
	switch {
	case k.in:
		return nil
	case k.gone:
		return full("", g.open, "it took too long to start while others waited for its place")
	case g.open >= g.limits.Open:
		return full("", g.open, "close some, or raise max_connections")
	case g.openFrom[k.from] >= g.limits.PerAddress:
		return full(" from this address", g.openFrom[k.from], "close some, or raise limits.per_address")
	case user != "" && g.openAs[user] >= g.limits.PerUser:
		return full(" of this user", g.openAs[user], "close some, or raise limits.per_user")
	}
	g.waiting.Remove(k.place)
	k.place, k.in, k.user = nil, true, user
	if g.waitingFrom[k.from]--; g.waitingFrom[k.from] == 0 {
		delete(g.waitingFrom, k.from)
	}
	g.open++
	g.openFrom[k.from]++
	g.openAs[user]++
	return nil
}

// Leave takes note that the connection is closed. It may be called more than
// once.
func (k *Guest) Leave() {
	k.gate.mu.Lock()
	gone := k.gone
	if !gone {
		k.gate.forget(k)
	}
	k.gate.mu.Unlock()
	if !gone {
		k.gate.changed()
	}
}
