package mysql

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between a sink and its server, and cuts the wire where it is told.
type proxy struct {
	addr string

	mu     sync.Mutex
	listen net.Listener
	open   map[net.Conn]struct{}
	away   bool
	cut    string // when to cut at the next COMMIT: "before", "behind" or "answer"
	wg     sync.WaitGroup
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), listen: l, open: map[net.Conn]struct{}{}}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c, target) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.sever()
		p.wg.Wait()
	})
	return p
}

// refuse cuts every connection, and every new one, until heal is called.
func (p *proxy) refuse() (heal func()) {
	p.mu.Lock()
	p.away = true
	p.mu.Unlock()
	p.sever()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.away = false
	}
}

func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}

// cutCommit makes the next COMMIT the last thing on its wire.
func (p *proxy) cutCommit(when string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = when
}

// enter notes a connection, so that it can be cut; false where it must go now.
func (p *proxy) enter(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[c] = struct{}{}
	return !p.away
}

func (p *proxy) leave(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
	c.Close()
}

func (p *proxy) serve(client net.Conn, target string) {
	defer p.leave(client)
	if !p.enter(client) {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer p.leave(server)
	if !p.enter(server) {
		return
	}
	var mute sync.Mutex // held while an answer must not get through
	muted := false
	var wg sync.WaitGroup
	wg.Go(func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			mute.Lock()
			silent := muted
			mute.Unlock()
			if silent && n > 0 || err != nil {
				return // the server has answered, so the commit is done; nobody hears of it
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			break
		}
		when := ""
		if bytes.HasSuffix(buf[:n], []byte("\x03COMMIT")) {
			p.mu.Lock()
			when, p.cut = p.cut, ""
			p.mu.Unlock()
		}
		if when == "before" {
			break
		}
		if when == "answer" {
			mute.Lock()
			muted = true
			mute.Unlock()
		}
		if _, err := server.Write(buf[:n]); err != nil || when == "behind" {
			break
		}
	}
	if half, ok := server.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
	client.Close()
	_, _ = io.Copy(io.Discard, client)
	server.Close()
	wg.Wait()
}
