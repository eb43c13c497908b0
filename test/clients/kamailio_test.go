package clients

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"holdfast/test/servers"
)

// runKamailio makes a call through Kamailio, and one that is not answered.
func runKamailio(t *testing.T, p place, s servers.Service) seen {
	dir := t.TempDir()
	version := command(t, p, nil, "env", append(slices.Clip(s.Env), s.Program, "-v")...)
	caller, called := newPhone(t), newPhone(t)
	free := newPhone(t)
	sip := free.port()
	free.conn.Close()
	config := fill(t, "kamailio.cfg", dir, p, "@SIP@", sip, "@PHONE@", called.port(), "@MODULES@", s.Modules+"/")
	d := daemon(t, &lines{}, s.Env, s.Program, "-f", config, "-DD", "-E", "-m", "32", "-M", "4", "-P", dir+"/pid", "-Y", dir, "-w", dir)
	n, err := strconv.Atoi(sip)
	if err != nil {
		t.Fatal(err)
	}
	caller.to = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: n}
	called.to = caller.to

	request := func(method, number, tag string, cseq int) string {
		via := fmt.Sprintf("SIP/2.0/UDP 127.0.0.1:%s;branch=z9hG4bK-%s-%s-%d", caller.port(), p.name, number, cseq)
		return fmt.Sprintf("%s sip:%s@127.0.0.1:%s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.net>;tag=from-%s\r\nTo: <sip:%s@example.net>%s\r\n"+
			"Call-ID: call-%s@example.net\r\nCSeq: %d %s\r\nContact: <sip:alice@127.0.0.1:%s>\r\nUser-Agent: O'Phone | \\ 1\r\nContent-Length: 0\r\n",
			method, number, sip, via, number, number, tag, number, cseq, method, caller.port())
	}
	answer := func(to, status, tag string) {
		end := strings.TrimSuffix(header(to, "To"), "\r\n")
		if !strings.Contains(end, "tag=") {
			end += tag
		}
		text := "SIP/2.0 " + status + "\r\n" + header(to, "Via", "Record-Route", "From") + end + "\r\n" + header(to, "Call-ID", "CSeq") +
			"Contact: <sip:phone@127.0.0.1:" + called.port() + ">\r\nContent-Length: 0\r\n\r\n"
		if _, err := called.conn.WriteTo([]byte(text), called.to); err != nil {
			t.Fatal(err)
		}
	}
	// A call that is answered and ended.
	const tag = ";tag=to-2001"
	ring := caller.ask(request("INVITE", "2001", "", 1)+"\r\n", called, "INVITE")
	answer(ring, "200 OK", tag)
	taken, ok := caller.told("SIP/2.0 200")
	route := strings.Replace(header(ok, "Record-Route"), "Record-Route", "Route", 1)
	caller.ask(request("ACK", "2001", tag, 1)+route+"\r\n", called, "ACK")
	bye := caller.ask(request("BYE", "2001", tag, 2)+route+"\r\n", called, "BYE")
	answer(bye, "200 OK", tag)
	ended, _ := caller.told("SIP/2.0 200")
	steps := []step{{"a call", taken + ", " + ended}}
	// One to somebody who is busy.
	ring = caller.ask(request("INVITE", "8001", "", 1)+"\r\n", called, "INVITE sip:8001")
	answer(ring, "486 Busy | Here's", ";tag=to-8001")
	busy, _ := caller.told("SIP/2.0 486")
	if _, err := caller.conn.WriteTo([]byte(request("ACK", "8001", ";tag=to-8001", 1)+"\r\n"), caller.to); err != nil {
		t.Fatal(err)
	}
	steps = append(steps, step{"a missed call", busy},
		arrived(t, p, "acc", 2), arrived(t, p, "missed_calls", 1), arrived(t, p, "acc_cdrs", 1))
	if err := d.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(version.stdout)
	return seen{version: fields[min(2, len(fields)-1)], steps: steps}
}
