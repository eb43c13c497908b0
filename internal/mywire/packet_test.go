package mywire

import (
	"errors"
	"io"
	"strings"
	"testing"

	"holdfast/internal/gate"
)

// packetsOf reads what text has, with memory for so many bytes.
func packetsOf(text string, bytes int64) *packets {
	p := newPackets(&canned{strings.NewReader(text)}, gate.NewMemory(bytes))
	p.limit = maxPacket
	return p
}

// TestAnnouncedOnly: a packet that is only announced takes no memory from who
// sends one.
func TestAnnouncedOnly(t *testing.T) {
	const free = 64 << 20
	p := packetsOf("\xfe\xff\xff\x00abc", free)
	n, err := p.header()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.body(n); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	if left := p.mem.Free(); left != free {
		t.Errorf("3 bytes of %d have come, and %d of memory are taken", n, free-left)
	}
}

// TestNoMemory: a packet for which there is no memory is passed over, and the
// next one is read.
func TestNoMemory(t *testing.T) {
	const large, free = 1 << 20, 1 << 20
	p := packetsOf("\x00\x00\x10\x00"+strings.Repeat("x", large)+"\x03\x00\x00\x01abc", free)
	n, err := p.header()
	if err != nil || n != large {
		t.Fatal(n, err)
	}
	if _, err := p.body(n); !errors.Is(err, errNoMemory) {
		t.Errorf("%v", err)
	}
	if n, err = p.header(); err != nil {
		t.Fatal(err)
	}
	if b, err := p.body(n); string(b) != "abc" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if p.shrink(); p.mem.Free() != free {
		t.Errorf("%d of %d bytes are given back", p.mem.Free(), free)
	}
}

// TestClearPassword: within TLS a password that came already is not asked for.
func TestClearPassword(t *testing.T) {
	s := fuzzSession(newStore(nil))
	got, err := s.password(hello{plugin: "mysql_clear_password", answer: []byte("secret\x00")}, nil)
	if string(got) != "secret" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
