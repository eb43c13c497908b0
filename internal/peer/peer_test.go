package peer

import (
	"net"
	"net/netip"
	"testing"
)

// TestNetwork holds that addresses of one owner are one, however they are
// written, and those of two are two.
func TestNetwork(t *testing.T) {
	for _, c := range []struct{ text, network string }{
		{"192.0.2.7:5433", "192.0.2.7/32"},
		{"[::ffff:192.0.2.7]:1", "192.0.2.7/32"},
		{"[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::/64"},
		{"[fe80::1%eth0]:1", "fe80::/64"},
		{"@", "invalid Prefix"},
		{"", "invalid Prefix"},
	} {
		if got := Network(Parse(c.text)).String(); got != c.network {
			t.Errorf("%q is of %s, want %s", c.text, got, c.network)
		}
	}
}

// TestOf holds that a connection without an address has the zero one.
func TestOf(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if got := Of(near); got != (netip.Addr{}) {
		t.Errorf("a pipe has the address %v", got)
	}
}
