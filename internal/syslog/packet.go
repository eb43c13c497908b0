package syslog

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// maxDatagram is the longest that UDP carries, in bytes.
	maxDatagram = 65535
	// maxPending is how many bytes of datagrams wait here for being stored. What
	// comes then is counted and dropped: a datagram's sender cannot be made to wait.
	maxPending = 4 << 20
	// lineCost is what a waiting message takes besides its bytes, about.
	lineCost = 128
	// kernelBuffer is asked of the system for datagrams that arrive between two
	// readings, in bytes; it may give less.
	kernelBuffer = 4 << 20
)

// pending is datagrams between their reader and the writer.
type pending struct {
	mu    sync.Mutex
	lines []line
	size  int
	more  chan struct{} // has something where lines may have something
}

// put adds a line, and returns false where there is no room.
func (p *pending) put(l line) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.size+len(l.text)+lineCost > maxPending {
		return false
	}
	p.lines = append(p.lines, l)
	p.size += len(l.text) + lineCost
	select {
	case p.more <- struct{}{}:
	default:
	}
	return true
}

// take returns what is there, up to a batch.
func (p *pending) take() []line {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, size := 0, 0
	for n < len(p.lines) && n < maxBatchLines && (n == 0 || size+len(p.lines[n].text) <= 8*maxBatchBytes) {
		size += len(p.lines[n].text)
		n++
	}
	batch := p.lines[:n:n]
	p.lines = p.lines[n:]
	if len(p.lines) == 0 {
		p.lines = nil
	}
	p.size -= size + n*lineCost
	return batch
}

// waiting tells what is there.
func (p *pending) waiting() waiting {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) == 0 {
		return waiting{}
	}
	return waiting{int64(len(p.lines)), size(p.lines), p.lines[0].received}
}

// ServePackets takes one message from each datagram of c until Shutdown. It
// closes c.
func (s *Server) ServePackets(c *net.UDPConn) error {
	if err := s.enter(c, func() { _ = c.SetReadDeadline(time.Now().Add(lastWords)) }); err != nil {
		return errors.Join(err, c.Close())
	}
	defer s.leave(c)
	_ = c.SetReadBuffer(kernelBuffer) // less than that is no error
	p := &pending{more: make(chan struct{}, 1)}
	s.queue(p, true)
	defer s.queue(p, false)
	var wg sync.WaitGroup
	wg.Go(func() { // ends once the reader is done and all is stored
		w := s.newWriter()
		for range p.more {
			for batch := p.take(); len(batch) > 0; batch = p.take() {
				w.store(batch)
			}
		}
	})
	err := s.receive(c, p)
	close(p.more)
	wg.Wait()
	return errors.Join(err, c.Close())
}

// receive reads datagrams until Shutdown.
func (s *Server) receive(c *net.UDPConn, p *pending) error {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			if s.isClosing() {
				return nil
			}
			return err
		}
		if !s.allowed(from.Addr()) {
			s.refused.Add(1)
			continue
		}
		text := trimmed(buf[:n])
		if len(text) == 0 {
			continue
		}
		l := line{append([]byte(nil), text...), time.Now(), from.Addr().Unmap().String(), ""}
		if len(text) > s.o.MaxLine {
			l.text, l.torn = l.text[:s.o.MaxLine], "it is longer than the longest message that is taken; this is its beginning"
		}
		if !p.put(l) {
			s.drop(l.peer)
		}
	}
}

// drop counts a datagram for which there is no room, and says so in the log for
// the first of many.
func (s *Server) drop(peer string) {
	if n := s.lost.Add(1); n&(n-1) == 0 {
		s.o.Log.Error("syslog: datagrams are lost, as rows cannot be stored as fast as they come in; senders on TCP would wait", "lost", n, "peer", peer)
	}
}
