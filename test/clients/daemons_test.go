package clients

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/test/servers"
)

// find looks for a program that is a service.
func find(t *testing.T, name, module string) (s servers.Service, missing string) {
	t.Helper()
	s, ok := servers.FindService(t, root, name, module)
	if !ok {
		return s, name
	}
	s.Env = append(s.Env, "TZ=UTC", "LC_ALL=C.UTF-8")
	return s, ""
}

// fill writes a file of testdata with its @NAMES@ replaced.
func fill(t *testing.T, file, dir string, p place, more ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	names := append([]string{"@DIR@", dir, "@HOST@", p.host, "@PORT@", p.port, "@USER@", p.user, "@PASSWORD@", "none", "@DATABASE@", database}, more...)
	to := filepath.Join(dir, file)
	if err := os.WriteFile(to, []byte(strings.NewReplacer(names...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// arrived waits until a table has rows, where what is written arrives. It
// returns how many there are.
func arrived(t *testing.T, p place, table string, rows int) step {
	t.Helper()
	var n string
	eventually(t, fmt.Sprintf("%d rows in %s by %s", rows, table, p.name), func() (bool, string) {
		n = query(t, p.arrives, "SELECT count(*) FROM "+table)[0]
		got, err := strconv.Atoi(n)
		return err == nil && got >= rows, n
	})
	return step{table, n + " rows"}
}

// daemonClients are programs that run for long, and write what they are sent.
func daemonClients(t *testing.T) []client {
	rsyslogd, noRsyslog := find(t, "rsyslogd", "rsyslog/ompgsql.so")
	kamailio, noKamailio := find(t, "kamailio", "kamailio/modules/db_postgres.so")
	extra := "src_user varchar(64), src_ip varchar(64), dst_user varchar(64), ua varchar(255)"
	acc := func(name string) string {
		return "CREATE TABLE " + name + ` (id serial PRIMARY KEY, method varchar(16) DEFAULT '' NOT NULL, from_tag varchar(128) DEFAULT '' NOT NULL,
 to_tag varchar(128) DEFAULT '' NOT NULL, callid varchar(255) DEFAULT '' NOT NULL, sip_code varchar(3) DEFAULT '' NOT NULL,
 sip_reason varchar(128) DEFAULT '' NOT NULL, time timestamp NOT NULL, ` + extra + ");"
	}
	return []client{
		{
			name: "rsyslog, ompgsql", needs: func() string { return noRsyslog }, tables: []string{"systemevents"}, masked: []string{"receivedat"},
			ddl: `CREATE TABLE SystemEvents (ID serial PRIMARY KEY, CustomerID bigint, ReceivedAt timestamp, DeviceReportedTime timestamp, Facility smallint,
 Priority smallint, FromHost varchar(60), Message text, NTSeverity int, Importance int, EventSource varchar(60), EventUser varchar(60), EventCategory int,
 EventID int, EventBinaryData text, MaxAvailable int, CurrUsage int, MinUsage int, MaxUsage int, InfoUnitID int, SysLogTag varchar(60), EventLogType varchar(60),
 GenericFileName varchar(60), SystemID int);`,
			run: func(t *testing.T, p place) seen { return runRsyslog(t, p, rsyslogd) },
		},
		{
			name: "Kamailio, db_postgres", needs: func() string { return noKamailio }, tables: []string{"acc", "missed_calls", "acc_cdrs"},
			masked: []string{"time", "start_time", "end_time", "duration"}, order: "1",
			ddl: acc("acc") + acc("missed_calls") + `CREATE TABLE acc_cdrs (id serial PRIMARY KEY, start_time timestamp NOT NULL, end_time timestamp NOT NULL,
 duration real NOT NULL, caller varchar(128), call_id varchar(255));`,
			run: func(t *testing.T, p place) seen { return runKamailio(t, p, kamailio) },
		},
	}
}

// runRsyslog sends a hundred messages through rsyslog.
func runRsyslog(t *testing.T, p place, s servers.Service) seen {
	dir := t.TempDir()
	version := command(t, p, nil, "env", append(slices.Clip(s.Env), s.Program, "-v")...)
	log := &lines{}
	config := fill(t, "rsyslog.conf", dir, p)
	d := daemon(t, log, s.Env, s.Program, "-n", "-x", "-f", config, "-i", filepath.Join(dir, "pid"), "-M", s.Modules)
	port := ""
	eventually(t, "rsyslog to listen", func() (bool, string) {
		text, err := os.ReadFile(filepath.Join(dir, "port"))
		port = strings.TrimSpace(string(text))
		return port != "", fmt.Sprint(err, log)
	})
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 100 {
		said := []string{"plain", "it's quoted", `back\slash \n and "more"`, "h\u00e9\u00df \U0001F600", "'; DROP TABLE systemevents; --"}[i%5]
		if _, err := fmt.Fprintf(c, "<%d>1 2026-11-21T00:%02d:52.5+01:00 machine app %d - - %s %d\n", i%190, i%60, i, said, i); err != nil {
			t.Fatal(err)
		}
	}
	got := []step{arrived(t, p, "systemevents", 100)}
	if err := d.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(version.stdout)
	return seen{version: fields[min(1, len(fields)-1)], steps: got}
}

// A phone speaks just enough SIP to call and to be called, through a proxy.
type phone struct {
	t    *testing.T
	conn *net.UDPConn
	to   *net.UDPAddr
}

func newPhone(t *testing.T) *phone {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &phone{t: t, conn: c}
}

func (p *phone) port() string { return strconv.Itoa(p.conn.LocalAddr().(*net.UDPAddr).Port) }

// hear returns the next message that begins so; others are left out. "" where
// none comes in time.
func (p *phone) hear(begins string, within time.Duration) string {
	p.t.Helper()
	buf := make([]byte, 65536)
	_ = p.conn.SetReadDeadline(time.Now().Add(within))
	for {
		n, _, err := p.conn.ReadFromUDP(buf)
		if err != nil {
			return ""
		}
		if strings.HasPrefix(string(buf[:n]), begins) {
			return string(buf[:n])
		}
	}
}

// ask sends a request until another phone hears it, and returns what that heard.
func (p *phone) ask(text string, other *phone, begins string) string {
	p.t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; {
		if _, err := p.conn.WriteTo([]byte(text), p.to); err != nil {
			p.t.Fatal(err)
		}
		if heard := other.hear(begins, time.Second); heard != "" {
			return heard
		}
	}
	p.t.Fatalf("nobody answers to %q", text)
	return ""
}

// told returns the first line of the answer that begins so, and the whole.
func (p *phone) told(begins string) (line, whole string) {
	p.t.Helper()
	whole = p.hear(begins, time.Minute)
	line, _, _ = strings.Cut(whole, "\r\n")
	return line, whole
}

// header returns all lines of a message with that name.
func header(text string, names ...string) string {
	var b strings.Builder
	for _, name := range names {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, name+":") {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}
