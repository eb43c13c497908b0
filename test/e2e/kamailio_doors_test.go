package e2e

import (
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kamailioKeys is what docs/kamailio.md names for repeats.
const kamailioKeys = "  dedupe:\n" +
	"    acc: {window: 1h, key: [callid, method, from_tag, to_tag, sip_code, time]}\n" +
	"    missed_calls: {window: 1h, key: [callid, method, from_tag, to_tag, sip_code, time]}\n" +
	"    acc_cdrs: {window: 1h, key: [call_id, start_time, end_time, duration]}\n"

// The columns of acc and missed_calls with time_mode 2, and of acc_cdrs, in the
// order in which Kamailio has them.
const (
	sentColumns = "method,from_tag,to_tag,callid,sip_code,sip_reason,time,time_attr,src_user,src_domain,src_ip,dst_ouser,dst_user,dst_domain,ua,tag"
	cdrColumns  = "start_time,end_time,duration,caller,callee,call_id"
)

// kamailioLine is a Kamailio that writes with one of its drivers.
type kamailioLine struct {
	name string
	spy  *spy
	*exchange
}

// kamailioLines are one for each driver, and one that says INSERT DELAYED. Each
// has a module that asks for the version of its table, as acc does not.
func kamailioLines(t *testing.T) (lines []*kamailioLine) {
	for _, k := range []struct{ name, driver, more string }{
		{"db_mysql", "db_mysql", `modparam("db_mysql", "ping_interval", 1)`},
		{"db_postgres", "db_postgres", ""},
		{"db_mysql, delayed", "db_mysql", `modparam("acc", "db_insert_mode", 1)`},
	} {
		spy := newSpy(t, k.driver == "db_mysql")
		url := strings.TrimPrefix(k.driver, "db_") + "://kamailio@" + spy.listener.Addr().String() + "/acc"
		x := newExchange(t, k.driver, url, k.more, `modparam("acc", "time_mode", 2)`,
			`loadmodule "msilo.so"`, `modparam("msilo", "db_url", "`+url+`")`, `modparam("msilo", "check_time", 86400)`)
		lines = append(lines, &kamailioLine{k.name, spy, x})
	}
	return lines
}

// TestKamailioDoors makes calls through real Kamailios that write with their
// drivers for MySQL and for PostgreSQL. MariaDB is stopped behind Holdfast for a
// while, Holdfast is killed, and connections break in front of INSERTs and in
// place of their answers: what was answered is in MariaDB and in PostgreSQL once.
func TestKamailioDoors(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	t.Parallel() // it waits most of the time
	lines, d, data := kamailioLines(t), startDatabases(t), dataDir(t)
	tables := holdfast(t, 0, "profile", "kamailio", "--cfg", lines[0].cfg(), "--zone", "UTC").stdout
	tables = strings.Replace(tables, "  declared:\n", kamailioKeys+"  declared:\n    silo: {version: 8, columns: [id bigint]}\n", 1)
	sinks := d.config()
	sinks = sinks[strings.Index(sinks, "sinks:"):]
	o := options{config: configure(t, data, "listen: {mysql: \"127.0.0.1:0\"}\n"+tables+sinks)}
	rate, part := 40, time.Second
	if long() {
		rate, part = 100, 30*time.Second
	}
	s := start(t, data, o)
	aim := func() {
		for _, x := range lines {
			x.spy.aim(t, s)
		}
	}
	aim()
	var calls []*exec.Cmd
	for _, x := range lines {
		x.start()
		x.sipp("-sf", "@uas.xml", "-p", x.phone)
		all := strconv.Itoa(6 * rate * int(part.Seconds()))
		calls = append(calls, x.sipp("-sf", "@uac.xml", "-inf", "@users.csv", "-recv_timeout", "5000", "-r", strconv.Itoa(rate), "-m", all, "-p", freeUDP(t), "127.0.0.1:"+x.sip))
	}
	time.Sleep(part)
	d.maria.Stop()
	time.Sleep(2 * part)
	s.kill()
	s = start(t, data, o)
	aim()
	time.Sleep(part)
	d.maria.Start()
	for i, x := range lines {
		if err := calls[i].Wait(); err != nil {
			t.Logf("%s: sipp: %v", x.name, err) // what matters is what Kamailio was answered
		}
		x.end(x.kamailio, syscall.SIGTERM)
	}
	s.delivered(2 * time.Minute)
	s.stop()
	seen := &insertsSeen{sent: map[string]map[string]bool{}, acked: map[string]map[string]bool{}}
	for _, x := range lines {
		x.spy.report(t, x.name, seen)
	}
	seen.compare(t, d, data)
}

// aim points a spy at a server.
func (p *spy) aim(t *testing.T, s *server) {
	t.Helper()
	to := s.pg
	if p.mysql {
		to = net.JoinHostPort(s.mysqlAddr(t))
	}
	p.target.Store(&to)
}

// insertsSeen are the rows that Kamailio sent, and those that it was answered,
// by their tables.
type insertsSeen struct {
	sent, acked map[string]map[string]bool
}

// report adds what a spy has seen.
func (p *spy) report(t *testing.T, name string, seen *insertsSeen) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for text := range p.errors {
		t.Errorf("%s: refused: %.600s", name, text)
	}
	again := 0
	for text, n := range p.sent {
		table, values := p.parse(t, text)
		if seen.sent[table] == nil {
			seen.sent[table], seen.acked[table] = map[string]bool{}, map[string]bool{}
		}
		seen.sent[table][values] = true
		if p.acked[text] {
			seen.acked[table][values] = true
		}
		again += n - 1
	}
	version := ""
	for text := range p.others {
		if strings.Contains(text, "table_version") {
			version = text
		}
	}
	t.Logf("%s: %d INSERTs, %d of them again; %d connections broken in front of one, %d answers lost; besides: %v", name, p.inserts, again, p.before, p.lost, p.others)
	if version == "" || p.before == 0 || p.lost == 0 || again < p.lost {
		t.Errorf("%s: nothing was tried", name)
	}
}

