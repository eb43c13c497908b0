package e2e

import (
	"bytes"
	"fmt"
	"maps"
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
	kamailio *exec.Cmd
	log      bytes.Buffer
}

// newExchange writes the configuration and starts nothing.
func newExchange(t *testing.T) *exchange {
	t.Helper()
	x := &exchange{t: t}
	k, ok := servers.FindService(t, root, "kamailio", "kamailio/modules/db_flatstore.so")
	if !ok {
		need(t, "kamailio")
	}
	x.program, x.env = k.Program, k.Env
	need(t, "sipp")
	var err error
	if x.dir, err = os.MkdirTemp("", "hf"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(x.dir) })
	x.sip, x.phone = freeUDP(t), freeUDP(t)
	text, err := os.ReadFile("testdata/flatstore/kamailio.cfg")
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("@DIR@", x.dir, "@ACC@", x.acc(), "@SIP@", x.sip, "@PHONE@", x.phone, "@MODULES@", k.Modules+"/").Replace(string(text))
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

// lines returns how often each complete line is in the files of each table, in
// the form of key.
func (x *exchange) lines(wish map[string][]int) map[string]map[string]int {
	x.t.Helper()
	all := map[string]map[string]int{}
	for table := range wish {
		all[table] = map[string]int{}
	}
	for _, dir := range []string{x.acc(), x.archive()} {
		files, err := filepath.Glob(filepath.Join(dir, "*.log*"))
		if err != nil {
			x.t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				x.t.Fatal(err)
			}
			base := filepath.Base(file)
			table := base[:strings.LastIndexByte(base, '_')]
			for line := range strings.Lines(string(text)) {
				if whole, ok := strings.CutSuffix(line, "\n"); ok {
					fields := strings.Split(whole, "|")
					var key []string
					for _, i := range wish[table] {
						key = append(key, fields[i])
					}
					all[table][strings.Join(key, "|")]++
				}
			}
		}
	}
	return all
}

// TestKamailioFollowed makes calls through a real Kamailio that writes with
// db_flatstore, while Holdfast rotates its files every two seconds, and both are
// killed with SIGKILL: each line that is in the files is in SQLite, PostgreSQL
// and MariaDB once, and every file is in the archive.
func TestKamailioFollowed(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	t.Parallel() // both wait most of the time
	rng := seeded(t)
	x, d := newExchange(t), startDatabases(t)
	data := dataDir(t)
	tables := holdfast(t, 0, "profile", "kamailio", "--cfg", x.cfg(), "--zone", "UTC").stdout
	sinks := d.config()
	sinks = sinks[strings.Index(sinks, "sinks:"):]
	source := fmt.Sprintf("sources:\n  calls: {type: flatstore, url: 'flatstore:%s', archive: %s, rotate: {every: 2s, rpc: 'jsonrpc:%s/rpc'}}\n", x.acc(), x.archive(), x.dir)
	o := options{config: configure(t, data, tables+sinks+source)}
	s := start(t, data, o)
	x.start()
	x.sipp("-sf", "@uas.xml", "-p", x.phone)
	rate, rounds := "150", 3
	if long() {
		rate, rounds = "300", 60
	}
	x.sipp("-sf", "@uac.xml", "-inf", "@users.csv", "-r", rate, "-p", freeUDP(t), "127.0.0.1:"+x.sip)
	for round := range rounds {
		time.Sleep(time.Duration(800+rng.IntN(1200)) * time.Millisecond)
		if round%3 == 1 {
			x.end(x.kamailio, syscall.SIGKILL)
			x.start()
			continue
		}
		s.kill()
		s = start(t, data, o)
	}
	time.Sleep(3 * time.Second) // some calls end
	x.end(x.kamailio, syscall.SIGTERM)
	s.emptied(x.acc(), 2*time.Minute)
	s.delivered(2 * time.Minute)
	wish := map[string][]int{"acc": {0, 1, 2, 3, 4, 7, 13, 14}, "missed_calls": {0, 1, 2, 3, 4, 7, 13, 14}, "acc_cdrs": {3, 4, 5}}
	// The brackets keep the rows in an order that all tables have.
	columns := map[string]string{"acc": "(method), from_tag, to_tag, callid, sip_code, src_user, ua, tag", "acc_cdrs": "(caller), callee, call_id"}
	columns["missed_calls"] = columns["acc"]
	archived, err := filepath.Glob(filepath.Join(x.archive(), "*"))
	if err != nil || len(archived) < 4 {
		t.Errorf("%d files are in the archive, %v: nothing was rotated", len(archived), err)
	}
	s.stop()
	written := x.lines(wish)
	for _, k := range d.destinations(t, data) {
		if k.name == "flat" {
			continue // they have every column, and marks of their own
		}
		for table, want := range written {
			got := map[string]int{}
			for _, r := range k.rows(t, table, columns[table]) {
				got[strings.Join(r, "|")]++
			}
			if total(want) < 20 || !maps.Equal(got, want) {
				t.Errorf("%s: %d rows of %s, %d lines are in the files", k.name, total(got), table, total(want))
				for key, n := range want {
					if got[key] != n {
						t.Fatalf("%q is there %d times, and %d times in the files", key, got[key], n)
					}
				}
			}
		}
		t.Logf("%s: acc %d, missed_calls %d, acc_cdrs %d", k.name, total(written["acc"]), total(written["missed_calls"]), total(written["acc_cdrs"]))
	}
}

func total(m map[string]int) (n int) {
	for _, k := range m {
		n += k
	}
	return n
}
