package buckets

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// What the server asks of a request.
const (
	Bucket = "archive"
	Region = "eu-test-1"
	ID     = "AKIDEXAMPLE"
	Secret = "wJalrXUtnFEMI/K7MDENG+secret"
)

// page is how many names one answer lists.
const page = 3

// Fault is what goes wrong with one request. The zero Fault is nothing.
type Fault struct {
	Status    int             // answered at once, with Code
	Code      string          //
	CutBody   int64           // the connection ends after so many bytes of the upload
	CutAnswer int64           // and after so many of the answer
	Lose      bool            // it ends instead of the answer; what was asked for is done
	Wait      <-chan struct{} // nothing happens before it is closed
}

// Server is a server with one bucket.
type Server struct {
	URL  string
	Host string // host:port
	CA   []byte // PEM of its certificate; nil without TLS

	http *httptest.Server

	deciding sync.Mutex // one request at a time asks what goes wrong with it; before mu

	mu      sync.Mutex
	objects map[string][]byte
	conns   map[net.Conn]bool
	away    bool
	quota   int64
	fault   func(*http.Request) Fault
	puts    map[string]int // that were carried out, by key
	asked   []string       // method and key of each request that was signed well
}

// Start starts one that ends with the test.
func Start(tb testing.TB, secure bool) *Server {
	s := &Server{objects: map[string][]byte{}, conns: map[net.Conn]bool{}, puts: map[string]int{}}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.http.Config.ConnState = s.connected
	s.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // it fails on purpose
	if secure {
		s.http.StartTLS()
		s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
	} else {
		s.http.Start()
	}
	s.URL, s.Host = s.http.URL, s.http.Listener.Addr().String()
	tb.Cleanup(func() {
		s.Pull(true)
		s.http.Close()
	})
	return s
}

func (s *Server) connected(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.conns[c] = true
		if s.away {
			_ = c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		delete(s.conns, c)
	}
}

// Pull takes the server away, in the middle of whatever it does, or brings it back.
func (s *Server) Pull(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
	if away {
		for c := range s.conns {
			_ = c.Close()
		}
	}
}

// Fail has f say what goes wrong with each request, one after the other; nil:
// nothing. The one before is not called any more.
func (s *Server) Fail(f func(*http.Request) Fault) {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Limit bounds the bytes in the bucket; 0: nothing does.
func (s *Server) Limit(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota = bytes
}

// Objects returns what is in the bucket.
func (s *Server) Objects() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.objects)
}

// Set changes what is in the bucket, past the server; nil removes it.
func (s *Server) Set(key string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[key] = content; content == nil {
		delete(s.objects, key)
	}
}

// Puts returns how often each object was put.
func (s *Server) Puts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.puts)
}

// Asked returns the method and the key of each request so far.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// failure is an answer that is an error.
type failure struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
	status  int
}

func fail(status int, code, message string) *failure {
	return &failure{Code: code, Message: message, status: status}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	f := Fault{}
	s.deciding.Lock()
	s.mu.Lock()
	wrong := s.fault
	s.mu.Unlock()
	if wrong != nil {
		f = wrong(r)
	}
	s.deciding.Unlock()
	if f.Wait != nil {
		select {
		case <-f.Wait:
		case <-r.Context().Done():
			return
		}
	}
	if f.CutBody > 0 {
		_, _ = io.CopyN(io.Discard, r.Body, f.CutBody)
		panic(http.ErrAbortHandler)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil { // half an upload
		panic(http.ErrAbortHandler)
	}
	bad := fail(f.Status, f.Code, "made up")
	if f.Status == 0 {
		bad = s.signed(r, body)
	}
	out := &answer{status: http.StatusOK, header: http.Header{}}
	if bad == nil {
		bad = s.do(r, body, out)
	}
	if f.Lose {
		panic(http.ErrAbortHandler)
	}
	s.write(w, r, out, bad, f.CutAnswer)
}

// answer is what is answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (s *Server) write(w http.ResponseWriter, r *http.Request, out *answer, bad *failure, cut int64) {
	if bad != nil {
		text, err := xml.Marshal(bad)
		if err != nil {
			panic(err)
		}
		out = &answer{status: bad.status, header: http.Header{"Content-Type": {"application/xml"}}, body: text}
	}
	maps.Copy(w.Header(), out.header)
	if w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(out.body)))
	}
	w.WriteHeader(out.status)
	if r.Method == http.MethodHead {
		return
	}
	if cut > 0 && cut < int64(len(out.body)) {
		_, _ = w.Write(out.body[:cut])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(out.body)
}

