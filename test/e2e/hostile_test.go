package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// twoStreams routes calls and other into streams of their own.
const twoStreams = `
data: DATA
tables: {auto: true}
streams:
  main: {}
  side: {tables: [side_*]}
sinks:
  default: {type: sqlite, path: DATA/holdfast.db, streams: [main, side]}
`

// TestRefusals sends what an insert-only database cannot do. Each gets its
// SQLSTATE and a hint, and the connection goes on.
func TestRefusals(t *testing.T) {
	data := dataDir(t)
	s := start(t, data, options{config: configure(t, data, twoStreams)})
	c := s.client()
	execute(t, c, "INSERT INTO calls (caller) VALUES ('alice')")
	good := 1
	for _, refused := range []struct{ name, sql, code string }{
		{"update", "UPDATE calls SET caller = 'bob'", "0A000"},
		{"delete", "DELETE FROM calls", "0A000"},
		{"select", "SELECT * FROM calls", "0A000"},
		{"drop", "DROP TABLE calls", "0A000"},
		{"truncate", "TRUNCATE calls", "0A000"},
		{"alter", "ALTER TABLE calls ADD COLUMN x text", "0A000"},
		{"insert from select", "INSERT INTO calls SELECT * FROM calls", "0A000"},
		{"returning", "INSERT INTO calls (caller) VALUES ('x') RETURNING caller", "0A000"},
		{"two streams in one transaction", "BEGIN; INSERT INTO calls (caller) VALUES ('x'); INSERT INTO side_a (v) VALUES ('y'); COMMIT", "0A000"},
		{"two streams in one implicit transaction", "INSERT INTO calls (caller) VALUES ('x'); INSERT INTO side_a (v) VALUES ('y')", "0A000"},
		{"invalid UTF-8", "INSERT INTO calls (caller) VALUES ('\xff\xfe')", "22021"},
		{"overlong UTF-8", "INSERT INTO calls (caller) VALUES ('\xc0\x80')", "22021"},
		{"escaped NUL", `INSERT INTO calls (caller) VALUES (E'a\000b')`, "22021"},
		{"nonsense", "INSERT INTO INTO", "42601"},
		{"unterminated literal", "INSERT INTO calls (caller) VALUES ('x", "42601"},
		{"more values than columns", "INSERT INTO calls (caller) VALUES ('x', 'y')", "42601"},
		{"column twice", "INSERT INTO calls (caller, caller) VALUES ('x', 'y')", "42701"},
		{"statement after a bad one", "INSERT INTO calls (caller) VALUES ('x'); UPDATE calls SET caller = ''", "0A000"},
	} {
		t.Run(refused.name, func(t *testing.T) {
			_, err := c.Exec(t.Context(), refused.sql).ReadAll()
			code, hint := sqlstate(err)
			if code != refused.code {
				t.Fatalf("%q got %v, want SQLSTATE %s", refused.sql, err, refused.code)
			}
			if code == "0A000" && hint == "" {
				t.Errorf("%q got no hint: %v", refused.sql, err)
			}
			execute(t, c, "ROLLBACK") // ends what BEGIN began; a warning elsewhere
			execute(t, c, "INSERT INTO calls (caller) VALUES ('still here')")
			good++
		})
	}
	t.Run("NUL in a parameter", func(t *testing.T) {
		r := c.ExecParams(t.Context(), "INSERT INTO calls (caller) VALUES ($1)", [][]byte{[]byte("a\x00b")}, nil, nil, nil).Read()
		if code, _ := sqlstate(r.Err); code != "22021" {
			t.Errorf("got %v, want SQLSTATE 22021", r.Err)
		}
	})
	s.delivered(20 * time.Second)
	if n := count(t, openSink(t, data), "calls"); n != good {
		t.Errorf("%d rows arrived, %d were accepted: a refused statement left rows behind, or took some along", n, good)
	}
}

