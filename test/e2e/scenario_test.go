package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The tests of this file are named by the scenarios of hostile clients that
// docs/security.md lists.

// TestScenario36Memory: a connection that has not logged in costs at most
// 64 KiB, however far it got and whatever it announced.
func TestScenario36Memory(t *testing.T) {
	begin := strings.Replace(string(startup()), "test", "idle", 1)
	long := string(binary.BigEndian.AppendUint32(nil, 10_000)) + "\x00\x03\x00\x00user\x00"
	long += strings.Repeat("x", 9_999-len(long))
	for _, c := range []struct{ name, text string }{
		{"silent", ""}, {"a length", "\x00\x00\x27\x10"}, {"almost all of a long start-up", long},
		{"asked for the password", begin}, {"almost all of a long password", begin + string(frame('p', 10_003, strings.Repeat("x", 9_998)))},
		{"half a handshake", sslRequest + "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 400)},
	} {
		t.Run(c.name, func(t *testing.T) { // on a server of its own: what one step has cost would serve the next
			const n = 400
			s := secure(t, "limits: {starting: 2000, starting_per_address: 2000}\n")
			before := s.memory("VmRSS")
			all := gather(t, s.pg, n, []byte(c.text))
			defer all.leave()
			eventually(t, 20*time.Second, "the connections to be counted", func() (bool, string) {
				r := holdfast(t, 0, "status", "--data", s.data)
				return strings.Contains(r.stdout, fmt.Sprintf("%d connections", n)), r.stdout
			})
			time.Sleep(100 * time.Millisecond) // what was sent is read by now, or a moment later
			if grown := s.memory("VmRSS") - before; grown > n*64<<10 {
				t.Errorf("%d KiB for each connection", grown/n>>10)
			} else {
				t.Logf("%d KiB for each connection", grown/n>>10)
			}
		})
	}
}

// trickle sends text byte by byte, again and again, until the connection is
// closed, and returns after how long that was.
func trickle(t *testing.T, address, begin, text string) time.Duration {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer c.Close()
	began := time.Now()
	c.Write([]byte(begin))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			for i := range len(text) {
				if _, err := c.Write([]byte{text[i]}); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		}
	}()
	c.SetReadDeadline(began.Add(time.Minute))
	_, err = io.Copy(io.Discard, c)
	took := time.Since(began)
	c.Close()
	<-done
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q and then %q is listened to for a minute", begin, text)
	}
	return took
}

// TestScenario38Slowloris: who sends byte by byte is cut off in time at each
// step of each door, many of them keep nobody out, and honest clients are served
// meanwhile.
func TestScenario38Slowloris(t *testing.T) {
	half := 500
	if long() {
		half = 5000
	}
	s := secure(t, "max_connections: 50\nlimits: {login: 3s, starting: 60, starting_per_address: 40}\n")
	begin := strings.Replace(string(startup()), "test", "idle", 1)
	ends := make(chan time.Duration, 16)
	slow := 0
	for _, c := range []struct{ address, begin, text string }{
		{s.pg, "\x00\x00\x27\x0f\x00\x03\x00\x00", "user"}, {s.pg, begin + "p\x00\x00\x20\x00", "x"}, {s.pg, sslRequest + "\x16\x03\x01\x02\x00", "x"},
		{s.http, "\x16\x03\x01\x02\x00", "x"},
	} {
		slow++
		go func() { ends <- trickle(t, c.address, c.begin, c.text) }()
	}
	var lurking crowd
	defer func() { lurking.leave() }()
	for i := range half {
		address, text := s.pg, begin
		if i%2 == 0 {
			address, text = s.http, "\x16\x03\x01"
		}
		if c, err := net.DialTimeout("tcp", address, 10*time.Second); err == nil {
			c.Write([]byte(text))
			lurking = append(lurking, c)
		}
		if i%100 == 99 { // an honest client of each door gets in within a few tries
			eventually(t, 20*time.Second, "an honest client among half-open ones", func() (bool, string) {
				c, err := s.login(s.as("acc", canary))
				if err != nil {
					return false, err.Error()
				}
				execute(t, c, "INSERT INTO acc(a) VALUES ('honest')")
				return true, ""
			})
			eventually(t, 20*time.Second, "an honest request among half-open ones", func() (bool, string) {
				r, err := s.client443().Get("https://" + s.http + "/ping")
				if err != nil {
					return false, err.Error()
				}
				r.Body.Close()
				return r.StatusCode == 200, r.Status
			})
		}
	}
	for range slow {
		if took := <-ends; took > 10*time.Second {
			t.Errorf("a slow client was listened to for %v", took)
		}
	}
	plain := start(t, dataDir(t), options{config: configure(t, dataDir(t), "data: "+filepath.Join(t.TempDir(), "d")+"\ntables: {auto: true}\nlimits: {login: 2s}\n")})
	if took := trickle(t, plain.http, "GET /ping HTTP/1.1\r\nHost: localhost\r\n", "X-A: b\r\n"); took > 10*time.Second {
		t.Errorf("slow headers were listened to for %v", took)
	}
}

