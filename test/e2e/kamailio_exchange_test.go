package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/test/servers"
)

// exchange is a Kamailio between two sipps, with everything in one directory
// whose path is short enough for its sockets.
type exchange struct {
	t        *testing.T
	dir      string
	program  string
	env      []string
	sip      string // ports
	phone    string
	url      string // of the database that Kamailio writes to
	kamailio *exec.Cmd
	log      bytes.Buffer
}

// newExchange writes a configuration with the driver of a database, its URL (none:
// that of a directory of flat files) and more lines. It starts nothing.
func newExchange(t *testing.T, driver, url string, more ...string) *exchange {
	t.Helper()
	x := &exchange{t: t, url: url}
	k, ok := servers.FindService(t, root, "kamailio", "kamailio/modules/"+driver+".so")
	if !ok {
		missing(t, driver+" of kamailio")
	}
	x.program, x.env = k.Program, k.Env
	need(t, "sipp")
	var err error
	if x.dir, err = os.MkdirTemp("", "hf"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(x.dir) })
	x.sip, x.phone = freeUDP(t), freeUDP(t)
	if x.url == "" {
		x.url = "flatstore:" + x.acc()
	}
	text, err := os.ReadFile("testdata/flatstore/kamailio.cfg")
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("@DIR@", x.dir, "@DRIVER@", driver, "@URL@", x.url, "@MORE@", strings.Join(more, "\n"),
		"@SIP@", x.sip, "@PHONE@", x.phone, "@MODULES@", k.Modules+"/").Replace(string(text))
	for _, err := range []error{os.Mkdir(x.acc(), 0o755), os.Mkdir(x.archive(), 0o755), os.WriteFile(x.cfg(), []byte(filled), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Kamailio said:\n%.4000s", x.log.String())
		}
	})
	return x
}

func (x *exchange) acc() string     { return filepath.Join(x.dir, "acc") }
func (x *exchange) archive() string { return filepath.Join(x.dir, "old") }
func (x *exchange) cfg() string     { return filepath.Join(x.dir, "kamailio.cfg") }

func freeUDP(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, port, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// start starts Kamailio, and waits for its control socket.
func (x *exchange) start() {
	x.t.Helper()
	for _, name := range []string{"rpc", "ctl"} {
		_ = os.Remove(filepath.Join(x.dir, name))
	}
	x.kamailio = exec.Command(x.program, "-f", x.cfg(), "-DD", "-E", "-m", "64", "-M", "8", "-P", filepath.Join(x.dir, "pid"), "-Y", x.dir, "-w", x.dir)
	x.kamailio.Env, x.kamailio.Stdout, x.kamailio.Stderr = x.env, &x.log, &x.log
	dieWithTest(x.kamailio)
	ownGroup(x.kamailio)
	x.kamailio.WaitDelay = time.Second
	if err := x.kamailio.Start(); err != nil {
		x.t.Fatal(err)
	}
	k := x.kamailio
	x.t.Cleanup(func() { x.end(k, syscall.SIGKILL) })
	eventually(x.t, time.Minute, "Kamailio to start", func() (bool, string) {
		_, err := os.Stat(filepath.Join(x.dir, "rpc"))
		return err == nil, fmt.Sprint(err)
	})
}

// end ends all processes of a Kamailio with a signal.
func (x *exchange) end(k *exec.Cmd, sig syscall.Signal) {
	if k.ProcessState != nil {
		return
	}
	pid := -k.Process.Pid
	if sig == syscall.SIGTERM {
		pid = k.Process.Pid
	}
	_ = syscall.Kill(pid, sig)
	_ = k.Wait()
	_ = syscall.Kill(-k.Process.Pid, syscall.SIGKILL)
}

// sipp starts one side of the calls.
func (x *exchange) sipp(args ...string) *exec.Cmd {
	x.t.Helper()
	scenarios, err := filepath.Abs("testdata/flatstore")
	if err != nil {
		x.t.Fatal(err)
	}
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "@", scenarios+"/")
	}
	c := exec.Command("sipp", append(args, "-i", "127.0.0.1", "-nostdin")...)
	c.Dir = x.dir
	dieWithTest(c)
	if err := c.Start(); err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return c
}
