package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const hangup = syscall.SIGHUP

// sslRequest asks for TLS.
const sslRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"

// told sends bytes and returns all that comes back until the server closes.
func (s *secured) told(text string) (string, error) {
	c, err := net.Dial("tcp", s.pg)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	c.Write([]byte(text))
	answer, err := io.ReadAll(c)
	if errors.Is(err, syscall.ECONNRESET) { // closed with our bytes unread
		err = nil
	}
	return string(answer), err
}

// TestHostileLogin: scenarios 36, 37 and 42 from outside.
func TestHostileLogin(t *testing.T) {
	s := secure(t, "")
	length := func(n uint32, rest string) string { return string(binary.BigEndian.AppendUint32(nil, n)) + rest }
	begin := string(startup())
	begin = strings.Replace(begin, "test", "idle", 1)
	for _, c := range []struct{ name, text, want string }{
		{"length 0", length(0, "\x00\x03\x00\x00"), "C08P01"}, {"length 3", length(3, ""), "C08P01"},
		{"length -1", length(1<<32-1, "\x00\x03\x00\x00"), "C08P01"}, {"length 2^31-1", length(1<<31-1, "\x00\x03\x00\x00"), "C08P01"},
		{"10,001 bytes", length(10_001, "\x00\x03\x00\x00"), "C08P01"},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", "400 Bad Request"},
		{"start-up behind SSLRequest", sslRequest + begin, "C08P01"},
		{"SSLRequest twice", sslRequest + sslRequest, "C08P01"},
		{"rubbish behind SSLRequest", sslRequest + "x", "C08P01"},
		{"insert before the password", begin + string(frame('Q', 34, "INSERT INTO acc(a) VALUES (1)\x00")), "C08P01"},
		{"password of 2^31-1 bytes", begin + string(frame('p', 1<<31-1, "")), "C08P01"},
		{"password of 2^32-1 bytes", begin + string(frame('p', 1<<32-1, "")), "C08P01"},
		{"another mechanism", begin + string(frame('p', 4+6+4, "PLAIN\x00\x00\x00\x00\x00")), "C08P01"},
		{"plus without TLS", begin + string(frame('p', 4+19+4, "SCRAM-SHA-256-PLUS\x00\x00\x00\x00\x00")), "C08P01"},
		{"cancel request for nobody", "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x02", ""},
	} {
		answer, err := s.told(c.text)
		if err != nil || !strings.Contains(answer, c.want) || strings.Contains(answer, "INSERT") || strings.Contains(answer, "R\x00\x00\x00\x08\x00\x00\x00\x00") {
			t.Errorf("%s: %q %v, want %q", c.name, answer, err, c.want)
		}
	}
	if rss := s.memory("VmHWM"); rss > 64<<20 {
		t.Errorf("a promised length was believed: %d KiB resident", rss>>10)
	}
	var refused *pgconn.PgError
	for try := range 100 { // a hundred guesses do not get through
		_, err := s.login(s.as("acc", "guess"))
		if !errors.As(err, &refused) {
			t.Fatal(err)
		}
		if refused.Code == "28000" {
			break
		}
		if try == 99 {
			t.Error("passwords can be guessed as fast as one likes")
		}
	}
	if _, err := s.login(s.as("acc", canary)); !errors.As(err, &refused) || refused.Code != "28000" || !strings.Contains(refused.Hint, "try again in") {
		t.Errorf("after too many failures the right password gets %v", err)
	}
	eventually(t, 20*time.Second, "the right password to be taken again", func() (bool, string) {
		_, err := s.login(s.as("acc", canary))
		return err == nil, "it is not"
	})
}

// TestSlowLogins is scenario 38, shortened: connections that begin and never
// end their start-up, at each step of it, are cut off in time and cost little,
// while honest clients are served.
func TestSlowLogins(t *testing.T) {
	s := secure(t, "max_connections: 40\n")
	begin := strings.Replace(string(startup()), "test", "idle", 1)
	before := s.memory("VmRSS")
	var slow []net.Conn
	began := time.Now()
	for i := range 300 {
		address, text := s.pg, []string{"", "\x00", sslRequest, begin, begin + "p\x00\x00\x01\x00"}[i%5]
		if i%10 == 0 {
			address, text = s.http, "\x16\x03\x01" // a handshake of HTTP's
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte(text)) // it may be closed by now: that is the point
		slow = append(slow, c)
	}
	if grown := s.memory("VmRSS") - before; grown > 300*64<<10 {
		t.Errorf("300 connections that never logged in cost %d KiB", grown>>10)
	}
	eventually(t, 20*time.Second, "an honest client among them", func() (bool, string) {
		c, err := s.login(s.as("acc", canary))
		if err != nil {
			return false, err.Error()
		}
		_, err = c.Exec(t.Context(), "INSERT INTO acc(a) VALUES (1)").ReadAll()
		return err == nil, "its insert"
	})
	if took := time.Since(began); took > 9*time.Second {
		t.Logf("the honest client was served after %v, when the slow ones may have been cut off already", took)
	}
	for i, c := range slow {
		c.SetReadDeadline(began.Add(25 * time.Second))
		_, err := io.Copy(new(bytes.Buffer), c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("slow connection %d is still open after 25 s", i)
		}
	}
}
