package pgwire

import (
	"net"
	"os/exec"
	"strings"
	"testing"
)

func TestPsql(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("psql is not installed")
	}
	store := newMemStore(true)
	_, addr := startServer(t, store)
	host, port, _ := net.SplitHostPort(addr)
	run := func(script string) string {
		cmd := exec.Command(psql, "-X", "-q", "-A", "-t", "-h", host, "-p", port, "-U", "tester", "-d", "d")
		cmd.Stdin = strings.NewReader(script)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("psql: %v\n%s", err, out)
		}
		return string(out)
	}
	out := run(`INSERT INTO calls(caller, callee, seconds) VALUES ('alice','bob',42);
select 1; select version(); show transaction_read_only;
copy calls (caller, seconds) from stdin;
carol	7
\N	8
\.
select * from calls;
update calls set seconds = 1;
begin; insert into calls(caller) values ('x'); rollback;
begin; insert into calls(caller) values (E'y\n'); commit;
\copy calls (caller) from pstdin csv
"a,b"
\.
`)
	t.Log(out)
	t.Log(strings.Join(store.taken(), "\n"))
}