// TestWideAndLong writes a row of 200 columns and a value of a mebibyte.
func TestWideAndLong(t *testing.T) {
	s := start(t, dataDir(t), options{})
	c := s.client()
	var names, values []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("c%d", i))
		values = append(values, fmt.Sprintf("'value %d'", i))
	}
	execute(t, c, fmt.Sprintf("INSERT INTO wide (%s) VALUES (%s)", strings.Join(names, ","), strings.Join(values, ",")))
	long := strings.Repeat("0123456789abcde\n", 1<<16)
	if r := c.ExecParams(t.Context(), "INSERT INTO long (v) VALUES ($1)", [][]byte{[]byte(long)}, nil, nil, nil).Read(); r.Err != nil {
		t.Fatalf("insert a value of a mebibyte: %v", r.Err)
	}
	s.delivered(20 * time.Second)
	db := openSink(t, s.data)
	row := query(t, db, "SELECT "+strings.Join(names, ",")+" FROM wide")
	if len(row) != 1 || row[0][0] != "value 0" || row[0][199] != "value 199" {
		t.Errorf("the wide row came back as %d rows", len(row))
	}
	if got := query(t, db, "SELECT v FROM long"); len(got) != 1 || got[0][0] != long {
		t.Errorf("the long value came back changed")
	}
}

// startup is a start-up message for user test, database rows.
func startup() []byte {
	body := []byte("\x00\x03\x00\x00user\x00test\x00database\x00rows\x00\x00")
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)
}

// frame is a message of kind with a length of its own choosing.
func frame(kind byte, length uint32, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, length), body...)
}

// shortBind is a statement and a Bind for it that announces more parameters
// than it brings.
func shortBind() []byte {
	const parse = "\x00INSERT INTO alive (n) VALUES ($1)\x00\x00\x00"
	const bind = "\x00\x00\x00\x00\xff\xff\x00\x00\x00\x01"
	all := frame('P', uint32(len(parse)+4), parse)
	all = append(all, frame('B', uint32(len(bind)+4), bind)...)
	return append(all, frame('S', 4, "")...)
}

// TestHostileBytes sends what no client sends. Each connection is answered
// clearly or closed soon, and the server goes on.
func TestHostileBytes(t *testing.T) {
	s := start(t, dataDir(t), options{})
	for _, h := range []struct {
		name    string
		startup bool // begin as a client does
		bytes   []byte
		code    string // of the answer; "" where closing is answer enough
	}{
		{"HTTP request", false, []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), ""},
		{"TLS hello without asking", false, []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), ""},
		{"length 0", false, []byte{0, 0, 0, 0}, ""},
		{"start-up of 2^31-1 bytes", false, []byte{0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0}, ""},
		{"protocol 2", false, []byte("\x00\x00\x00\x08\x00\x02\x00\x00"), ""},
		{"frame of 2^31-1 bytes", true, frame('Q', 0x7fffffff, "SELECT 1"), "08P01"},
		{"frame of 2^32-1 bytes", true, frame('Q', 0xffffffff, "SELECT 1"), "08P01"},
		{"frame of length 3", true, frame('Q', 3, ""), "08P01"},
		{"unknown message", true, frame('~', 4, ""), "08P01"},
		{"query without its NUL", true, frame('Q', 12, "SELECT 1"), "08P01"},
		{"bind that promises more than it has", true, shortBind(), "08P01"},
	} {
		t.Run(h.name, func(t *testing.T) {
			c, err := net.Dial("tcp", s.pg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(15 * time.Second))
			if h.startup {
				c.Write(startup())
				awaitIdle(t, c)
			}
			c.Write(h.bytes)
			if h.code != "" { // some sessions may go on after the answer: end them
				c.(*net.TCPConn).CloseWrite()
			}
			answer, err := io.ReadAll(c)
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				t.Fatalf("neither closed nor answered to its end within 15 s; it said %q", answer)
			}
			if h.code != "" && !bytes.Contains(answer, []byte("C"+h.code+"\x00")) {
				t.Errorf("the answer %q has no SQLSTATE %s", answer, h.code)
			}
			s.alive()
		})
	}
	t.Run("truncated frame", func(t *testing.T) {
		c, err := net.Dial("tcp", s.pg)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(append(startup(), frame('Q', 1000, "INSERT INTO alive (n) VALUES (1)")...))
		c.Close()
		s.alive()
	})
	if rss := s.memory("VmHWM"); rss > 64<<20 {
		t.Errorf("a promised length was believed: %d KiB resident", rss>>10)
	}
}

