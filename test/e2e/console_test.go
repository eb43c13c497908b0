package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestConsolePsql is what the issue shows: SHOW SINKS in psql, a row inserted
// with the server verified and the password bound to it, and 42501 without the
// grant. All topics come, in each form that psql has.
func TestConsolePsql(t *testing.T) {
	need(t, "psql")
	s := secure(t, "")
	psql := func(params, stdin string, args ...string) result {
		t.Helper()
		return command(t, t.TempDir(), strings.NewReader(stdin), "psql", append([]string{"-X", "-w", params}, args...)...)
	}
	rows, boss := s.as("acc", canary), strings.Replace(s.as("boss", canary), "dbname=d", "dbname=holdfast", 1)
	if r := psql(rows, "", "-c", "INSERT INTO acc(a) VALUES ('x')"); r.stdout != "INSERT 0 1\n" {
		t.Fatalf("psql said %q %q", r.stdout, r.stderr)
	}
	s.stored("acc", 1)
	r := psql(rows, "", "-v", "VERBOSITY=verbose", "-c", "INSERT INTO cdr(a) VALUES ('x')")
	if !strings.HasPrefix(r.stderr, "ERROR:  42501: permission denied for table cdr\n") {
		t.Errorf("without the grant psql said %q %q", r.stdout, r.stderr)
	}
	r = psql(strings.Replace(rows, "dbname=d", "dbname=holdfast", 1), "", "-c", "SHOW SINKS")
	if r.code != 2 || !strings.Contains(r.stderr, `FATAL:  permission denied for database "holdfast"`) || !strings.Contains(r.stderr, "console: true") {
		t.Errorf("the console without the grant: %q %q", r.stdout, r.stderr)
	}
	eventually(t, 20*time.Second, "the sink to have the row", func() (bool, string) {
		r := psql(boss, "", "-A", "-t", "-c", "SHOW SINKS")
		return regexp.MustCompile(`(?m)^default\|main\|sqlite\|idle\|1\|0\|0\|0\|`).MatchString(r.stdout), r.stdout + r.stderr
	})
	for _, c := range []struct {
		args []string
		sql  string
		want string // a pattern
	}{
		{nil, "show sinks", `(?s)^ +sink +\| +stream +\| +type +\| +state +\|.* default \| main .*\(1 row\)\n`},
		{[]string{"-x"}, "SHOW SINKS;", `(?s)^-\[ RECORD 1 \]---.*\nsink +\| default\nstream +\| main\ntype +\| sqlite\nstate +\| idle\nseq +\| 1\n`},
		{[]string{"-A", "-t"}, "SHOW STREAMS", `(?m)^main\|ok\|1\|1\|1\|\d+\|\d+\|\d+\|\d{4}-\d\d-\d\d [\d:.]+\+00\|0\|0\|\|[0-9a-f-]{36}$`},
		{[]string{"-A", "-t"}, "SHOW SEGMENTS", `(?m)^main\|1\|active\|1\|1\|\d+\|`},
		{[]string{"-A", "-t"}, "SHOW CLIENTS", `(?m)^\d+\|boss\|holdfast\|psql\|127.0.0.1:\d+\|active\|t\|`},
		{[]string{"-A", "-t"}, "SHOW REJECTS", `^$`},
		{[]string{"-A", "-t"}, "SHOW STATS", `(?m)^holdfast_pg_rows_total\|\|1$`},
		{[]string{"-A", "-t"}, "SHOW CONFIG", `(?m)^users.boss.verifier\|"\(hidden\)"\|t$`},
		{[]string{"-A", "-t"}, "SHOW VERSION", `\|go1\.\d+`},
		{[]string{"-A", "-t"}, "SHOW HELP", `(?m)^SHOW SINKS\|each sink`},
		{[]string{"-A", "-t"}, "SET TIME ZONE 'Asia/Tokyo'; SHOW STREAMS", `[\d:.]+\+09\|`},
	} {
		if r := psql(boss, "", append(c.args, "-c", c.sql)...); !regexp.MustCompile(c.want).MatchString(r.stdout) || r.stderr != "" || r.code != 0 {
			t.Errorf("%q %q: psql said %q %q", c.args, c.sql, r.stdout, r.stderr)
		}
	}
	r = psql(boss, "\\conninfo\n\\timing\n\\x\nshow sinks \\g\n\\d\ninsert into acc(a) values ('y');\nshow help;\n", "-v", "ON_ERROR_STOP=0")
	if strings.Count(r.stderr, "HINT:  this is the console; it takes SHOW HELP, SHOW STREAMS, SHOW SINKS") != 2 || strings.Count(r.stdout, "RECORD 1 ") != 2 {
		t.Errorf("a script on the console: %q %q", r.stdout, r.stderr)
	}
	s.consoleIsStatus(boss, psql)
	s.stored("acc", 1)
	s.stop()
	if at := strings.Index(s.tail(1_000_000), s.verifier[30:60]); at >= 0 {
		t.Error("the console brought a verifier into the log")
	}
}

// consoleIsStatus holds the console against what `holdfast status` says.
func (s *secured) consoleIsStatus(boss string, psql func(params, stdin string, args ...string) result) {
	s.t.Helper()
	var st struct {
		Streams []map[string]any `json:"streams"`
		Sinks   []map[string]any `json:"sinks"`
	}
	said := holdfast(s.t, 0, "status", "--data", s.data, "--json").stdout
	if err := json.Unmarshal([]byte(said), &st); err != nil {
		s.t.Fatal(err)
	}
	for topic, list := range map[string][]map[string]any{"STREAMS": st.Streams, "SINKS": st.Sinks} {
		lines := strings.Split(strings.TrimSpace(psql(boss, "", "-A", "-c", "SHOW "+topic).stdout), "\n")
		names := strings.Split(lines[0], "|")
		for i, one := range list {
			values := strings.Split(lines[i+1], "|")
			same := 0
			for j, name := range names {
				switch is, there := one[name]; {
				case !there, strings.HasSuffix(name, "_seconds"), strings.HasSuffix(name, "since"), name == "free_bytes", name == "rows_per_second", name == "size_bytes", name == "damage":
				case fmt.Sprint(is) != values[j] && !(is == nil && values[j] == ""):
					if n, ok := is.(float64); !ok || fmt.Sprintf("%.0f", n) != values[j] {
						s.t.Errorf("SHOW %s: %s is %q, the status says %v", topic, name, values[j], is)
					}
					same++
				default:
					same++
				}
			}
			if same < 5 {
				s.t.Errorf("SHOW %s shares %d columns with the status only", topic, same)
			}
		}
	}
}
