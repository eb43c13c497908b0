package closing_test

import (
	"context"
	"database/sql"
	"fmt"

	"testing"
)

// everything is a family whose tables have all that a table of the engine can
// have. {ID} is a key that the engine numbers.
var everything = map[string]string{
	"MariaDB": "CREATE TABLE audit (what varchar(20));\n" +
		"CREATE TABLE tariff (id integer PRIMARY KEY); INSERT INTO tariff VALUES (1);\n" +
		"CREATE TABLE `Call log` (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, at integer NOT NULL, who varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT 'x''y' COMMENT 'who''s it'," +
		" tariff integer, cost decimal(10, 2) CHECK (cost >= 0), tax decimal(12, 3) AS (cost * 0.2) STORED, dear boolean AS (cost > 50) VIRTUAL," +
		" changed timestamp NULL DEFAULT current_timestamp ON UPDATE current_timestamp, CONSTRAINT to_tariff FOREIGN KEY (tariff) REFERENCES tariff (id), KEY by_dear (dear), FULLTEXT KEY words (who), CONSTRAINT sane CHECK (at > 0)) COMMENT = 'it''s calls';\n" +
		"CREATE TABLE leg (id integer NOT NULL AUTO_INCREMENT PRIMARY KEY, `call` bigint unsigned NOT NULL, again bigint unsigned, x integer, FOREIGN KEY (again) REFERENCES `Call log` (id), KEY x (x)," +
		" CONSTRAINT of_call FOREIGN KEY (`call`) REFERENCES `Call log` (id) ON DELETE CASCADE, UNIQUE KEY twice (x, id));\n" +
		"CREATE VIEW dear AS SELECT c.id, c.cost, l.id AS leg FROM `Call log` c JOIN leg l ON l.`call` = c.id WHERE c.cost > 1;\n" +
		"SET collation_connection = 'latin1_swedish_ci'; CREATE TRIGGER `no.te` AFTER INSERT ON `Call log` FOR EACH ROW BEGIN IF 'a' = 'A' THEN INSERT INTO audit VALUES ('INSERT'); END IF; INSERT INTO leg (`call`, x) VALUES (NEW.id, 5); END;\n" +
		"CREATE TRIGGER gone AFTER DELETE ON `Call log` FOR EACH ROW INSERT INTO audit VALUES ('DELETE');\n" +
		"DROP USER IF EXISTS app@'127.0.0.1'; CREATE USER app@'127.0.0.1'; GRANT SELECT, INSERT (at, cost, tariff) ON `Call log` TO app@'127.0.0.1'; GRANT SELECT (`call`) ON leg TO app@'127.0.0.1'; GRANT SELECT ON dear TO app@'127.0.0.1'",
	"SQLite": `CREATE TABLE audit (what text);
		CREATE TABLE tariff (id integer PRIMARY KEY); INSERT INTO tariff VALUES (1);
		CREATE TABLE "Call log" (id INTEGER PRIMARY KEY AUTOINCREMENT, at integer NOT NULL, who text COLLATE NOCASE DEFAULT 'x''y', tariff integer REFERENCES tariff (id), cost numeric CHECK (cost >= 0),
			tax numeric GENERATED ALWAYS AS (cost * 0.2) STORED, dear boolean AS (cost > 50) VIRTUAL, CONSTRAINT sane CHECK (at > 0)); -- it's calls
		CREATE TABLE leg (id INTEGER PRIMARY KEY AUTOINCREMENT, "call" integer NOT NULL REFERENCES "Call log" ON DELETE CASCADE, again integer REFERENCES "Call log" (id), x integer, UNIQUE (x, id));
		CREATE INDEX of_call ON leg ("call"); CREATE UNIQUE INDEX "by ""dear" ON "Call log" (dear, lower(who), id) WHERE cost IS NOT NULL;
		CREATE VIEW dear AS SELECT c.id, c.cost, l.id AS leg FROM "Call log" c JOIN leg l ON l."call" = c.id WHERE c.cost > 1;
		CREATE TRIGGER "no.te" AFTER INSERT ON "Call log" BEGIN INSERT INTO audit VALUES ('INSERT'); INSERT INTO leg ("call", x) VALUES (NEW.id, 5); END;
		CREATE TRIGGER gone AFTER DELETE ON "Call log" BEGIN INSERT INTO audit VALUES ('DELETE'); END`,
}

