package e2e

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"holdfast/test/servers"
)

// mysqlAddr returns the address of the MySQL door.
func (s *server) mysqlAddr(t *testing.T) (host, port string) {
	t.Helper()
	r, err := http.Get(s.url("/v1/status"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var st struct {
		Listen struct {
			MySQL string `json:"mysql"`
		} `json:"listen"`
	}
	if err := json.NewDecoder(r.Body).Decode(&st); err != nil {
		t.Fatal(err)
	}
	if host, port, err = net.SplitHostPort(st.Listen.MySQL); err != nil {
		t.Fatalf("the MySQL door is at %q: %v", st.Listen.MySQL, err)
	}
	return host, port
}

const mysqlTable = `CREATE TABLE calls (id bigint PRIMARY KEY, method varchar(64), n int, price decimal(10,3), at datetime, raw blob) CHARACTER SET utf8mb4`

// mysqlScript is what MariaDB's own client sends to MariaDB and to Holdfast.
const mysqlScript = `
/*!40101 SET NAMES utf8mb4 */;
INSERT INTO calls (id, method, n, price, at, raw) VALUES (1, 'it''s \\ "\n\t', -7, 1.471000, '2026-11-21 00:47:52', 'a\0b'), (2, "dou""ble\Z", NULL, 1e2, FROM_UNIXTIME(1795218472), 0x00ff27);
insert low_priority into ` + "`calls` (`id`, `method`" + ` ) values (3, 'a' 'b') # comment
;
INSERT INTO calls SET ID = 4, method = N'ä€', raw = '𝄞', at = '2026-11-21';
BEGIN;
INSERT INTO calls (id) VALUES (5);
SAVEPOINT s;
INSERT INTO calls (id) VALUES (6);
ROLLBACK TO s;
COMMIT;
START TRANSACTION;
INSERT INTO calls (id) VALUES (7);
ROLLBACK;
SET autocommit = 0;
INSERT INTO calls (id, n) VALUES (8, TRUE);
SET autocommit = 1;
INSERT IGNORE INTO calls (id, method) VALUES (1, 'there already');
INSERT INTO calls VALUES (9, 'all', 1, 2, '2026-01-02 03:04:05', NULL);
`

// TestMySQLClient sends the same script with MariaDB's client to MariaDB, and
// to Holdfast with MariaDB behind it: the rows must be the same.
func TestMySQLClient(t *testing.T) {
	need(t, "mariadb")
	d := &databases{maria: servers.MariaDB(t)}
	maria, whole := d.maria, d.openMaria(t, "")
	direct, behind := d.openMaria(t, "direct"), d.openMaria(t, "behind")
	for name, db := range map[string]*sql.DB{"direct": direct, "behind": behind} {
		if _, err := whole.Exec("CREATE DATABASE " + name); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(mysqlTable); err != nil {
			t.Fatal(err)
		}
	}
	data := dataDir(t)
	s := start(t, data, options{config: configure(t, data, fmt.Sprintf(`listen: {mysql: "127.0.0.1:0"}
tables: {auto: false, zone: UTC}
sinks: {maria: {type: mysql, url: %q, create: never, authority: [calls]}}
`, maria.URL("behind")))})
	host, port := s.mysqlAddr(t)
	if _, err := whole.Exec("SET GLOBAL time_zone = '+00:00'"); err != nil {
		t.Fatal(err)
	}
	mhost, mport, err := net.SplitHostPort(maria.Addr())
	if err != nil {
		t.Fatal(err)
	}
	user, _, _ := strings.Cut(strings.TrimPrefix(maria.URL(""), "mysql://"), "@")
	for _, to := range [][]string{{"-h", mhost, "-P", mport, "-u", user, "direct"}, {"-h", host, "-P", port, "-u", "u", "behind"}} {
		r := command(t, t.TempDir(), strings.NewReader(mysqlScript), "mariadb", append([]string{"--no-defaults", "--protocol=tcp", "--default-character-set=utf8mb4"}, to...)...)
		if r.code != 0 {
			t.Fatalf("mariadb %v: exit code %d\n%s", to, r.code, r.stderr)
		}
	}
	s.delivered(time.Minute)
	const all = "SELECT id, hex(method), n, price, at, hex(raw) FROM calls ORDER BY id"
	if got, want := fmt.Sprint(query(t, behind, all)), fmt.Sprint(query(t, direct, all)); got != want || want == "[]" {
		t.Errorf("behind Holdfast\n%s\nin MariaDB itself\n%s", got, want)
	}
}

// TestMySQLKill kills the server while prepared statements write, and finds
// every row that was answered.
func TestMySQLKill(t *testing.T) {
	data := dataDir(t)
	config := configure(t, data, "listen: {mysql: \"127.0.0.1:0\"}\ntables: {auto: true}\n")
	s := start(t, data, options{config: config})
	host, port := s.mysqlAddr(t)
	db, err := sql.Open("mysql", "u@tcp("+net.JoinHostPort(host, port)+")/d")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(4)
	var acked [4]atomic.Int64
	ended := make(chan struct{}, len(acked))
	for w := range acked {
		go func() {
			defer func() { ended <- struct{}{} }()
			st, err := db.Prepare("INSERT INTO k (w, n) VALUES (?, ?)")
			if err != nil {
				return
			}
			for n := int64(1); ; n++ {
				if _, err := st.Exec(w, n); err != nil {
					return
				}
				acked[w].Store(n)
			}
		}()
	}
	eventually(t, time.Minute, "each writer to have 20 rows answered", func() (bool, string) {
		var have []int64
		for w := range acked {
			have = append(have, acked[w].Load())
		}
		return min(have[0], have[1], have[2], have[3]) >= 20, fmt.Sprint(have)
	})
	s.kill()
	for range acked {
		<-ended
	}
	again := start(t, data, options{config: config})
	again.delivered(time.Minute)
	rows := openSink(t, data)
	for w := range acked {
		n, distinct := acked[w].Load(), 0
		if err := rows.QueryRow("SELECT count(DISTINCT n) FROM k WHERE w = ? AND n <= ?", w, n).Scan(&distinct); err != nil || int64(distinct) != n {
			t.Errorf("writer %d: %d of %d answered rows are there (%v)", w, distinct, n, err)
		}
		if more := count(t, rows, fmt.Sprintf("k WHERE w = %d AND n > %d", w, n)); more > 1 {
			t.Errorf("writer %d: %d rows behind the last one answered", w, more)
		}
	}
}
