package httpapi

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"holdfast/internal/gate"
	"holdfast/internal/peer"
)

// Guarded returns a listener whose connections g takes in. One for which there
// is no place is closed at once.
func Guarded(l net.Listener, g *gate.Gate) net.Listener { return &guarded{l, g} }

type guarded struct {
	net.Listener
	gate *gate.Gate
}

// Accept returns the next connection that there is a place for.
func (l *guarded) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		// Only the connection itself is closed, which its reader notices.
		if k := l.gate.Enter(peer.Of(c), func() { _ = c.Close() }); k != nil {
			return &guest{c, k}, nil
		}
		_ = c.Close()
	}
}

// guest is a connection with its place at the gate.
type guest struct {
	net.Conn
	*gate.Guest
}

// Close closes the connection and gives its place up.
func (g *guest) Close() error {
	g.Leave()
	return g.Conn.Close()
}

// guestKey is the context key of the *gate.Guest that a request came by.
type guestKey struct{}

// withGuest is http.Server's ConnContext.
func withGuest(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if g, ok := c.(*guest); ok {
		return context.WithValue(ctx, guestKey{}, g.Guest)
	}
	return ctx
}

// admit lets the request's connection in for user, "" for nobody in particular.
func admit(r *http.Request, user string) error {
	g, ok := r.Context().Value(guestKey{}).(*gate.Guest)
	if !ok {
		return nil
	}
	return g.Admit(user)
}

// armed is when the time for taking an answer is set anew.
type armed struct {
	ctl     *http.ResponseController
	stalled time.Duration // 0: clients may take as long as they like
	next    time.Time
}

// arm sets by when what is written next must be taken: n bytes more.
func (a *armed) arm(n int) {
	now := time.Now()
	if a.stalled == 0 || n < slowest && now.Before(a.next) {
		return
	}
	a.next = now.Add(time.Second)
	// Connections that know no deadline are left without.
	_ = a.ctl.SetWriteDeadline(now.Add(a.stalled + time.Second + time.Duration(n)*time.Second/slowest))
}

// slowest is how many bytes a second a client must take.
const slowest = 64 << 10