// TestCarriedOverElsewhere is TestCarriedOver where there are no schemas and
// policies: what works on a table works on the one that takes its place, for
// sessions that were open before, and the archives can only be read.
func TestCarriedOverElsewhere(t *testing.T) {
	for _, e := range engines[1:] {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			b := &anyBase{T: t, engine: e, ids: map[string]int64{}}
			b.url, b.db = e.make(t)
			b.f = family(t, `{"name": "calls", "tables": [
				{"type": 1, "name": "Call log", "date": "at", "id_order": true},
				{"type": 2, "name": "leg", "parent": "Call log", "parent_key": "call", "id_order": true}]}`)
			b.inOne(everything[e.name])
			for g := 1; g <= 100; g++ {
				b.exec(fmt.Sprintf("INSERT INTO `Call log` (at, cost, tariff) VALUES (%d, %d, 1)", 1000+g, g))
			}
			open := b.open()
			b.exec("DELETE FROM audit")
			for i, end := range []int64{1050, 1090} {
				r := b.must(end)
				if r.Window.End != end || r.Tables[0].Filed != 50-10*int64(i) || r.Tables[1].Filed != 50-10*int64(i) {
					t.Fatalf("got %+v", r)
				}
				b.sound()
				open.works(int64(i))
				open.may(int64(i))
			}
			last := b.number("SELECT max(id) FROM `Call log`")
			b.exec(fmt.Sprintf("DELETE FROM `Call log` WHERE id = %d", last)) // and its leg goes with it
			if left := b.number(fmt.Sprintf("SELECT count(*) FROM leg WHERE `call` = %d", last)); left != 0 || b.number("SELECT count(*) FROM audit WHERE what = 'DELETE'") != 1 {
				t.Errorf("%d legs are left behind a call that was removed, or no trigger saw it", left)
			}
		})
	}
}

// opened is a session that was open before the tables were swapped.
type opened struct {
	*anyBase
	app           *sql.DB
	insert, count *sql.Stmt
	last          int64
}

// open prepares statements over a table and a view.
func (b *anyBase) open() *opened {
	b.Helper()
	o := &opened{anyBase: b, app: b.asApp(), last: b.number("SELECT max(id) FROM `Call log`")}
	c, err := o.app.Conn(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	prepared := func(query string) *sql.Stmt {
		one, err := c.PrepareContext(context.Background(), query)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { one.Close() })
		return one
	}
	o.insert = prepared("INSERT INTO `Call log` (at, cost) VALUES (2000, ?)")
	o.count = prepared("SELECT count(*) FROM dear WHERE cost > ?")
	return o
}

// works wants the tables to do behind closing i what they did before.
func (o *opened) works(i int64) {
	o.Helper()
	if _, err := o.insert.Exec(7); err != nil {
		o.Fatalf("closing %d: a statement that was prepared before: %v", i+1, err)
	}
	if id := o.number("SELECT max(id) FROM `Call log`"); id <= o.last {
		o.Errorf("closing %d: id %d comes after %d", i+1, id, o.last)
	} else {
		o.last = id
	}
	var seen int64
	if err := o.count.QueryRow(1).Scan(&seen); err != nil || seen != 50-40*i+1+i {
		o.Errorf("closing %d: the view shows %d rows, %v", i+1, seen, err)
	}
	for query, want := range map[string]int64{
		"SELECT count(*) FROM audit WHERE what = 'INSERT'":                             1 + i, // what was put back is no insert of anybody
		"SELECT count(*) FROM audit WHERE what = 'DELETE'":                             0,
		"SELECT count(*) FROM `Call log_all`":                                          101 + i,
		"SELECT count(*) FROM leg_all":                                                 101 + i,
		"SELECT count(*) FROM leg WHERE x = 5":                                         51 - 40*i + i,
		"SELECT count(*) FROM `Call log` WHERE abs(tax - cost * 0.2) < 0.001":          51 - 40*i + i,
		"SELECT count(*) FROM `Call log` WHERE dear":                                   50 - 40*i,
		"SELECT count(*) FROM `Call log` WHERE who = 'x''y' AND tariff IS NULL":        1 + i,
		"SELECT count(*) FROM `Call log_all` WHERE abs(tax - cost * 0.2) < 0.001":      101 + i,
		"SELECT count(*) FROM leg l JOIN `Call log` c ON c.id = l.`call`":              51 - 40*i + i,
		"SELECT count(*) FROM `" + o.archived("leg") + "` l WHERE l.`call` <= 50":      50,
		"SELECT count(*) FROM `" + o.archived("Call log") + "` WHERE dear OR tax >= 0": 50,
	} {
		if got := o.number(query); got != want {
			o.Errorf("closing %d: %s: got %d, want %d", i+1, query, got, want)
		}
	}
}

