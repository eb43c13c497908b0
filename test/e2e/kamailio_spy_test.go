package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// spy stands between Kamailio and Holdfast, at an address that stays, and notes
// which INSERT was sent and which was answered. It reads both protocols with
// none of the product's own code, and now and then it breaks a connection in
// front of an INSERT or in place of its answer.
type spy struct {
	listener net.Listener
	mysql    bool // else PostgreSQL's protocol
	target   atomic.Pointer[string]
	group    sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]bool
	closed  bool
	inserts int
	sent    map[string]int  // INSERTs by their text
	acked   map[string]bool // those of which Holdfast said that they are stored
	others  map[string]int  // what else was sent
	errors  map[string]int  // what Holdfast refused, with its answer
	before  int             // connections broken in front of an INSERT
	lost    int             // in place of the answer
}

func newSpy(t *testing.T, mysql bool) *spy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &spy{listener: l, mysql: mysql, conns: map[net.Conn]bool{}, sent: map[string]int{}, acked: map[string]bool{}, others: map[string]int{}, errors: map[string]int{}}
	p.group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.group.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		p.closed = true
		for c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.group.Wait()
	})
	return p
}

// wire is one connection through a spy.
type wire struct {
	spy              *spy
	client, holdfast net.Conn

	mu      sync.Mutex
	pending string // the statement that is not answered
}

func (p *spy) serve(client net.Conn) {
	defer client.Close()
	target := p.target.Load()
	if target == nil {
		return
	}
	holdfast, err := net.Dial("tcp", *target)
	if err != nil {
		return
	}
	defer holdfast.Close()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.conns[client], p.conns[holdfast] = true, true
	p.mu.Unlock()
	w := &wire{spy: p, client: client, holdfast: holdfast}
	both := sync.WaitGroup{}
	for _, half := range []func() error{w.fromClient, w.fromHoldfast} {
		both.Go(func() {
			_ = half()
			client.Close()
			holdfast.Close()
		})
	}
	both.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, holdfast)
	p.mu.Unlock()
}

// frame reads one packet: all its bytes, and what it says.
func (p *spy) frame(r *bufio.Reader) (whole, body []byte, err error) {
	at, head := 1, 5
	if p.mysql {
		at, head = 0, 4
	}
	begin, err := r.Peek(head)
	if err != nil {
		return nil, nil, err
	}
	n := 0
	if p.mysql {
		n = int(begin[0]) | int(begin[1])<<8 | int(begin[2])<<16
	} else {
		n = int(binary.BigEndian.Uint32(begin[at:])) - 4
	}
	if n < 0 || n > 1<<24 {
		return nil, nil, fmt.Errorf("a packet of %d bytes", n)
	}
	whole = make([]byte, head+n)
	if _, err := io.ReadFull(r, whole); err != nil {
		return nil, nil, err
	}
	return whole, whole[head:], nil
}

// fromClient hands on what Kamailio sends.
func (w *wire) fromClient() error {
	r := bufio.NewReader(w.client)
	if !w.spy.mysql { // the startup packet has no type
		begin, err := r.Peek(4)
		if err == nil && binary.BigEndian.Uint32(begin) == 8 { // which asks for TLS
			if _, err = io.CopyN(io.Discard, r, 8); err == nil {
				_, err = w.client.Write([]byte("N"))
			}
			if err == nil {
				begin, err = r.Peek(4)
			}
		}
		if err != nil {
			return err
		}
		if _, err := io.CopyN(w.holdfast, r, int64(binary.BigEndian.Uint32(begin))); err != nil {
			return err
		}
	}
	for {
		whole, body, err := w.spy.frame(r)
		if err != nil {
			return err
		}
		statement := ""
		switch {
		case w.spy.mysql && whole[3] == 0 && len(body) > 0: // a command begins
			if statement = fmt.Sprintf("COM %d", body[0]); body[0] == 3 {
				statement = string(body[1:])
			}
		case !w.spy.mysql && whole[0] == 'Q':
			statement = strings.TrimSuffix(string(body), "\x00")
		case !w.spy.mysql:
			statement = "message " + string(whole[:1])
		}
		if statement != "" {
			w.mu.Lock()
			w.pending = statement
			w.mu.Unlock()
			if w.spy.asked(statement) {
				return nil
			}
		}
		if _, err := w.holdfast.Write(whole); err != nil {
			return err
		}
	}
}

// isInsert tells INSERTs, which the drivers write in small letters.
func isInsert(statement string) bool { return strings.HasPrefix(statement, "insert ") }

// asked notes a statement, and tells whether its connection breaks here.
func (p *spy) asked(statement string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !isInsert(statement) {
		p.others[statement]++
		return false
	}
	p.inserts++
	p.sent[statement]++
	if p.inserts%97 == 50 {
		p.before++
		return true
	}
	return false
}

// fromHoldfast hands on the answers.
func (w *wire) fromHoldfast() error {
	r := bufio.NewReader(w.holdfast)
	for {
		whole, body, err := w.spy.frame(r)
		if err != nil {
			return err
		}
		w.mu.Lock()
		statement := w.pending
		verdict := w.spy.verdict(whole, body)
		if statement != "" && verdict != "" {
			w.pending = ""
		}
		w.mu.Unlock()
		if statement != "" && verdict != "" && w.spy.answered(statement, verdict) {
			return nil
		}
		if _, err := w.client.Write(whole); err != nil {
			return err
		}
	}
}

// verdict tells what a packet of Holdfast's says of a statement: "ok" where it
// is done, nothing where it says nothing.
func (p *spy) verdict(whole, body []byte) string {
	switch {
	case p.mysql && len(body) > 0 && body[0] == 0xff:
		return string(body)
	case p.mysql && len(body) > 0:
		return "ok" // a result begins likewise, but an INSERT has none
	case !p.mysql && whole[0] == 'C':
		return "ok"
	case !p.mysql && whole[0] == 'E':
		return string(bytes.ReplaceAll(body, []byte{0}, []byte{' '}))
	}
	return ""
}

// answered notes an answer, and tells whether Kamailio does not get it.
func (p *spy) answered(statement, verdict string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case verdict != "ok":
		p.errors[statement+": "+verdict]++
	case isInsert(statement):
		p.acked[statement] = true
		if len(p.acked)%41 == 20 && p.sent[statement] == 1 {
			p.lost++
			return true
		}
	}
	return false
}
