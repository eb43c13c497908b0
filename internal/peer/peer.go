// Package peer tells by its address whose a connection is. It opens none.
package peer

import (
	"net"
	"net/netip"
)

// Of returns the address at the other end of a connection; the zero one where
// it has none, as a socket in the file system.
func Of(conn net.Conn) netip.Addr {
	if conn == nil || conn.RemoteAddr() == nil { // as tests have them
		return netip.Addr{}
	}
	return Parse(conn.RemoteAddr().String())
}

// Parse returns the address of "address:port"; the zero one where it has none.
func Parse(text string) netip.Addr {
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

// Network returns what addresses of one owner have in common: the address
// itself, or the /64 of an IPv6 one, which is what one subscriber gets.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil { // the zero address, where a connection has none
		return netip.Prefix{}
	}
	return p
}