// compare holds what is in the databases against what was sent and answered.
func (seen *insertsSeen) compare(t *testing.T, d *databases, data string) {
	t.Helper()
	for _, k := range d.destinations(t, data) {
		if k.name != "pg" && k.name != "maria" {
			continue
		}
		for table, names := range map[string]string{"acc": sentColumns, "missed_calls": sentColumns, "acc_cdrs": cdrColumns} {
			sent, acked, got := seen.sent[table], seen.acked[table], map[string]int{}
			for _, r := range k.rows(t, table, plainTimes(k.name, names)) {
				got[plainRow(names, r)]++
			}
			for row, n := range got {
				if n != 1 || !sent[row] {
					t.Errorf("%s: %s: a row is there %d times, sent: %v: %q", k.name, table, n, sent[row], row)
				}
			}
			for row := range acked {
				if got[row] != 1 {
					t.Errorf("%s: %s: a row that was answered is there %d times: %q", k.name, table, got[row], row)
				}
			}
			if len(acked) < 20 {
				t.Errorf("only %d rows of %s were answered: nothing was tried", len(acked), table)
			}
			t.Logf("%s: %s: %d rows, %d sent, %d answered", k.name, table, len(got), len(sent), len(acked))
		}
	}
}

// plainTimes selects columns, moments as Kamailio wrote them; in brackets, so that
// the rows have an order.
func plainTimes(engine, names string) string {
	list := strings.Split(names, ",")
	for i, n := range list {
		switch {
		case n != "time" && n != "start_time" && n != "end_time":
		case engine == "pg":
			list[i] = "to_char(" + n + " AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
		case engine == "maria":
			list[i] = "DATE_FORMAT(" + n + ", '%Y-%m-%d %H:%i:%S')"
		}
	}
	return "(" + list[0] + "), " + strings.Join(list[1:], ", ")
}

// plainRow makes one text of a row, with numbers written alike.
func plainRow(names string, r []string) string {
	list := strings.Split(names, ",")
	for name, digits := range map[string]int{"duration": 5, "time_attr": 16} {
		if i := slices.Index(list, name); i >= 0 {
			if f, err := strconv.ParseFloat(strings.TrimSpace(r[i]), 64); err == nil {
				r[i] = strconv.FormatFloat(f, 'g', digits, 64)
			}
		}
	}
	return strings.Join(r, "|")
}

var (
	mysqlForm  = regexp.MustCompile("^insert (?:delayed )?into `(\\w+)` \\(([\\w,`]+) *\\) values \\((.*)\\)$")
	mysqlValue = regexp.MustCompile(`^\s*(?:'((?s:[^'\\]|\\.|'')*)'|(NULL)|([-0-9.]+))\s*(?:,|$)`)
	mysqlPlain = strings.NewReplacer(`\'`, `'`, `\"`, `"`, `\\`, `\`, `\n`, "\n", `\r`, "\r", `\0`, "\x00", `\Z`, "\x1a", `''`, `'`)
)

func (p *spy) form() *regexp.Regexp {
	if p.mysql {
		return mysqlForm
	}
	return insertForm
}

// parse returns the table and the values of an INSERT as Kamailio's driver has
// written it.
func (p *spy) parse(t *testing.T, text string) (table, values string) {
	t.Helper()
	m := p.form().FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%q has another form", text)
	}
	value, plain := valueForm, strings.NewReplacer("''", "'")
	if p.mysql {
		value, plain = mysqlValue, mysqlPlain
	}
	names := strings.ReplaceAll(m[2], "`", "")
	if want := map[string]string{"acc": sentColumns, "missed_calls": sentColumns, "acc_cdrs": cdrColumns}[m[1]]; names != want {
		t.Fatalf("%q names the columns %q, want %q", text, names, want)
	}
	var list []string
	for rest := m[3]; rest != ""; {
		v := value.FindStringSubmatch(rest)
		if v == nil {
			t.Fatalf("read the values of %q at %q", text, rest)
		}
		switch {
		case v[2] != "":
			list = append(list, null)
		case v[3] != "":
			list = append(list, v[3])
		default:
			list = append(list, plain.Replace(v[1]))
		}
		rest = rest[len(v[0]):]
	}
	if len(list) != strings.Count(names, ",")+1 {
		t.Fatalf("%d values for the columns of %q", len(list), text)
	}
	return m[1], plainRow(names, list)
}
