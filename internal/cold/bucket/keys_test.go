package bucket_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/cold"
	"holdfast/internal/cold/bucket"
	"holdfast/test/buckets"
)

// metadata is what tells machines in a cloud of themselves, or containers.
type metadata struct {
	mu     sync.Mutex
	asked  int
	secret string
	holds  time.Duration // for which the keys hold
	away   bool
}

func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	machine := r.Header.Get("X-aws-ec2-metadata-token") == "a token"
	switch {
	case m.away:
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
		fmt.Fprint(w, "a token")
	case machine && r.URL.Path == "/latest/meta-data/iam/security-credentials/":
		fmt.Fprint(w, "the-role")
	case machine && r.URL.Path == "/latest/meta-data/iam/security-credentials/the-role", r.URL.Path == "/container" && r.Header.Get("Authorization") == "a word":
		fmt.Fprintf(w, `{"Code": "Success", "AccessKeyId": %q, "SecretAccessKey": %q, "Token": "a session", "Expiration": %q}`, buckets.ID, m.secret, time.Now().Add(m.holds).UTC().Format(time.RFC3339))
	default:
		http.NotFound(w, r)
	}
}

func (m *metadata) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

// roles starts a metadata service, which the environment names for machines, and
// has the environment say nothing else of keys.
func roles(t *testing.T) (*metadata, string) {
	m := &metadata{secret: buckets.Secret, holds: time.Hour}
	s := httptest.NewServer(m)
	t.Cleanup(s.Close)
	for _, name := range []string{"AWS_EC2_METADATA_DISABLED", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_REGION"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL+"/")
	return m, s.URL
}

// ofRole are the options of a bucket that is given no keys.
func ofRole(s *buckets.Server) bucket.Options {
	o := options(s)
	o.Keys = func() (bucket.Keys, error) { return bucket.Keys{}, nil }
	return o
}

// TestRole puts a file with the keys of a machine's role, and of a container's,
// which are fetched once; keys that are given win.
func TestRole(t *testing.T) {
	s := buckets.Start(t, true)
	m, url := roles(t)
	put := func(what string, o bucket.Options) {
		t.Helper()
		if err := open(t, o).Put(what, true, filled(content(100_000))); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	put("given", options(s))
	if n := m.count(); n > 0 {
		t.Errorf("with keys that are given the role was asked for %d times", n)
	}
	b := open(t, ofRole(s))
	for range 3 {
		if err := b.Put("machine", true, filled(content(100_000))); err != nil {
			t.Fatal(err)
		}
	}
	if n := m.count(); n != 3 { // a token, the role, its keys
		t.Errorf("the role was asked for %d times", n)
	}
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url+"/container")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a word")
	put("container", ofRole(s))
	if got := s.Puts(); len(got) != 3 {
		t.Errorf("what was put: %v", got)
	}
}

// TestRoleAway holds that a machine without a role, or in no cloud, says so soon,
// and at once when it is asked again, and has the keys when it gets one.
func TestRoleAway(t *testing.T) {
	s := buckets.Start(t, false)
	m, _ := roles(t)
	told := func(what string) {
		t.Helper()
		b, begun := open(t, ofRole(s)), time.Now()
		for range 5 {
			if _, _, err := b.Used(); !errors.Is(err, cold.ErrAway) || !strings.Contains(err.Error(), "no keys: there is no keys_file") {
				t.Errorf("%s: it says %v", what, err)
			}
		}
		if took := time.Since(begun); took > 25*time.Second { // one try has up to 11 s
			t.Errorf("%s: five answers took %s", what, took)
		}
	}
	m.mu.Lock()
	m.away = true
	m.mu.Unlock()
	told("it fails")
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://"+mute.Addr().String())
	told("it never answers")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	told("it is disabled")
}