// do carries a request out.
func (s *Server) do(r *http.Request, body []byte, out *answer) *failure {
	rest, ok := strings.CutPrefix(r.URL.Path, "/"+Bucket)
	if !ok {
		return fail(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	key := strings.TrimPrefix(rest, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Method+" "+key)
	switch {
	case r.Method == http.MethodPut && key != "" && r.URL.RawQuery == "":
		return s.put(r, key, body, out)
	case key == "" && r.Method == http.MethodHead:
		return nil
	case key == "" && r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "2":
		return s.list(r, out)
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && key != "" && r.URL.RawQuery == "":
		return s.get(r, key, out)
	}
	return fail(http.StatusNotImplemented, "NotImplemented", "this server does not know "+r.Method+" "+r.URL.String())
}

func etag(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

func (s *Server) put(r *http.Request, key string, body []byte, out *answer) *failure {
	_, there := s.objects[key]
	if r.Header.Get("If-None-Match") == "*" && there {
		return fail(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	sum := sha256.Sum256(body)
	if want := r.Header.Get("X-Amz-Checksum-Sha256"); want != base64.StdEncoding.EncodeToString(sum[:]) {
		return fail(http.StatusBadRequest, "BadDigest", "the checksum is missing, or another one")
	}
	used := int64(len(body))
	for k, o := range s.objects {
		if k != key {
			used += int64(len(o))
		}
	}
	if s.quota > 0 && used > s.quota {
		return fail(http.StatusInsufficientStorage, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold")
	}
	s.objects[key], s.puts[key] = body, s.puts[key]+1
	out.header.Set("ETag", etag(body))
	return nil
}

func (s *Server) get(r *http.Request, key string, out *answer) *failure {
	content, ok := s.objects[key]
	if !ok {
		return fail(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	}
	if want := r.Header.Get("If-Match"); want != "" && want != etag(content) {
		return fail(http.StatusPreconditionFailed, "PreconditionFailed", "the object is another one")
	}
	out.header.Set("ETag", etag(content))
	out.header.Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
	out.header.Set("Content-Type", "application/octet-stream")
	out.body = content
	if r.Method == http.MethodHead {
		out.header.Set("Content-Length", strconv.Itoa(len(content)))
		return nil
	}
	if text := r.Header.Get("Range"); text != "" {
		first, last := int64(0), int64(0)
		if n, err := fmt.Sscanf(text, "bytes=%d-%d", &first, &last); n != 2 || err != nil || first > last || first >= int64(len(content)) {
			return fail(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "the range cannot be")
		}
		last = min(last, int64(len(content))-1)
		out.status, out.body = http.StatusPartialContent, content[first:last+1]
		out.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(content)))
	}
	return nil
}

// listing is a page of names.
type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name                  string
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listed
}

type listed struct {
	Key          string
	LastModified string
	ETag         string
	Size         int
}

func (s *Server) list(r *http.Request, out *answer) *failure {
	q := r.URL.Query()
	all := listing{Name: Bucket}
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if !strings.HasPrefix(key, q.Get("prefix")) || key <= q.Get("continuation-token") {
			continue
		}
		if rest := strings.TrimPrefix(key, q.Get("prefix")); q.Get("delimiter") == "/" && strings.Contains(rest, "/") {
			continue
		}
		if len(all.Contents) == page {
			all.IsTruncated, all.NextContinuationToken = true, all.Contents[page-1].Key
			break
		}
		all.Contents = append(all.Contents, listed{key, time.Now().UTC().Format(time.RFC3339), etag(s.objects[key]), len(s.objects[key])})
	}
	text, err := xml.Marshal(all)
	if err != nil {
		panic(err)
	}
	out.header.Set("Content-Type", "application/xml")
	out.body = text
	return nil
}
