package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// configured writes a configuration file and returns the options with it.
func configured(t *testing.T, text string) options {
	t.Helper()
	name := filepath.Join(t.TempDir(), "holdfast.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return options{config: name}
}

// cut ends a body behind which the client goes away.
const cut = "{\"cut\":"

// raw sends text to the HTTP door and returns the answers' status lines.
func (s *server) raw(text string, more io.Reader) []string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.http)
	if err != nil {
		s.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	sent := make(chan struct{})
	defer func() { c.Close(); <-sent }()
	go func() { // beside the reading: an answer may come before all is sent
		defer close(sent)
		io.WriteString(c, text)
		if more != nil {
			io.Copy(c, more) // ends when the server has had enough
			more.(io.Closer).Close()
		}
		if strings.HasSuffix(text, cut) {
			c.(*net.TCPConn).CloseWrite()
		}
	}()
	var lines []string
	for r := bufio.NewReader(c); ; {
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			return lines
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		lines = append(lines, answer.Status[:3])
	}
}

// resident returns the most memory that the server has had, in bytes.
func (s *server) resident() (now, peak int64) {
	s.t.Helper()
	answer, err := http.Get("http://" + s.http + "/v1/status")
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	var st struct {
		Now  int64 `json:"resident_bytes"`
		Peak int64 `json:"peak_resident_bytes"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&st); err != nil {
		s.t.Fatal(err)
	}
	return st.Now, st.Peak
}

// TestHostileBodies is scenario 40: bombs, nested encodings, lengths that lie,
// bodies without end, headers without end. None of them is stored, none costs
// memory, and an honest request between them gets its answer.
func TestHostileBodies(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"), configured(t, "tables: {auto: true}\nhttp: {max_body: 16 MB}\n"))
	head := func(fields string) string {
		return "POST /v1/tables/t/rows HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n" + fields + "\r\n"
	}
	honest := func() {
		t.Helper()
		if got := s.raw(head("Connection: close\r\nContent-Length: 8\r\n")+"{\"a\":1}\n", nil); fmt.Sprint(got) != "[200]" {
			t.Fatalf("an honest request got %q", got)
		}
	}
	// What the largest record and many rows cost, they cost anybody: a bomb is
	// measured beside them.
	large := "{\"a\":\"" + strings.Repeat("x", 4<<20-100) + "\"}\n" + strings.Repeat("{\"a\":1}\n", 1<<20)
	for range 3 {
		if got := s.raw(head("Connection: close\r\nTransfer-Encoding: chunked\r\n"), chunks(strings.NewReader(large+"{"))); fmt.Sprint(got) != "[400]" {
			t.Fatalf("a large request that breaks at its end got %q", got)
		}
	}
	honest()
	_, before := s.resident()
	for _, c := range []struct {
		name, fields, body string
		more               io.Reader
		want               string // what the first answer must be
	}{
		{"bomb of empty lines", "Connection: close\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "", chunks(bomb(t, "\n", 256<<20)), "413"},
		{"bomb of one line", "Connection: close\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "", chunks(bomb(t, " ", 256<<20)), "413"},
		{"nested", "Connection: close\r\nContent-Encoding: gzip, gzip\r\nContent-Length: 8\r\n", "{\"a\":1}\n", nil, "415"},
		{"shorter than it says", "Content-Length: 100\r\n", "{\"a\":2}\n" + cut, nil, "400"},
		{"no number", "Content-Length: many\r\n", "{\"a\":2}\n", nil, "400"},
		{"below zero", "Content-Length: -1\r\n", "{\"a\":2}\n", nil, "400"},
		{"two lengths", "Content-Length: 8\r\nContent-Length: 9\r\n", "{\"a\":2}\n", nil, "400"},
		{"a chunk that lies", "Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n{\"a\":2}\n", nil, "400"},
		{"chunks without end", "Transfer-Encoding: chunked\r\n", "", chunks(repeat("{\"a\":2}\n", 1<<40)), "413"},
		{"empty lines without end", "Transfer-Encoding: chunked\r\n", "", chunks(repeat("\n", 1<<40)), "413"},
		{"headers without end", "X: " + strings.Repeat("x", 1<<20) + "\r\n", "", nil, "431"},
		{"100,000 headers", strings.Repeat("a: b\r\n", 100_000), "", nil, "431"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			got := s.raw(head(c.fields)+c.body, c.more)
			if len(got) == 0 || got[0] != c.want {
				t.Errorf("got %q, want %s", got, c.want)
			}
		})
	}
	s.t = t
	// The second half is a request of its own, and none that is taken.
	if got := s.raw(head("Content-Length: 8\r\n")+"{\"a\":1}\n{\"a\":2}\n", nil); len(got) != 2 || got[0] != "200" || got[1] != "400" {
		t.Errorf("a body longer than it says got %q, want 200 for what it says and 400 for the rest", got)
	}
	honest()
	_, after := s.resident()
	t.Logf("at most %d MiB were resident before, and %d after", before>>20, after>>20)
	if before > 0 && after-before > 8<<20 {
		t.Errorf("the server had %d MiB at most before, and %d after: more than 8 MiB were spent on them", before>>20, after>>20)
	}
	out := holdfast(t, 0, "cat", "--data", s.data, "--table", "t").stdout
	if strings.Count(out, " t a=1\n") != 3 || strings.Count(out, "\n") != 3 {
		t.Errorf("stored are\n%s\nwant the honest rows", out)
	}
	s.stop()
}

// bomb packs size bytes of text.
func bomb(t *testing.T, text string, size int) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	block := bytes.Repeat([]byte(text), 1<<20)
	for range size >> 20 {
		w.Write(block)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if size/b.Len() < 900 {
		t.Fatalf("the bomb is no bomb: %d bytes for %d", b.Len(), size)
	}
	return &b
}

// repeat gives size bytes of text again and again.
func repeat(text string, size int64) io.Reader {
	return io.LimitReader(&repeated{text: strings.Repeat(text, 32<<10/len(text))}, size)
}

type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

// chunks makes a chunked body of what r gives.
func chunks(r io.Reader) io.ReadCloser {
	out, in := io.Pipe()
	go func() {
		buf := make([]byte, 16<<10)
		for {
			n, err := r.Read(buf)
			if n > 0 {
				if _, err := fmt.Fprintf(in, "%x\r\n%s\r\n", n, buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				io.WriteString(in, "0\r\n\r\n")
				in.Close()
				return
			}
		}
	}()
	return out
}
