package mywire

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestStatements sends text and looks at what is stored, or at the number of
// the error.
func TestStatements(t *testing.T) {
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ sql, want string }{
		{"insert into `acc` (`method`,`time` ) values ('INVITE',FROM_UNIXTIME(1795218472))", "acc method=INVITE time=2026-11-21 00:47:52"},
		{"insert delayed into a values (1)", "!1146"},
		{"INSERT IGNORE INTO d.a SET x=1, `y z`=\"q\"\"r\";", "a ignore x=1 y z=q\"r"},
		{"INSERT INTO other.a(x) VALUES (1)", "!1049"},
		{"/* c */ insert -- c\n into # c\n a(x)/**/values(1)", "a x=1"},
		{"insert into a(x) values ('a' 'b\\'' \"c\")", "a x=ab'c"},
		{`insert into a(x) values ('\0')`, "!1366"},
		{"insert into a(x) values ('\xff')", "!1366"},
		{`insert into a(x) values ('\%\_\q\t')`, "a x=\\%\\_q\t"},
		{"insert into a(x) values (0x4a4B),(x'4a'),(_utf8mb4'ä'),(_binary 'b'),(N'n'),(0x141)", "a x=JK\na x=J\na x=ä\na x=b\na x=n\na x=\x01A"},
		{"insert into a(x) values (x'4')", "!1064"},
		{"insert into a(x) values (_latin1'b')", "!1235"},
		{"insert into a(x) values (true),(NULL),(-1.5e3),(+.5),(1.)", "a x=1\na x=NULL\na x=-1.5e3\na x=.5\na x=1."},
		{"insert into a(x) values (NOW(3)),(curdate()),(current_time),(unix_timestamp()),(utc_timestamp)", "a x=2026-11-21 01:04:56.789\na x=2026-11-21\na x=01:04:56\na x=1795219496\na x=2026-11-21 00:04:56"},
		{"set time_zone='-02:30'", "ok"},
		{"set time_zone='Mars/Base'", "!1298"},
		{"insert into a(x) values (1+1)", "!1235"},
		{"insert into a(x) values (concat('a'))", "!1235"},
		{"insert into a(x) values (default)", "!1235"},
		{"insert into a(x,y) values (1,2),(3)", "!1136"},
		{"insert into a(x,X) values (1,2)", "!1110"},
		{"insert into a(x) values (1) on duplicate key update x=2", "!1235"},
		{"insert into a(x) values (1) returning id", "!1235"},
		{"insert into a(x) select 1", "!1235"},
		{"insert into a(x) values (1); insert into a(x) values (2)", "!1235"},
		{"insert into a(x) values ('1", "!1064"},
		{"insert into a(x) values (?)", "!1064"},
		{"insert into a(x) values (1.2.3)", "!1064"},
		{"insert into a(x) values (1) /* open", "!1064"},
		{"insert into a(x) values (1 /*! +1 */)", "!1235"},
		{"replace into a(x) values (1)", "!1235"},
		{"update a set x=1", "!1290"},
		{"load data infile '/etc/passwd' into table a", "!1290"},
		{"select * from a", "!1290"},
		{"select a from mysql.user", "!1290"},
		{"set names latin1", "!1235"},
		{"set sql_mode='ANSI_QUOTES'", "!1235"},
		{"set global x=1", "!1227"},
		{"set nonsense=1", "!1193"},
		{"SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci', autocommit=1, @a=@@sql_mode", "ok"},
		{"/*!40101 SET NAMES utf8 */;", "ok"},
		{"use x", "ok"},
		{"insert into " + strings.Repeat("x", 65) + "(x) values (1)", "!1059"},
		{"", "!1065"},
	} {
		name := c.sql
		if len(name) > 40 {
			name = name[:40]
		}
		t.Run(name, func(t *testing.T) {
			store := newStore(nil)
			db := open(t, startServer(t, Options{Store: store, Zone: vienna}), "u", "")
			_, err := db.Exec(c.sql)
			got := store.all()
			switch {
			case err != nil:
				got = fmt.Sprintf("!%d", number(t, err))
			case got == "":
				got = "ok"
			}
			if got != c.want {
				t.Errorf("%s\ngot  %q (%v)\nwant %q", c.sql, got, err, c.want)
			}
		})
	}
}

// TestTypes gives values the form that the column's type needs.
func TestTypes(t *testing.T) {
	for _, c := range []struct{ sql, want string }{
		{"insert into v(n,b) values (0x10, 'a\\\\x')", `v n=16 b=\x615c78`},
		{"insert into v(b) values (0x00ff),(_binary'\\0\xff'),(12)", "v b=\\x00ff\nv b=\\x00ff\nv b=\\x3132"},
		{"insert into v(at) values (now()),(from_unixtime(0.5)),('2026-11-21')", "v at=2026-11-21 00:04:56+00:00\nv at=1970-01-01 00:00:00.5+00:00\nv at=2026-11-21"},
		{"insert into v(at) values ('now')", "!1292"},
		{"insert into v(at) values ('')", "!1292"},
		{"insert into v(nope) values (1)", "!1054"},
		{"insert into w(n) values (1)", "!1146"},
		{"insert into v values (1,2,3,4,'2026-11-21')", `v n=1 s=2 b=\x33 f=4 at=2026-11-21`},
		{"insert into v values (1)", "!1136"},
	} {
		store := newStore(typed)
		db := open(t, startServer(t, Options{Store: store}), "u", "")
		_, err := db.Exec(c.sql)
		got := store.all()
		if err != nil {
			got = fmt.Sprintf("!%d", number(t, err))
		}
		if got != c.want {
			t.Errorf("%s\ngot  %q (%v)\nwant %q", c.sql, got, err, c.want)
		}
		db.Close()
	}
}
