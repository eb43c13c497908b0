package bucket_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/cold"
	"holdfast/internal/cold/bucket"
	"holdfast/internal/cold/coldtest"
	"holdfast/test/buckets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options are those that reach a server.
func options(s *buckets.Server) bucket.Options {
	return bucket.Options{
		Bucket: buckets.Bucket, Prefix: "/hold fast/ü+", Endpoint: s.Host, Plain: s.CA == nil, Region: buckets.Region, CA: s.CA,
		Keys: func() (bucket.Keys, error) { return bucket.Keys{ID: buckets.ID, Secret: buckets.Secret}, nil },
	}
}

const prefix = "hold fast/ü+/"

func open(t *testing.T, o bucket.Options) *bucket.Bucket {
	t.Helper()
	b, err := bucket.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// TestBucket holds a bucket to what a cold tier promises, with TLS and without.
func TestBucket(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "tls": true} {
		t.Run(name, func(t *testing.T) {
			coldtest.Conform(t, func(t *testing.T, size int64) cold.Store {
				s := buckets.Start(t, secure)
				s.Limit(size)
				return open(t, options(s))
			})
		})
	}
}

// content is so much that nothing can be packed.
func content(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.Read(p) // never fails
	return p
}

func filled(p []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		for part := range slices.Chunk(p, 70_000) {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	}
}

// read returns what is under a name.
func read(s cold.Store, name string) ([]byte, error) {
	f, err := s.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	return p, errors.Join(err, f.Close())
}

// once has one kind of request go wrong the first time.
func once(method string, f buckets.Fault) func(*http.Request) buckets.Fault {
	done := false
	return func(r *http.Request) buckets.Fault {
		if done || r.Method != method {
			return buckets.Fault{}
		}
		done = true
		return f
	}
}

// TestPulledAway has puts go wrong in every way. There is no half a file then, the
// store is blamed, and the next try succeeds.
func TestPulledAway(t *testing.T) {
	s := buckets.Start(t, false)
	o := options(s)
	o.Stall = 2 * time.Second
	b := open(t, o)
	big := content(3 << 20)
	never := make(chan struct{})
	defer close(never)
	for what, f := range map[string]buckets.Fault{
		"away in the middle": {CutBody: 1 << 20}, "away at the end": {CutBody: 3<<20 - 1}, "busy": {Status: 503, Code: "SlowDown"},
		"broken": {Status: 500, Code: "InternalError"}, "forbidden": {Status: 403, Code: "AccessDenied"}, "silent": {Wait: never}, "no answer": {Lose: true},
	} {
		t.Run(what, func(t *testing.T) {
			s.Set(prefix+"a", nil)
			s.Fail(once(http.MethodPut, f))
			err := b.Put("a", false, filled(big))
			if !errors.Is(err, cold.ErrAway) {
				t.Fatalf("the put returns %v", err)
			}
			if got, ok := s.Objects()[prefix+"a"]; ok != f.Lose || ok && !bytes.Equal(got, big) {
				t.Fatalf("%d bytes of it are there: %v", len(got), ok)
			}
			if err := b.Put("a", false, filled(big)); err != nil && (!f.Lose || !errors.Is(err, fs.ErrExist)) {
				t.Fatalf("tried again: %v", err)
			}
			if got, err := read(b, "a"); err != nil || !bytes.Equal(got, big) {
				t.Fatalf("it is read as %d bytes: %v", len(got), err)
			}
		})
	}
	s.Pull(true)
	if err := b.Put("b", true, filled(big)); !errors.Is(err, cold.ErrAway) {
		t.Errorf("the server is away: %v", err)
	}
	if _, _, err := b.Used(); !errors.Is(err, cold.ErrAway) {
		t.Errorf("the server is away, and the bucket is well: %v", err)
	}
	if _, err := b.Open("a"); !errors.Is(err, cold.ErrAway) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the server is away: %v", err)
	}
	s.Pull(false)
	if _, _, err := b.Used(); err != nil {
		t.Errorf("the server is back: %v", err)
	}
}

// TestOther has somebody else put the same name meanwhile: the request is one that
// fails then.
func TestOther(t *testing.T) {
	s := buckets.Start(t, false)
	b := open(t, options(s))
	s.Fail(func(r *http.Request) buckets.Fault {
		if r.Method == http.MethodPut {
			s.Set(prefix+"a", []byte("theirs"))
		}
		return buckets.Fault{}
	})
	if err := b.Put("a", false, filled([]byte("ours"))); !errors.Is(err, fs.ErrExist) {
		t.Errorf("two put the same name: %v", err)
	}
	if got := s.Objects()[prefix+"a"]; string(got) != "theirs" {
		t.Errorf("what was there is now %q", got)
	}
}

// TestUnsteady puts what is another thing the second time it is made: then the
// server must not take it.
func TestUnsteady(t *testing.T) {
	s := buckets.Start(t, false)
	b := open(t, options(s))
	for what, second := range map[string]func(w io.Writer) error{
		"other bytes": filled(content(100_000)),
		"fewer bytes": filled(content(50_000)),
		"more bytes":  filled(content(150_000)),
		"an error": func(w io.Writer) error {
			if err := filled(content(50_000))(w); err != nil {
				return err
			}
			return fs.ErrClosed
		},
	} {
		calls := 0
		err := b.Put("a", true, func(w io.Writer) error {
			if calls++; calls == 1 {
				return filled(content(100_000))(w)
			}
			return second(w)
		})
		if err == nil || what == "an error" && (!errors.Is(err, fs.ErrClosed) || errors.Is(err, cold.ErrAway)) {
			t.Errorf("%s: %v", what, err)
		}
		if n := len(s.Objects()); n > 0 {
			t.Errorf("%s: something is there", what)
		}
	}
}

