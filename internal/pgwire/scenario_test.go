package pgwire

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"holdfast/internal/certs"
	"holdfast/test/pki"
)

// TestScenario37Requests: whatever stands behind a request for encryption was
// put there by somebody in between, so none of it is read; and each request is
// answered once.
func TestScenario37Requests(t *testing.T) {
	ca := pki.New(t, "ours")
	cert, key := ca.Issue("server", time.Now().Add(time.Hour))
	secured, _ := guarded(t, keep(t, certs.Files{Cert: cert, Key: key}))
	plain := func(*Options) {}
	be := func(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
	ssl, gss := be(8)+be(codeSSL), be(8)+be(codeGSS)
	start := be(4+4+10) + be(version3) + "user\x00acc\x00\x00"
	insert := "Q" + be(4+30) + "insert into acc(a) values (1)\x00"
	for _, door := range []struct {
		name   string
		change func(*Options)
		yes    string // the answer to SSLRequest
	}{{"with TLS", secured, "S"}, {"without", plain, "N"}} {
		store := newMemStore(true)
		_, addr := startServer(t, store, door.change)
		for _, c := range []struct{ name, bytes, begins, holds string }{
			{"start-up behind SSLRequest", ssl + start + insert, "E", "C08P01"},
			{"start-up behind GSSENCRequest", gss + start + insert, "E", "C08P01"},
			{"SSLRequest behind GSSENCRequest", gss + ssl, "E", "C08P01"},
			{"SSLRequest twice at once", ssl + ssl, "E", "C08P01"},
			{"one byte behind SSLRequest", ssl + "x", "E", "C08P01"},
			{"hello behind SSLRequest", ssl + "\x16\x03\x01\x00\x05hello", "E", "C08P01"},
		} {
			got := exchange(t, addr, c.bytes)
			if !strings.HasPrefix(got, c.begins) || !strings.Contains(got, c.holds) || strings.Contains(got, "INSERT") {
				t.Errorf("%s, %s: %q", door.name, c.name, got)
			}
		}
		step := func(name string, sends ...string) {
			t.Helper()
			conn := dial(t, addr)
			answer := make([]byte, 1)
			for i, text := range sends {
				if _, err := conn.Write([]byte(text)); err != nil {
					return // closed before: that is an answer as well
				}
				n, err := conn.Read(answer)
				switch last := i == len(sends)-1; {
				case !last && (err != nil || n != 1):
					t.Errorf("%s, %s: answer %d is %q, %v", door.name, name, i, answer[:n], err)
				case last && n == 1 && answer[0] != 'E' && answer[0] != 0x15: // an alert of TLS
					t.Errorf("%s, %s: the last is answered with %q", door.name, name, answer[:n])
				}
			}
		}
		step("GSSENCRequest twice, in turn", gss, gss)
		if door.yes == "N" {
			step("SSLRequest twice, in turn", ssl, ssl)
		} else {
			step("plain start-up instead of a handshake", ssl, start)
		}
		want(t, door.name+": rows", strings.Join(store.taken(), "\n"), "")
	}
}
