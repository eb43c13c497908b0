package servers

import (
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestMariaDB stops, kills and starts a server at one address.
func TestMariaDB(t *testing.T) {
	s := MariaDB(t)
	dir, addr := s.dir, s.Addr()
	for _, end := range []func(){s.Stop, s.Kill} {
		if err := greeted(addr); err != nil {
			t.Fatalf("a server that runs: %v", err)
		}
		end()
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			t.Fatal("a server that ended takes connections")
		}
		end() // again is no error
		s.Start()
	}
	s.Close()
	s.Close()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Fatalf("the directory is left behind: %v", err)
	}
}