// TestScenario39Pipelines: a million messages in one go, and keys guessed for
// cancel requests, cost neither memory nor others' statements.
func TestScenario39Pipelines(t *testing.T) {
	s := start(t, dataDir(t), options{})
	c, err := net.Dial("tcp", s.pg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	c.Write(startup())
	awaitIdle(t, c)
	const messages = 1_000_000
	go func() {
		some := bytes.Repeat(frame('S', 4, ""), 1000)
		for range messages / 1000 {
			if _, err := c.Write(some); err != nil {
				return
			}
		}
	}()
	if n, err := io.CopyN(io.Discard, c, 6*messages); err != nil {
		t.Fatalf("after %d bytes of answers: %v", n, err)
	}
	victim := s.client()
	for guess := range 2000 {
		k, err := net.Dial("tcp", s.pg)
		if err != nil {
			t.Fatal(err)
		}
		text := []byte("\x00\x00\x00\x10\x04\xd2\x16\x2e")
		text = binary.BigEndian.AppendUint32(text, victim.PID())
		k.Write(binary.BigEndian.AppendUint32(text, uint32(guess)))
		k.SetReadDeadline(time.Now().Add(20 * time.Second))
		if n, err := io.Copy(io.Discard, k); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a cancel request is answered with %d bytes, %v", n, err)
		}
		k.Close()
		if guess%100 == 0 {
			execute(t, victim, "INSERT INTO calls (caller) VALUES ('x')")
		}
	}
	if rss := s.memory("VmHWM"); rss > 64<<20 {
		t.Errorf("%d KiB resident", rss>>10)
	}
}

