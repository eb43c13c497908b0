package postgres

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy stands between a sink and its server, and does something when it sees
// a COMMIT.
type proxy struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu    sync.Mutex
	plan  plot // for the next COMMIT, once
	conns map[net.Conn]bool
}

// plot is what happens at a COMMIT.
type plot struct {
	forward bool   // whether the server gets it
	answer  bool   // whether it answers before the line is cut
	then    func() // right after it was forwarded, or not
}

// newProxy returns a proxy, and the URL that leads through it.
func newProxy(t *testing.T, at string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: u.Host, conns: map[net.Conn]bool{}}
	p.running.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.running.Wait()
	})
	u.Host = l.Addr().String()
	return p, u.String()
}

// at sets what happens at the next COMMIT.
func (p *proxy) at(plan plot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = plan
	if p.plan.then == nil {
		p.plan.then = func() {}
	}
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		cut := make(chan struct{}) // closed when the client gets no more
		p.running.Go(func() { p.upwards(client, server, cut) })
		p.running.Go(func() { p.downwards(client, server, cut) })
	}
}

// upwards carries what the client says, in pieces as they come: a COMMIT is a
// small message of its own.
func (p *proxy) upwards(client, server net.Conn, cut chan struct{}) {
	defer server.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		plan := p.plan
		hit := plan.then != nil && bytes.Contains(buf[:n], []byte("COMMIT\x00"))
		if hit {
			p.plan = plot{}
		}
		p.mu.Unlock()
		if hit {
			close(cut)
		}
		if !hit || plan.forward {
			if _, err := server.Write(buf[:n]); err != nil {
				client.Close()
				return
			}
		}
		if hit {
			plan.then()
			if plan.answer {
				_, _ = io.Copy(io.Discard, &one{server}) // by downwards, if it was quicker
			}
			client.Close()
			return
		}
	}
}

// one reads once.
type one struct{ net.Conn }

func (o *one) Read(b []byte) (int, error) {
	n, err := o.Conn.Read(b)
	if err == nil {
		err = io.EOF
	}
	return n, err
}

func (p *proxy) downwards(client, server net.Conn, cut chan struct{}) {
	defer client.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-cut: // what came behind the COMMIT is not for the client
			return
		default:
		}
		if _, err := client.Write(buf[:n]); err != nil {
			server.Close()
			return
		}
	}
}
