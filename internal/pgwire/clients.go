package pgwire

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// Client is one connection, as others see it.
type Client struct {
	PID         uint32 // 0 during the start-up
	User        string // "" during the start-up, likewise what follows
	Database    string
	Application string // as it calls itself
	Address     string
	State       string // "starting", "active", "idle", "idle in transaction" or "idle in transaction (aborted)"
	TLS         bool
	Since       time.Time // when it was accepted
	Rows        uint64    // that it committed
	Received    uint64    // bytes, after TLS
	Sent        uint64    // bytes, before TLS
}

// visible is what a session shows to others while it runs.
type visible struct {
	application atomic.Pointer[string]
	ended       atomic.Uint32 // the txState that the last answer ended with
	rows, sent  atomic.Uint64
}

// Clients returns the connections that are open, the oldest first.
func (s *Server) Clients() []Client {
	s.mu.Lock()
	all := make([]Client, 0, len(s.conns))
	for sn := range s.conns {
		c := Client{Address: sn.conn.RemoteAddr().String(), State: "starting", Since: sn.since}
		if sn.pid != 0 && s.byPID[sn.pid] == sn { // then what its start-up wrote is settled
			c.PID, c.User, c.Database, c.TLS, c.State = sn.pid, sn.user, sn.database, sn.secured, sn.stateShown()
			c.Rows, c.Sent, c.Received = sn.seen.rows.Load(), sn.seen.sent.Load(), sn.in.read.Load()
			if name := sn.seen.application.Load(); name != nil {
				c.Application = *name
			}
		}
		all = append(all, c)
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b Client) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Address, b.Address))
	})
	return all
}

func (s *session) stateShown() string {
	if !s.waiting.Load() {
		return "active"
	}
	switch txState(s.seen.ended.Load()) {
	case inBlock:
		return "idle in transaction"
	case failed:
		return "idle in transaction (aborted)"
	}
	return "idle"
}