// awaitIdle reads until the server is ready for a query.
func awaitIdle(t *testing.T, c net.Conn) {
	t.Helper()
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.HasSuffix(got, []byte("Z\x00\x00\x00\x05I")) {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("the server did not get ready: %v after %q", err, got)
		}
		got = append(got, buf[:n]...)
	}
}

// alive holds that the server serves a new client.
func (s *server) alive() {
	s.t.Helper()
	c, err := connect(s.t.Context(), s.pg)
	if err != nil {
		s.t.Fatalf("the server does not go on: %v", err)
	}
	defer c.Close(s.t.Context())
	execute(s.t, c, "INSERT INTO alive (n) VALUES (1)")
}

// TestFailedTransaction holds that nothing of a transaction stays after an
// error, and that the session says so until it ends.
func TestFailedTransaction(t *testing.T) {
	s := start(t, dataDir(t), options{})
	c := s.client()
	execute(t, c, "BEGIN")
	execute(t, c, "INSERT INTO calls (caller) VALUES ('first')")
	if _, err := c.Exec(t.Context(), "DELETE FROM calls").ReadAll(); err == nil {
		t.Fatal("DELETE was accepted")
	}
	_, err := c.Exec(t.Context(), "INSERT INTO calls (caller) VALUES ('second')").ReadAll()
	if code, _ := sqlstate(err); code != "25P02" {
		t.Errorf("an insert after the error got %v, want SQLSTATE 25P02", err)
	}
	var results []*pgconn.Result
	if results, err = c.Exec(t.Context(), "COMMIT").ReadAll(); err != nil || results[0].CommandTag.String() != "ROLLBACK" {
		t.Errorf("COMMIT got %v and %v, want ROLLBACK", results, err)
	}
	execute(t, c, "INSERT INTO calls (caller) VALUES ('third')")
	s.delivered(20 * time.Second)
	if got := query(t, openSink(t, s.data), "SELECT caller FROM calls"); len(got) != 1 || got[0][0] != "third" {
		t.Errorf("the sink has %q, want the third row alone", got)
	}
}

// TestHTTPRows writes through the HTTP door: each format, and batches that
// must be refused whole with the line named.
func TestHTTPRows(t *testing.T) {
	s := start(t, dataDir(t), options{})
	for _, h := range []struct {
		name, kind, body string
		code             int
		says             string
	}{
		{"lines", "application/x-ndjson", "{\"a\":\"1\",\"b\":null}\n{\"a\":\"2\",\"b\":\"x\"}\n", 200, `"rows":2`},
		{"array", "application/json", `[{"a":"3","b":"y"}]`, 200, `"rows":1`},
		{"csv", "text/csv", "a,b\n4,\"z, z\"\n", 200, `"rows":1`},
		{"bad third line", "application/x-ndjson", "{\"a\":\"5\"}\n{\"a\":\"6\"}\n{\"a\":\n", 400, `"line":3`},
		{"invalid UTF-8", "application/x-ndjson", "{\"a\":\"\xff\"}\n", 400, `22021`},
		{"NUL", "application/x-ndjson", `{"a":"\u0000"}` + "\n", 400, `22021`},
		{"key twice", "application/x-ndjson", `{"a":"1","a":"2"}` + "\n", 400, `"line":1`},
		{"deep", "application/x-ndjson", `{"a":` + strings.Repeat("[", 100_000), 400, `"line":1`},
		{"nothing", "application/x-ndjson", "", 200, `"rows":0`},
	} {
		t.Run(h.name, func(t *testing.T) {
			r, err := http.Post(s.url("/v1/tables/t/rows"), h.kind, strings.NewReader(h.body))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			answer, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			if r.StatusCode != h.code || !strings.Contains(strings.ReplaceAll(string(answer), " ", ""), h.says) {
				t.Errorf("got %s %s, want %d with %s", r.Status, answer, h.code, h.says)
			}
		})
	}
	s.delivered(20 * time.Second)
	got := query(t, openSink(t, s.data), "SELECT a, b FROM t ORDER BY rowid")
	want := [][]string{{"1", null}, {"2", "x"}, {"3", "y"}, {"4", "z, z"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the sink has %q, want %q", got, want)
	}
}
