package bucket_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast/internal/cold"
	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/row"
	"holdfast/test/buckets"
)

// segments opens a journal whose cold tier is store, with sealed segments in it.
func segments(t *testing.T, store cold.Store) *journal.Journal {
	t.Helper()
	j, err := journal.Open(disk.NewMem(), journal.Options{Name: "main", SegmentSize: 48 << 10, Cold: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	s := j.Intern("calls", []row.Column{{Name: "what", Type: "text"}})
	for range 12 {
		var b row.Batch
		if err := b.Add(s, 0, []row.Value{row.Text(strings.Repeat("x", 9000))}); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Append(context.Background(), &b, true); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(time.Minute); !j.Files()[0].Sealed; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the first segment is not sealed")
		}
	}
	return j
}

// TestSegments has each request that copies a segment go wrong in each way. The
// copy is there whole with its manifest behind it, or it is not one; the next try
// makes it, and it comes back with the digest that it was sealed with.
func TestSegments(t *testing.T) {
	for what, f := range map[string]buckets.Fault{
		"away": {CutBody: 1}, "busy": {Status: 503, Code: "SlowDown"}, "no answer": {Lose: true}, "half an answer": {CutAnswer: 100}, "full": {Status: 507, Code: "XMinioStorageFull"},
	} {
		t.Run(what, func(t *testing.T) {
			for n := 1; ; n++ {
				s := buckets.Start(t, false)
				b := open(t, options(s))
				j := segments(t, b)
				calls, hit := 0, false
				s.Fail(func(*http.Request) buckets.Fault {
					if calls++; calls != n {
						return buckets.Fault{}
					}
					hit = true
					return f
				})
				_, err := j.Chill(1)
				s.Fail(nil)
				if err != nil && (j.Cold(1) || !errors.Is(err, cold.ErrAway)) {
					t.Fatalf("request %d: there is a copy: %v, and the error is %v", n, j.Cold(1), err)
				}
				name := thawed(t, s, b, err == nil)
				if _, err := j.Chill(1); err != nil || !j.Cold(1) {
					t.Fatalf("request %d, tried again: %v", n, err)
				}
				if again := thawed(t, s, b, true); name != "" && again != name {
					t.Fatalf("request %d: the copy is called %q, and was %q", n, again, name)
				}
				for key, times := range s.Puts() {
					if times > 1 && !f.Lose {
						t.Errorf("request %d: %s was put %d times", n, key, times)
					}
				}
				if !hit {
					t.Logf("%d requests", n-1)
					if n < 6 {
						t.Error("they are too few")
					}
					return
				}
			}
		})
	}
}

// thawed brings back what a manifest in the bucket says is there, and returns what
// that is called; "" where there is no manifest, though there must be.
func thawed(t *testing.T, s *buckets.Server, b cold.Store, must bool) string {
	t.Helper()
	name := ""
	for key := range s.Objects() {
		if strings.HasSuffix(key, ".json") {
			name = strings.TrimPrefix(key, prefix)
		}
	}
	if name == "" {
		if must {
			t.Fatal("there is no manifest")
		}
		return ""
	}
	m, err := journal.ColdManifest(b, name)
	if err != nil {
		t.Fatal(err)
	}
	back, err := journal.Thaw(b, name, disk.NewMem())
	if err != nil || back.SHA256 != m.SHA256 || back.SHA256 == "" || back.Rows != m.Rows || m.Rows == 0 {
		t.Fatalf("%+v, and the manifest says %+v: %v", back, m, err)
	}
	return name
}
