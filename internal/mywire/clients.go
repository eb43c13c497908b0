package mywire

import (
	"cmp"
	"slices"
	"time"
)

// Client is one connection, as others see it.
type Client struct {
	ID       uint32
	User     string // "" during the login, likewise what follows
	Database string
	Address  string
	State    string // "starting", "active" or "idle"
	TLS      bool
	Since    time.Time // when it was accepted
	Rows     uint64    // that it committed
}

// shown is what a session shows to others. A new one takes its place where
// something of it changes.
type shown struct {
	user, database string
	tls            bool
}

// expose renews what others see of the session.
func (s *session) expose() {
	s.seen.Store(&shown{user: s.user, database: s.database, tls: s.secured})
}

// Clients returns the connections that are open, the oldest first.
func (s *Server) Clients() []Client {
	s.mu.Lock()
	all := make([]Client, 0, len(s.conns))
	for sn := range s.conns {
		c := Client{ID: sn.id, Address: sn.conn.RemoteAddr().String(), State: "starting", Since: sn.since, Rows: sn.committed.Load()}
		if seen := sn.seen.Load(); seen != nil {
			c.User, c.Database, c.TLS, c.State = seen.user, seen.database, seen.tls, "active"
			if sn.waiting.Load() {
				c.State = "idle"
			}
		}
		all = append(all, c)
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b Client) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return all
}
