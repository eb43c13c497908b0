package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast/internal/fault"
)

const (
	readHeader = 10 * time.Second  // for the request line and headers, against clients that trickle
	idleConn   = 120 * time.Second // for the next request on a connection
	maxHeader  = 16 << 10          // bytes of request line and headers
)

// Server returns an http.Server around h with the limits that a door needs.
// Serve and Shutdown are the caller's; log gets what net/http complains about.
// Requests end when ctx does: without that a client that follows a stream would
// hold Shutdown up for ever. Wrap the listener in Limit to bound the
// connections.
func Server(ctx context.Context, h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Handler:           h,
		ConnContext:       withGuest,
		ReadHeaderTimeout: readHeader,
		IdleTimeout:       idleConn,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Limit returns a listener whose connections are each counted by enter when
// accepted and by leave, once, when closed. Where enter returns false the
// connection is closed at once, so that the doors can share one bound.
func Limit(l net.Listener, enter func() bool, leave func()) net.Listener {
	return &limited{l, enter, leave}
}

type limited struct {
	net.Listener
	enter func() bool
	leave func()
}

// Accept returns the next connection that enter lets in.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.enter() {
			return &counted{Conn: c, leave: l.leave}, nil
		}
		_ = c.Close()
	}
}

type counted struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close closes the connection and counts it as gone.
func (c *counted) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}

// onlyHosts refuses requests that name another host than this one: a page
// whose name was made to point here must not read what it can reach.
func (a *API) onlyHosts(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.ToLower(strings.Trim(host, "[]"))
		ip := net.ParseIP(host)
		ok := host == "localhost" || ip != nil && ip.IsLoopback()
		ok = ok || a.o.Named != nil && a.o.Named(host)
		for _, name := range a.o.Hosts {
			ok = ok || strings.EqualFold(name, host)
		}
		if !ok {
			refuse(w, http.StatusMisdirectedRequest, fault.New(fault.InvalidParameterValue, "host %q is not this server", r.Host).
				WithHint("use its address, like 127.0.0.1 or localhost"))
			return
		}
		h.ServeHTTP(w, r)
	})
}

// counted counts answers by status, and sees that they are taken.
func (a *API) counted(h http.Handler, stalled time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK, armed: armed{ctl: http.NewResponseController(w), stalled: stalled}}
		defer func() { a.requests.WithLabelValues(strconv.Itoa(s.status)).Inc() }()
		h.ServeHTTP(s, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	armed
	status int
}

// Write gives the client some time to take b.
func (s *statusWriter) Write(b []byte) (int, error) {
	s.arm(len(b))
	return s.ResponseWriter.Write(b)
}

// WriteHeader remembers the status.
func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// patient is a body that may take as long as it likes in all, but not be
// silent for longer than idleBody. One that holds what others wait for must come
// in at the slowest rate from then on: else a few that trickle held it for ever.
type patient struct {
	body    io.Reader
	ctl     *http.ResponseController
	next    time.Time     // when the deadline is moved again
	hurried bool          // it holds something
	came    int64         // bytes since then
	waited  time.Duration // for them
}

func newPatient(w http.ResponseWriter, body io.Reader) *patient {
	return &patient{body: body, ctl: http.NewResponseController(w)}
}

// hurry says that from now on others wait for what the body holds.
func (p *patient) hurry() {
	if !p.hurried {
		p.hurried, p.next = true, time.Time{}
	}
}

// Read reads, with a deadline. Connections that know none are left without.
func (p *patient) Read(b []byte) (int, error) {
	now := time.Now()
	if now.After(p.next) {
		// A second's grain spares a system call per read.
		p.next = now.Add(time.Second)
		limit := time.Duration(idleBody)
		if p.hurried {
			limit = min(limit, idleBody+time.Duration(p.came/slowest)*time.Second-p.waited)
		}
		_ = p.ctl.SetReadDeadline(now.Add(limit))
	}
	n, err := p.body.Read(b)
	if p.hurried {
		p.came += int64(n)
		p.waited += time.Since(now) // and not what the server itself took
	}
	if err != nil {
		// The commit may take longer than a body may be silent.
		_ = p.ctl.SetReadDeadline(time.Time{})
	}
	return n, err
}
