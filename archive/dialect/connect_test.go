package dialect

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUnopened opens what is no database: a port that says nothing, as
// PostgreSQL's does to who waits for it to begin, one at which nobody listens,
// and files. It must end, and name where it was.
func TestUnopened(t *testing.T) {
	defer func(before time.Duration) { connecting = before }(connecting)
	connecting = 300 * time.Millisecond
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // the kernel takes connections, and nobody speaks
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	text := filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		url  string
		want []string
	}{
		{"mysql://root@" + silent.Addr().String() + "/d", []string{silent.Addr().String(), "no answer within 300ms"}},
		{"postgres://root@" + silent.Addr().String() + "/d?sslmode=disable", []string{silent.Addr().String(), "no answer within 300ms"}},
		{"mysql://root@" + gone.Addr().String() + "/d", []string{gone.Addr().String()}},
		{"postgres://root@" + gone.Addr().String() + "/d", []string{gone.Addr().String()}},
		{"sqlite:" + text, []string{text, "not a database"}},
		{"sqlite:" + text + ".none", []string{text + ".none", "must be there"}},
	} {
		s, err := Open(context.Background(), test.url)
		if err == nil {
			s.Close()
			t.Errorf("%s: it is open", test.url)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", test.url, err, want)
			}
		}
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if _, err := Open(stopped, "mysql://root@"+silent.Addr().String()+"/d"); err == nil || strings.Contains(err.Error(), "no answer") {
		t.Errorf("stopped by hand: got %v", err)
	}
}
