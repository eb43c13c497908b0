package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// freeze and thaw are FIFREEZE and FITHAW: whoever writes to the file system waits
// in the kernel, as on a server of NFS that is away.
const (
	freeze = 0xc0045877
	thaw   = 0xc0045878
)

// ices returns what freezes and thaws the file system at a directory. It is thawed
// when the test ends, and before that when it takes longer than most.
func ices(t *testing.T, at string, most time.Duration) (ice func(what uint) error) {
	t.Helper()
	volume, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	ice = func(what uint) error { return unix.IoctlSetInt(int(volume.Fd()), what, 0) }
	dog := time.AfterFunc(most, func() { _ = ice(thaw) }) // what is frozen outlives a test that is killed
	t.Cleanup(func() {
		dog.Stop()
		_ = ice(thaw) // else nothing here ends
		if err := volume.Close(); err != nil {
			t.Error(err)
		}
	})
	return ice
}

// poster posts rows of a size to a server.
type poster struct {
	t *testing.T
	s *server
	n int
}

// post stores a row of 800 KB; it returns the HTTP status and the answer.
func (p *poster) post(table string) (int, string) {
	p.t.Helper()
	a, err := http.Post(p.s.url("/v1/tables/"+table+"/rows"), "application/x-ndjson", strings.NewReader(fmt.Sprintf(`{"n": %d, "what": %q}`, p.n, noise(800<<10))))
	if err != nil {
		p.t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	p.n++
	return a.StatusCode, string(text)
}
