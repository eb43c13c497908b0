package httpapi

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"holdfast/internal/fault"
)

func gzipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.Bytes()
}

func zstded(t *testing.T, text string, o ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, append(o, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// packed posts an NDJSON body with content encodings to an API that takes at
// most max bytes unpacked.
func packed(f *fake, max int64, body io.Reader, encodings ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/tables/t/rows", body)
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header["Content-Encoding"] = encodings
	w := httptest.NewRecorder()
	New(Options{Store: f, Admin: f, MaxBody: max}).Public().ServeHTTP(w, r)
	return w
}

func TestEncodings(t *testing.T) {
	const rows = "{\"a\":1}\n{\"a\":2}\n"
	far := strings.Repeat("{\"a\":\""+strings.Repeat("x", 999)+"\"}\n", 20_000) // 20 MB
	cases := []struct {
		name      string
		encodings []string
		body      []byte
		status    int
		rows      int
	}{
		{"as it is", nil, []byte(rows), 200, 2},
		{"identity", []string{"identity"}, []byte(rows), 200, 2},
		{"gzip", []string{"gzip"}, gzipped(rows), 200, 2},
		{"x-gzip in capitals", []string{"X-GZIP"}, gzipped(rows), 200, 2},
		{"gzip of two members", []string{"gzip"}, append(gzipped(rows), gzipped(rows)...), 200, 4},
		{"gzip cut off", []string{"gzip"}, gzipped(rows)[:20], 400, 0},
		{"gzip without its checksum", []string{"gzip"}, gzipped(rows)[:len(gzipped(rows))-8], 400, 0},
		{"gzip with another checksum", []string{"gzip"}, flipped(gzipped(rows), -5), 400, 0},
		{"gzip with something behind", []string{"gzip"}, append(gzipped(rows), "more"...), 400, 0},
		{"no gzip at all", []string{"gzip"}, []byte(rows), 400, 0},
		{"nothing", []string{"gzip"}, nil, 400, 0},
		{"zstd", []string{"zstd"}, zstded(t, rows), 200, 2},
		{"zstd of two frames", []string{"zstd"}, append(zstded(t, rows), zstded(t, rows)...), 200, 4},
		{"zstd with the largest window", []string{"zstd"}, zstded(t, far, zstd.WithWindowSize(largeWindow)), 200, 20_000},
		{"zstd with a larger window", []string{"zstd"}, zstded(t, far, zstd.WithWindowSize(2*largeWindow)), 413, 0},
		{"a window that grows in the second frame", []string{"zstd"}, append(zstded(t, rows), zstded(t, far, zstd.WithWindowSize(largeWindow))...), 413, 0},
		{"zstd cut off", []string{"zstd"}, zstded(t, rows)[:12], 400, 0},
		{"zstd with a flipped byte", []string{"zstd"}, flipped(zstded(t, rows), -1), 400, 0},
		{"no zstd at all", []string{"zstd"}, []byte(rows), 400, 0},
		{"nested", []string{"gzip, gzip"}, gzipped(string(gzipped(rows))), 415, 0},
		{"nested, in two lines", []string{"gzip", "zstd"}, gzipped(rows), 415, 0},
		{"unknown", []string{"br"}, []byte(rows), 415, 0},
		{"deflate", []string{"deflate"}, []byte(rows), 415, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{}
			w := packed(f, 64<<20, bytes.NewReader(c.body), c.encodings...)
			if w.Code != c.status || len(f.rows) != c.rows {
				t.Errorf("answered %d with %d rows stored, want %d and %d: %s", w.Code, len(f.rows), c.status, c.rows, w.Body)
			}
			if w.Code == 415 && w.Header().Get("Accept-Encoding") != encodings {
				t.Errorf("415 does not say what is taken: %v", w.Header())
			}
			if f.begun != f.ended {
				t.Errorf("%d transactions begun, %d ended", f.begun, f.ended)
			}
		})
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[len(b)+at] ^= 0x40
	return b
}

// TestBodyIsBounded tries bodies that are one byte longer than allowed, and one
// that is as long.
func TestBodyIsBounded(t *testing.T) {
	row := `{"a":"` + strings.Repeat("x", 91) + "\"}\n" // 100 bytes
	for _, coding := range []string{"identity", "gzip", "zstd"} {
		for rows, status := range map[int]int{10: 200, 11: 413} {
			text := strings.Repeat(row, rows)
			body := map[string][]byte{"identity": []byte(text), "gzip": gzipped(text), "zstd": zstded(t, text)}[coding]
			f := &fake{}
			w := packed(f, 1000, bytes.NewReader(body), coding)
			if w.Code != status || status == 413 && len(f.rows) > 0 {
				t.Errorf("%s of %d bytes with a bound of 1000: answered %d with %d rows stored, want %d: %s", coding, len(text), w.Code, len(f.rows), status, w.Body)
			}
			if status == 413 {
				checkRefusal(t, w, 413, fault.LimitExceeded, 1)
			}
		}
	}
}

// endless is a chunked body that never ends.
type endless struct{ text string }

func (e endless) Read(p []byte) (n int, err error) {
	for n+len(e.text) <= len(p) {
		n += copy(p[n:], e.text)
	}
	return max(n, copy(p, e.text)), nil
}

func TestEndlessBody(t *testing.T) {
	for _, text := range []string{"{\"a\":1}\n", "\n", "x"} {
		f := &fake{}
		if w := packed(f, 8<<20, endless{text}); w.Code != 413 || len(f.rows) > 0 {
			t.Errorf("an endless body of %q got %d with %d rows stored, want 413 and none: %s", text, w.Code, len(f.rows), w.Body)
		}
	}
}

// TestBombCostsNothing unpacks 1000:1 bombs and measures what that allocates.
func TestBombCostsNothing(t *testing.T) {
	const size = 32 << 20
	empty := bytes.Repeat([]byte("\n"), 1<<20)
	var z, g bytes.Buffer
	zw, err := zstd.NewWriter(&z, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(smallWindow))
	if err != nil {
		t.Fatal(err)
	}
	gw, _ := gzip.NewWriterLevel(&g, gzip.DefaultCompression)
	for range size >> 20 {
		zw.Write(empty)
		gw.Write(empty)
	}
	zw.Close()
	gw.Close()
	for name, body := range map[string][]byte{"gzip": g.Bytes(), "zstd": z.Bytes()} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := packed(&fake{}, size/2, bytes.NewReader(body), name)
		runtime.ReadMemStats(&after)
		taken := after.TotalAlloc - before.TotalAlloc
		if w.Code != 413 || taken > 8<<20 {
			t.Errorf("a %s bomb of %d bytes got %d and %s of memory, want 413 and at most 8 MiB", name, len(body), w.Code, fmt.Sprint(taken))
		}
	}
}

// TestWindowsTakeTurns holds that few large windows are there at a time, and
// that bodies which wait for one go on.
func TestWindowsTakeTurns(t *testing.T) {
	body := zstded(t, strings.Repeat("{\"a\":1}\n", 500_000), zstd.WithWindowSize(largeWindow))
	f := &fake{}
	api := New(Options{Store: f, Admin: f})
	for range maxLarge {
		api.windows <- struct{}{}
	}
	done := make(chan int)
	go func() {
		r := httptest.NewRequest(http.MethodPost, "/v1/tables/t/rows", bytes.NewReader(body))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/x-ndjson")
		r.Header.Set("Content-Encoding", "zstd")
		w := httptest.NewRecorder()
		api.Public().ServeHTTP(w, r)
		done <- w.Code
	}()
	select {
	case code := <-done:
		t.Fatalf("the body was read without a turn: %d", code)
	case <-api.windows: // one turn is given back
	}
	if code := <-done; code != 200 {
		t.Errorf("answered %d once it had its turn", code)
	}
	if len(api.windows) != maxLarge-1 {
		t.Errorf("%d turns are taken after it, want %d", len(api.windows), maxLarge-1)
	}
}
