package bucket_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"holdfast/internal/cold/bucket"
	"holdfast/test/buckets"
)

// TestMemory puts and reads a file many times as large as the memory that this may
// take, with a server that keeps nothing.
func TestMemory(t *testing.T) {
	const size, most = 64 << 20, 8 << 20
	part := content(1 << 20)
	there := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, 32<<10))
			there = n == size && err == nil
		case !there:
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodHead:
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.Header().Set("Last-Modified", "Sat, 21 Nov 2026 18:00:00 GMT")
		default:
			first, last := 0, 0
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size))
			w.Header().Set("Last-Modified", "Sat, 21 Nov 2026 18:00:00 GMT")
			w.Header().Set("Content-Length", fmt.Sprint(last-first+1))
			w.WriteHeader(http.StatusPartialContent)
			for n := last - first + 1; n > 0; n -= len(part) {
				if _, err := w.Write(part[:min(n, len(part))]); err != nil {
					return
				}
			}
		}
	}))
	defer s.Close()
	b := open(t, bucket.Options{
		Bucket: buckets.Bucket, Endpoint: strings.TrimPrefix(s.URL, "http://"), Plain: true, Region: buckets.Region,
		Keys: func() (bucket.Keys, error) { return bucket.Keys{ID: buckets.ID, Secret: buckets.Secret}, nil },
	})
	took := func(what string, do func() error) {
		t.Helper()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > most {
			t.Errorf("%s %d bytes takes %d bytes of memory", what, size, n)
		}
	}
	took("to put", func() error {
		return b.Put("a", false, func(w io.Writer) error {
			for range size / len(part) {
				if _, err := w.Write(part); err != nil {
					return err
				}
			}
			return nil
		})
	})
	took("to read", func() error {
		f, err := b.Open("a")
		if err != nil {
			return err
		}
		defer f.Close()
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.NewSectionReader(f, 0, size), make([]byte, 256<<10))
		if n != size {
			t.Errorf("%d bytes are read", n)
		}
		return err
	})
}