// TestScenario40Framing: bodies and heads that lie about their length, or have
// no end, are refused, and cost little. What is packed is tried in
// internal/httpapi.
func TestScenario40Framing(t *testing.T) {
	s := start(t, dataDir(t), options{})
	before := s.memory("VmRSS")
	const post = "POST /v1/tables/t/rows HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n"
	for _, c := range []struct{ name, text, want string }{
		{"two lengths", post + "Content-Length: 9\r\nContent-Length: 10\r\n\r\n{\"a\":\"1\"}\n", " 400 "},
		{"length and chunks", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nPOST /", ""}, // RFC 9112: chunks win, then it closes
		{"negative length", post + "Content-Length: -1\r\n\r\n", " 400 "},
		{"length of 2^63", post + "Content-Length: 9223372036854775808\r\n\r\n", " 400 "},
		{"chunk of 2^64", post + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", " 400 "},
		{"chunk that is none", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", " 400 "},
		{"unknown transfer encoding", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", " 501 "},
		{"encoding twice", post + "Content-Encoding: gzip, gzip\r\nContent-Length: 1\r\n\r\nx", " 415 "},
		{"1e5 headers", post + strings.Repeat("X-A: b\r\n", 100_000) + "\r\n", " 431 "},
		{"a header of a mebibyte", post + "X-A: " + strings.Repeat("b", 1<<20) + "\r\n\r\n", " 431 "},
		{"a path of a mebibyte", "GET /" + strings.Repeat("b", 1<<20) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", " 431 "},
		{"promised and not sent", post + "Content-Length: 1000000000000\r\n\r\n{\"a\":\"1\"}\n", " 400 "},
	} {
		k, err := net.Dial("tcp", s.http)
		if err != nil {
			t.Fatal(err)
		}
		k.SetDeadline(time.Now().Add(30 * time.Second))
		k.Write([]byte(c.text))
		k.(*net.TCPConn).CloseWrite()
		answer, err := io.ReadAll(k) // a reset is an answer where ours is not read
		k.Close()
		line, _, _ := strings.Cut(string(answer), "\r\n")
		if errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(line, c.want) && len(answer) > 0 {
			t.Errorf("%s: %q, %v, want%s", c.name, line, err, c.want)
		}
	}
	if grown := s.memory("VmRSS") - before; grown > 8<<20 {
		t.Errorf("%d KiB more are resident", grown>>10)
	}
	s.delivered(20 * time.Second)
	var n int
	if err := openSink(t, s.data).QueryRow("SELECT count(*) FROM sqlite_master WHERE name = 't'").Scan(&n); err != nil || n > 0 {
		t.Errorf("rows of a body that was refused are stored: %d, %v", n, err)
	}
}

// TestScenario44Names: names that would lead elsewhere as a file's do not: what
// is refused is nowhere, what is taken is within the directories, and names that
// differ in case alone are two tables or an error, never one file.
func TestScenario44Names(t *testing.T) {
	data := dataDir(t)
	flat := filepath.Join(filepath.Dir(data), "flat")
	if err := os.Mkdir(flat, 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, data, options{config: configure(t, data, "data: DATA\ntables: {auto: true}\nsinks: {files: {type: flat, url: 'flatstore:"+flat+"'}}\n")})
	c := s.client()
	for _, name := range []string{"../..", "../x", "/etc/x", "a/b", ".", "..", "...", "a\x00b", strings.Repeat("n", 300), "a\nb", "\x1b[2J", "-rf", "con", "é", "\u202etxt", "Case", "case", "a.b", "~", "*"} {
		_, err := c.Exec(t.Context(), "INSERT INTO \""+strings.ReplaceAll(name, `"`, `""`)+"\" (a) VALUES ('v')").ReadAll()
		if code, _ := sqlstate(err); err != nil && code != "42602" && code != "42622" && code != "22021" && code != "42601" {
			t.Errorf("table %q: %v", name, err)
		}
		if err == nil && (strings.Contains(name, "\x00") || len(name) > 63) {
			t.Errorf("table %q is taken", name)
		}
	}
	for _, path := range []string{"/v1/tables/a%00b/rows", "/v1/tables/../../x/rows", "/v1/tables//rows", "/v1/tables/" + strings.Repeat("n", 300) + "/rows"} {
		r, err := http.Post(s.url(path), "application/x-ndjson", strings.NewReader("{\"a\":\"1\"}\n"))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode < 400 {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	s.delivered(20 * time.Second)
	s.stop()
	err := filepath.WalkDir(filepath.Dir(data), func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(file, data+"/") && !strings.HasPrefix(file, flat+"/") && filepath.Base(file) != "holdfast.yaml" {
			t.Errorf("a file came to be at %q", file)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, file := range []string{"/etc/x", filepath.Join(filepath.Dir(filepath.Dir(data)), "x")} {
		if _, err := os.Lstat(file); err == nil {
			t.Errorf("%s exists", file)
		}
	}
	holdfast(t, 0, "verify", "--data", data)
}
