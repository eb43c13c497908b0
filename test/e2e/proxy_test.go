package e2e

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// cutting says where a proxy cuts the next connection that commits.
type cutting int32

const (
	cutNowhere cutting = iota
	cutBefore          // the COMMIT does not reach the database
	cutDuring          // it does, and the connection is gone at the same moment
	cutAfter           // the database has answered, and the answer is lost
	cutRows            // in the middle of the rows
	cuttings           // how many there are
)

// proxy stands between the server and a database. It cuts connections where
// it hurts most, and can be away altogether.
type proxy struct {
	listener net.Listener
	target   string
	next     atomic.Int32 // cutting to do, once
	done     [cuttings]atomic.Int64
	group    sync.WaitGroup

	mu    sync.Mutex
	away  bool
	conns map[net.Conn]bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, conns: map[net.Conn]bool{}}
	p.group.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.setAway(true)
		p.group.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// setAway cuts every connection, and refuses new ones while it is set.
func (p *proxy) setAway(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
	for c := range p.conns {
		if away {
			c.Close()
		}
	}
}

// enter notes connections, so that setAway finds them; false: it is away.
func (p *proxy) enter(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
	return !p.away
}

func (p *proxy) leave(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
		c.Close()
	}
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.group.Go(func() { p.serve(c) })
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	database, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.leave(client, database)
	if !p.enter(client, database) {
		return
	}
	var deaf atomic.Bool // the next answer ends the connection
	p.group.Go(func() {
		defer client.Close()
		defer database.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := database.Read(buf)
			if err != nil || deaf.Load() {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	_ = p.forward(database, client, &deaf)
}

var errCut = errors.New("cut")

// forward hands on what the server sends, and cuts where it was told to.
func (p *proxy) forward(database io.Writer, client io.Reader, deaf *atomic.Bool) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return err
		}
		b := buf[:n]
		how := cutting(p.next.Load())
		commits := bytes.Contains(bytes.ToUpper(b), []byte("COMMIT"))
		hit := how != cutNowhere && (how == cutRows) == !commits && (how != cutRows || len(b) > 4096)
		if !hit || !p.next.CompareAndSwap(int32(how), int32(cutNowhere)) {
			if _, err := database.Write(b); err != nil {
				return err
			}
			continue
		}
		p.done[how].Add(1)
		switch how {
		case cutBefore:
			return errCut
		case cutRows:
			_, err = database.Write(b[:n/2])
			return errors.Join(errCut, err)
		case cutDuring:
			_, err = database.Write(b)
			return errors.Join(errCut, err)
		}
		deaf.Store(true)
		if _, err := database.Write(b); err != nil {
			return err
		}
	}
}