// may wants what was refused to be refused still, archives to be read only, and
// another user to read of them what he could read before.
func (o *opened) may(i int64) {
	o.Helper()
	o.refused(o.db, fmt.Sprint("closing ", i+1), "INSERT INTO `Call log` (at, cost) VALUES (2000, -1)", "INSERT INTO `Call log` (at) VALUES (0)",
		"INSERT INTO `Call log` (at, tariff) VALUES (2000, 9)", "INSERT INTO leg (`call`) VALUES (900000001)", fmt.Sprintf("INSERT INTO leg (`call`, again) VALUES (%d, 900000001)", o.last),
		"INSERT INTO `Call log` (at, tax) VALUES (2000, 1)")
	oldest := "`" + o.archived("Call log") + "`"
	o.refused(o.db, "the owner of an archive", "DELETE FROM "+oldest, "UPDATE "+oldest+" SET cost = 3", "INSERT INTO "+oldest+" (at) VALUES (1001)")
	if o.name != "MariaDB" {
		return
	}
	o.refused(o.app, "another user", "DELETE FROM `Call log`", "SELECT id FROM leg", "INSERT INTO `Call log` (at, who) VALUES (2000, 'x')", "DELETE FROM "+oldest)
	for _, query := range []string{"SELECT count(*) FROM " + oldest, "SELECT count(`call`) FROM `" + o.archived("leg") + "`", "SELECT count(`call`) FROM leg", "SELECT count(*) FROM `Call log_all`"} {
		var n int64
		if err := o.app.QueryRow(query).Scan(&n); err != nil || n == 0 {
			o.Errorf("closing %d: another user: %s: %d, %v", i+1, query, n, err)
		}
	}
}

// inOne runs statements in one session.
func (b *anyBase) inOne(text string) {
	b.Helper()
	db := b.db
	if b.name == "MariaDB" {
		db = pool(b.T, "mysql", "root@tcp("+sharedMariaDB.server.Addr()+")/"+b.database()+"?multiStatements=true")
	}
	if _, err := db.Exec(text); err != nil {
		b.Fatal(err)
	}
}

// asApp returns a pool for a user who has few rights, where there are users.
func (b *anyBase) asApp() *sql.DB {
	b.Helper()
	if b.name != "MariaDB" {
		return b.db
	}
	return pool(b.T, "mysql", "app@tcp("+sharedMariaDB.server.Addr()+")/"+b.database())
}

// archived returns the name of the oldest archived table.
func (b *anyBase) archived(table string) (name string) {
	b.Helper()
	if err := b.db.QueryRow("SELECT table_name FROM archives WHERE table_name LIKE '" + table + "%' ORDER BY start_date LIMIT 1").Scan(&name); err != nil {
		b.Fatal(err)
	}
	return name
}

// refused wants every statement to be.
func (b *anyBase) refused(db *sql.DB, who string, statements ...string) {
	b.Helper()
	for _, one := range statements {
		if _, err := db.Exec(one); err == nil {
			b.Errorf("%s: %s is not refused", who, one)
		}
	}
}
