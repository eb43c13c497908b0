package clients

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/test/pki"

	"holdfast/test/servers"
)

// syslogDoors returns where a server takes syslog, by kind.
func (s *server) syslogDoors(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command(program, "status", "--data", s.data, "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var st struct {
		Sources []struct{ Listen []string }
	}
	if err := json.Unmarshal(out, &st); err != nil || len(st.Sources) != 1 {
		t.Fatalf("%v in %s", err, out)
	}
	doors := map[string]string{}
	for _, l := range st.Sources[0].Listen {
		kind, addr, _ := strings.Cut(l, ":")
		doors[kind] = addr
	}
	return doors
}

// TestSyslog sends lines by logger, over UDP and TCP in both formats and both
// framings, and by rsyslog over TCP and TLS: each is in the sink once.
func TestSyslog(t *testing.T) {
	rsyslogd, missing := find(t, "rsyslogd", "rsyslog/lmnsd_ossl.so")
	for _, name := range []string{"logger", "sqlite3"} {
		if _, err := exec.LookPath(name); err != nil {
			missing = name
		}
	}
	if missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing; scripts/install-deps installs it", missing)
		}
		t.Skipf("NOT TESTED: %s is missing; scripts/install-deps installs it", missing)
	}
	ca := pki.New(t, "the test's authority")
	cert, key := ca.Issue("localhost", time.Now().Add(time.Hour))
	s := serve(t, fmt.Sprintf(`tls: {cert: %s, key: %s}
sources:
  logs: {type: syslog, listen: ["udp:127.0.0.1:0", "tcp:127.0.0.1:0", "tls:127.0.0.1:0"]}
`, cert, key))
	doors := s.syslogDoors(t)
	const each = 40
	want := map[string]int{}
	for i, way := range [][]string{
		{"udp", "-d", "--rfc5424"}, {"udp", "-d", "--rfc3164"}, {"tcp", "-T", "--rfc5424"}, {"tcp", "-T", "--rfc3164"},
		{"tcp", "-T", "--octet-count", "--rfc5424"}, {"tcp", "-T", "--octet-count", "--rfc3164"},
	} {
		host, port, _ := net.SplitHostPort(doors[way[0]])
		file := filepath.Join(t.TempDir(), "lines")
		var text strings.Builder
		for k := range each {
			line := fmt.Sprintf("logger %d line %d 'quoted' \u00e9", i, k)
			want[line]++
			text.WriteString(line + "\n")
		}
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"-n", host, "-P", port, "-t", "billing", "-p", "local0.warning", "-f", file}, way[1:]...)
		if out, err := exec.Command("logger", args...).CombinedOutput(); err != nil {
			t.Fatalf("logger %q: %v\n%s", args, err, out)
		}
	}
	for i, way := range []struct{ door, framing, driver string }{
		{"tcp", "traditional", ""}, {"tcp", "octet-counted", ""},
		{"tls", "octet-counted", `StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost"`},
	} {
		host, port, _ := net.SplitHostPort(doors[way.door])
		in := forward(t, rsyslogd, place{host: host, port: port}, "@CA@", ca.File, "@FRAMING@", way.framing, "@DRIVER@", way.driver)
		for k := range 10 * each {
			line := fmt.Sprintf("rsyslog %d line %d \\ \"x\"", i, k)
			want[line]++
			if _, err := fmt.Fprintf(in, "<%d>1 2026-11-21T00:%02d:52.5+01:00 machine app %d ID [x@1 k=\"%d\"] %s\n", k%190, k%60, k, k, line); err != nil {
				t.Fatal(err)
			}
		}
	}
	total := 0
	for _, n := range want {
		total += n
	}
	inSink := func(sql string) string {
		out, err := exec.Command("sqlite3", "-readonly", filepath.Join(s.data, "holdfast.db"), sql).CombinedOutput()
		if err != nil {
			return err.Error() + string(out)
		}
		return strings.TrimSpace(string(out))
	}
	eventually(t, fmt.Sprintf("%d lines in the sink", total), func() (bool, string) {
		got := inSink("SELECT count(*) FROM syslog")
		return got == fmt.Sprint(total), got
	})
	for line := range strings.Lines(inSink("SELECT message FROM syslog")) {
		want[strings.TrimSuffix(line, "\n")]--
	}
	for line, n := range want {
		if n != 0 {
			t.Errorf("%q: %d are missing", line, n)
		}
	}
	const fields = "SELECT facility, severity, appname, peer, logged_at IS NOT NULL, hostname IS NOT NULL, count(*) FROM syslog WHERE message LIKE 'logger%' GROUP BY 1, 2, 3, 4, 5, 6"
	if got := inSink(fields); got != fmt.Sprintf("16|4|billing|127.0.0.1|1|1|%d", 6*each) {
		t.Errorf("what logger says of itself: %s", got)
	}
	const one = "SELECT facility, severity, logged_at, hostname, appname, procid, msgid, structured_data FROM syslog WHERE message LIKE 'rsyslog 2 line 7 %'"
	if got := inSink(one); got != `0|7|2026-11-21T00:07:52.5+01:00|machine|app|7|ID|{"x@1":{"k":"7"}}` {
		t.Errorf("what rsyslog hands on: %s", got)
	}
}

// forward starts an rsyslog that hands on what comes in over the connection
// which is returned.
func forward(t *testing.T, s servers.Service, p place, more ...string) net.Conn {
	t.Helper()
	dir := t.TempDir()
	config := fill(t, "forward.conf", dir, p, more...)
	daemon(t, &lines{}, s.Env, s.Program, "-n", "-x", "-f", config, "-i", filepath.Join(dir, "pid"), "-M", s.Modules)
	port := ""
	eventually(t, "rsyslog to listen", func() (bool, string) {
		text, err := os.ReadFile(filepath.Join(dir, "port"))
		port = strings.TrimSpace(string(text))
		return port != "", fmt.Sprint(err)
	})
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