// TestRead has reading go wrong: an answer that ends early, an object that has
// become another one, a server without ranges. And it takes few requests.
func TestRead(t *testing.T) {
	s := buckets.Start(t, false)
	b := open(t, options(s))
	big := content(5 << 20)
	if err := b.Put("a", false, filled(big)); err != nil {
		t.Fatal(err)
	}
	before := len(s.Asked())
	if got, err := read(b, "a"); err != nil || !bytes.Equal(got, big) {
		t.Fatal(err)
	}
	if n := len(s.Asked()) - before; n > 5 {
		t.Errorf("%d requests read 5 MiB", n)
	}
	s.Fail(once(http.MethodGet, buckets.Fault{CutAnswer: 100_000}))
	if _, err := read(b, "a"); !errors.Is(err, cold.ErrAway) {
		t.Errorf("half an answer: %v", err)
	}
	s.Fail(once(http.MethodGet, buckets.Fault{Status: 503, Code: "SlowDown"}))
	if got, err := read(b, "a"); err != nil || !bytes.Equal(got, big) {
		t.Errorf("a busy server is not asked again: %v", err)
	}
	f, err := b.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.Set(prefix+"a", content(5<<20))
	if _, err := f.ReadAt(make([]byte, 10), 1<<20); !errors.Is(err, cold.ErrAway) {
		t.Errorf("another object is read: %v", err)
	}
}

// TestKeys holds that what is wrong with keys is told, and the keys are not; that
// new ones are taken; and that a server is only spoken to that the certificates
// vouch for.
func TestKeys(t *testing.T) {
	s := buckets.Start(t, true)
	o := options(s)
	o.Keys = func() (bucket.Keys, error) { return bucket.Keys{ID: buckets.ID, Secret: "another secret"}, nil }
	_, _, err := open(t, o).Used()
	if !errors.Is(err, cold.ErrAway) || strings.Contains(err.Error(), "another secret") {
		t.Errorf("another secret: %v", err)
	}
	if err := open(t, o).Put("a", true, filled([]byte("x"))); !errors.Is(err, cold.ErrAway) || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("another secret: %v", err)
	}
	o.Keys = func() (bucket.Keys, error) { return bucket.Keys{}, errors.New("no such file") }
	if err := open(t, o).Put("a", true, filled([]byte("x"))); !errors.Is(err, cold.ErrAway) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no keys: %v", err)
	}
	o = options(s)
	o.CA = nil
	if _, _, err := open(t, o).Used(); !errors.Is(err, cold.ErrAway) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server that nobody vouches for: %v", err)
	}
	o.CA = []byte("no certificate")
	if _, err := bucket.Open(o); err == nil {
		t.Error("no certificate is taken for one")
	}
	o = options(s)
	o.Bucket = "another"
	if _, _, err := open(t, o).Used(); !errors.Is(err, cold.ErrAway) || !strings.Contains(err.Error(), "NoSuchBucket") {
		t.Errorf("another bucket: %v", err)
	}
}

// TestInterrupt ends a put that waits for a silent server.
func TestInterrupt(t *testing.T) {
	s := buckets.Start(t, false)
	b := open(t, options(s))
	waiting, never := make(chan struct{}), make(chan struct{})
	defer close(never)
	s.Fail(func(r *http.Request) buckets.Fault {
		if r.Method != http.MethodPut {
			return buckets.Fault{}
		}
		close(waiting)
		return buckets.Fault{Wait: never}
	})
	done := make(chan error)
	go func() { done <- b.Put("a", true, filled(content(1<<20))) }()
	<-waiting
	b.Interrupt()
	select {
	case err := <-done:
		if !errors.Is(err, cold.ErrAway) {
			t.Error(err)
		}
	case <-time.After(time.Minute / 2):
		t.Fatal("the put goes on")
	}
}

// TestMatch lists what a pattern fits, over several pages, and nothing beside the
// prefix.
func TestMatch(t *testing.T) {
	s := buckets.Start(t, false)
	b := open(t, options(s))
	for _, name := range []string{"main.1.seg.zst", "main.1.seg.zst.json", "main.2.seg.zst", "main.3.seg.zst", "main.4.seg.zst", "main.5.seg.zst", "other.1.seg.zst", "sub/main.9.seg.zst"} {
		s.Set(prefix+name, []byte("x"))
	}
	s.Set("main.7.seg.zst", []byte("x"))
	got, err := b.Match("main.*.seg.zst")
	if want := []string{"main.1.seg.zst", "main.2.seg.zst", "main.3.seg.zst", "main.4.seg.zst", "main.5.seg.zst"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q: %v", got, err)
	}
	if _, err := b.Match("main.[x"); err == nil {
		t.Error("a pattern that is none is taken")
	}
	s.Pull(true)
	if _, err := b.Match("*"); !errors.Is(err, cold.ErrAway) {
		t.Errorf("the server is away: %v", err)
	}
}
