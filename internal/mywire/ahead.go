package mywire

import (
	"bufio"
	"net"
)

// ahead is a connection that is read through r, which may hold its first bytes.
type ahead struct {
	net.Conn
	r *bufio.Reader
}

// Read returns what was read already, and then what comes.
func (a *ahead) Read(b []byte) (int, error) { return a.r.Read(b) }
