package pgwire

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPsql holds the whole way against the client that most people use.
func TestPsql(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("psql is not installed")
	}
	store := newMemStore(true)
	_, addr := startServer(t, store)
	host, port, _ := net.SplitHostPort(addr)
	for _, c := range []struct{ script, out, rows string }{
		{"INSERT INTO calls(caller, callee, seconds) VALUES ('alice','bob',42);", "INSERT 0 1\n", "calls(caller,callee,seconds)=alice|bob|42"},
		{"select 1; show transaction_read_only;", "1\noff\n", ""},
		{"copy calls (caller, seconds) from stdin;\ncarol\t7\n\\N\t8\n\\.\n", "COPY 2\n", "calls(caller,seconds)=carol|7\ncalls(caller,seconds)=NULL|8"},
		{"\\copy calls (caller) from pstdin csv\n\"a,b\"\n\\.\n", "COPY 1\n", "calls(caller)=a,b"},
		{"begin; insert into calls(caller) values ('x'); rollback;", "BEGIN\nINSERT 0 1\nROLLBACK\n", ""},
		{"begin;\ninsert into calls(caller) values (E'y\\tz');\ncommit;", "BEGIN\nINSERT 0 1\nCOMMIT\n", "calls(caller)=y\tz"},
		{"delete from calls; insert into calls(caller) values ('after');", "ERROR:  statement \"delete\" is not taken\nLINE 1: delete from calls;\n        ^\nHINT:  " + insertOnly + "\nINSERT 0 1\n", "calls(caller)=after"},
	} {
		cmd := exec.Command(psql, "-X", "-A", "-t", "-h", host, "-p", port, "-U", "tester", "-d", "d")
		cmd.Stdin = strings.NewReader(c.script)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("psql: %v", err)
		}
		want(t, c.script, string(out), c.out)
		want(t, c.script+": rows", strings.Join(store.taken(), "\n"), c.rows)
	}
}

// TestPgbench runs its three modes, each of which speaks another part of the
// protocol.
func TestPgbench(t *testing.T) {
	pgbench, err := exec.LookPath("pgbench")
	if err != nil {
		t.Skip("pgbench is not installed")
	}
	store := newMemStore(true)
	_, addr := startServer(t, store)
	host, port, _ := net.SplitHostPort(addr)
	script := filepath.Join(t.TempDir(), "script.sql")
	if err := os.WriteFile(script, []byte("\\set a random(1, 9)\ninsert into b(a, b) values (:a, 'x');\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"simple", "extended", "prepared"} {
		out, err := exec.Command(pgbench, "-n", "-f", script, "-M", mode, "-c", "2", "-t", "50", "-h", host, "-p", port, "-U", "tester", "d").CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", mode, err, out)
		}
		if rows := store.taken(); len(rows) != 100 {
			t.Errorf("%s: %d rows arrived, want 100", mode, len(rows))
		}
	}
}
