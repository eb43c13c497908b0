package closing_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"holdfast/archive/closing"
	"holdfast/archive/dialect"
)

// oddly is a family of three levels whose names want quoting, each for another
// reason.
const oddly = `{"name": "odd", "catalogue": "my Archives", "unit": "time", "tables": [
	{"type": 1, "name": "Order \"x\" ümläut", "key": "Select", "date": "from", "id_order": true},
	{"type": 2, "name": "group", "key": "ID", "parent": "Order \"x\" ümläut", "parent_key": "order", "id_order": true},
	{"type": 3, "name": "it's", "key": "a b", "parent": "group", "parent_key": "where"}]}`

var oddTables = map[string]string{
	"PostgreSQL": `CREATE TABLE "Order ""x"" ümläut" ("Select" bigserial PRIMARY KEY, "from" timestamptz NOT NULL, "ta	b" text);
		CREATE TABLE "group" ("ID" integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "order" bigint REFERENCES "Order ""x"" ümläut", "Ünï" text, CONSTRAINT "group" CHECK ("Ünï" <> 'it''s'));
		CREATE TABLE "it's" ("a b" serial PRIMARY KEY, "where" integer REFERENCES "group" ON DELETE CASCADE, "c""d" numeric(10, 2) DEFAULT 0);
		CREATE INDEX "idx "" 1" ON "it's" ("where", "c""d");
		INSERT INTO "Order ""x"" ümläut" ("from") SELECT '1970-01-01 00:00:00+00'::timestamptz + g * interval '1 s' FROM generate_series(1, 100) g;
		INSERT INTO "group" ("order", "Ünï") SELECT g, 'ö' FROM generate_series(1, 100) g;
		INSERT INTO "it's" ("where") SELECT g FROM generate_series(1, 100) g`,
	"MariaDB": "SET time_zone = '+00:00'; CREATE TABLE `Order \"x\" ümläut` (`Select` bigint AUTO_INCREMENT PRIMARY KEY, `from` datetime NOT NULL, `ta	b` text);" +
		"CREATE TABLE `group` (`ID` int AUTO_INCREMENT PRIMARY KEY, `order` bigint, `Ünï` text, CONSTRAINT `grö` FOREIGN KEY (`order`) REFERENCES `Order \"x\" ümläut` (`Select`), CONSTRAINT `group` CHECK (`Ünï` <> 'it''s'));" +
		"CREATE TABLE `it's` (`a b` int AUTO_INCREMENT PRIMARY KEY, `where` int, `c\"d` numeric(10, 2) DEFAULT 0, FOREIGN KEY (`where`) REFERENCES `group` (`ID`) ON DELETE CASCADE);" +
		"CREATE INDEX `idx \" 1` ON `it's` (`where`, `c\"d`);" +
		"INSERT INTO `Order \"x\" ümläut` (`from`) SELECT '1970-01-01 00:00:00' + INTERVAL seq SECOND FROM seq_1_to_100;" +
		"INSERT INTO `group` (`order`, `Ünï`) SELECT seq, 'ö' FROM seq_1_to_100; INSERT INTO `it's` (`where`) SELECT seq FROM seq_1_to_100",
	"SQLite": `CREATE TABLE "Order ""x"" ümläut" ("Select" INTEGER PRIMARY KEY AUTOINCREMENT, "from" datetime NOT NULL, "ta	b" text);
		CREATE TABLE "group" ("ID" integer PRIMARY KEY AUTOINCREMENT, "order" bigint REFERENCES "Order ""x"" ümläut", "Ünï" text, CONSTRAINT "group" CHECK ("Ünï" <> 'it''s'));
		CREATE TABLE [it's] ("a b" integer PRIMARY KEY AUTOINCREMENT, [where] int REFERENCES "group" ON DELETE CASCADE, ` + "`c\"d`" + ` numeric(10, 2) DEFAULT 0);
		CREATE INDEX "idx "" 1" ON "it's" ("where", "c""d");
		WITH RECURSIVE g(s) AS (SELECT 1 UNION ALL SELECT s + 1 FROM g WHERE s < 100) INSERT INTO "Order ""x"" ümläut" ("from") SELECT datetime(s, 'unixepoch') FROM g;
		INSERT INTO "group" ("order", "Ünï") SELECT "Select", 'ö' FROM "Order ""x"" ümläut";
		INSERT INTO "it's" ("where") SELECT "ID" FROM "group"`,
}

// TestOddNames closes, migrates and drops where every name wants quoting.
func TestOddNames(t *testing.T) {
	bare(t, func(b *anyBase) {
		b.f = family(b.T, oddly)
		b.inOne(oddTables[b.name])
		for i, end := range []int64{30, 60} {
			if r := b.must(end); r.Tables[2].Filed != 30 {
				b.Fatalf("closing %d: %+v", i+1, r)
			}
			b.sound()
		}
		s := b.session()
		if gone, err := closing.Drop(context.Background(), s, b.f, closing.Which{Archive: 1}, closing.Options{}); err != nil || len(gone) != 1 {
			b.Fatalf("drop: %v, %v", gone, err)
		}
		b.sound()
		quoted := map[bool]string{true: "`it's`", false: `"it's"`}[b.name == "MariaDB"]
		b.exec("ALTER TABLE " + quoted + " ADD " + strings.ReplaceAll(quoted, "it's", "n w") + " integer")
		if all, err := closing.Migrate(context.Background(), s, b.f, closing.Options{}); err != nil || len(all.Tables) != 1 {
			b.Fatalf("migrate: %v, %v", all, err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.sound()
		if r := b.must(80); r.Tables[2].Filed != 20 {
			b.Fatalf("behind a migration: %+v", r)
		}
		b.sound()
		if n := b.number("SELECT count(*) FROM " + strings.ReplaceAll(quoted, "it's", "it's_all")); n != 70 {
			b.Errorf("%d rows are shown, 70 are there", n)
		}
	})
}

// TestMadeByHand closes where a table was made by LIKE, as one archives by hand:
// PostgreSQL gives an identity of it a sequence of bigint, whatever the column.
func TestMadeByHand(t *testing.T) {
	b := &anyBase{T: t, engine: engines[0], ids: map[string]int64{}}
	b.url, b.db = b.make(t)
	b.f = family(t, `{"name": "calls", "tables": [{"type": 1, "name": "calls", "date": "at", "id_order": true}]}`)
	b.inOne(`CREATE TABLE old (id integer GENERATED ALWAYS AS IDENTITY (MAXVALUE 5000 CACHE 1) PRIMARY KEY, at integer); CREATE TABLE calls (LIKE old INCLUDING ALL);
		INSERT INTO calls (at) SELECT g FROM generate_series(1, 100) g`)
	for _, end := range []int64{30, 60} {
		b.must(end)
		b.sound()
	}
	b.exec("INSERT INTO calls (at) VALUES (200)")
	if id := b.number("SELECT max(id) FROM calls"); id != 101 {
		t.Errorf("the next number is %d", id)
	}
	if n := b.number("SELECT count(*) FROM pg_sequence WHERE seqrelid = 'calls_id_seq'::regclass AND seqmax = 5000 AND seqtypid = 'bigint'::regtype"); n != 1 {
		t.Error("the sequence of the new table is not like the old one's")
	}
}

// TestOwnRight closes as a role that is no owner, and has a right of its own on
// a table, as GRANT ... ON ALL TABLES gives it.
func TestOwnRight(t *testing.T) {
	b := &anyBase{T: t, engine: engines[0], ids: map[string]int64{}}
	b.url, b.db = b.make(t)
	b.f = family(t, `{"name": "calls", "tables": [{"type": 1, "name": "calls", "date": "at"}]}`)
	b.inOne(`DROP ROLE IF EXISTS closer; DROP ROLE IF EXISTS owns; CREATE ROLE owns; CREATE ROLE closer LOGIN; GRANT owns TO closer; GRANT USAGE, CREATE ON SCHEMA public TO owns, closer;
		CREATE TABLE calls (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at integer); ALTER TABLE calls OWNER TO owns; INSERT INTO calls (at) SELECT g FROM generate_series(1, 100) g;
		GRANT SELECT ON ALL TABLES IN SCHEMA public TO closer; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO closer`)
	b.url = archiver(b.url, "closer")
	for _, end := range []int64{30, 60} {
		b.must(end)
		b.sound()
	}
	if n := b.number("SELECT count(*) FROM pg_class, aclexplode(relacl) x WHERE oid = 'calls'::regclass AND x.grantee = 'closer'::regrole AND x.privilege_type = 'SELECT'"); n != 1 {
		t.Error("the role has lost its right on the table")
	}
}

// TestRightMissing shows that a role that lacks a right which is needed behind
// the swap of MariaDB fails before it, with nothing done, and is told where the
// rights stand.
func TestRightMissing(t *testing.T) {
	for _, right := range []string{"UPDATE", "DELETE", "TRIGGER"} {
		b := &anyBase{T: t, engine: engines[1], ids: map[string]int64{}}
		b.url, b.db = b.make(t)
		b.small()
		b.exec("DROP TRIGGER noted_calls") // it runs as somebody else, which takes a right over all databases
		b.granted(right)
		rows := b.number("SELECT count(*) FROM calls")
		s, err := dialect.Open(context.Background(), archiver(b.url, "archiver"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = closing.Run(context.Background(), s, b.f, closing.Options{End: epoch + 9})
		if r := (*closing.Refusal)(nil); err == nil || errors.As(err, &r) || !strings.Contains(err.Error(), right+" command denied") || !strings.Contains(dialect.Hint(err), "least rights") {
			t.Errorf("without %s: %v", right, err)
		}
		if n := b.number("SELECT count(*) FROM calls"); n != rows || b.number("SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = database() AND TABLE_NAME REGEXP '_[0-9]{10}_out$'") != 0 {
			t.Errorf("without %s: the tables were swapped, and %d of %d rows are in the current one", right, n, rows)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestParentTwice wants keys named that several rows of a parent have, before
// anything is swapped: nobody can tell whose their child rows are. Without such
// rows, no index is asked for.
func TestParentTwice(t *testing.T) {
	bare(t, func(b *anyBase) {
		b.f = family(b.T, `{"name": "calls", "tables": [{"type": 1, "name": "calls", "date": "at"}, {"type": 2, "name": "legs", "parent": "calls", "parent_key": "call_id"}]}`)
		b.exec("CREATE TABLE calls (id integer, at integer)")
		b.exec("CREATE TABLE legs (id integer, call_id integer)")
		b.exec("INSERT INTO calls VALUES (1, 1000), (2, 1001), (2, 2000), (3, 2001)")
		b.exec("INSERT INTO legs VALUES (1, 1), (2, 2), (2, 2), (3, 3)")
		b.named("twice", 1500, "parent: calls: several rows have the same id, so that nobody can tell whose their child rows are (keys 2)")
		b.exec("DELETE FROM calls WHERE at = 2000")
		if r := b.must(1500); r.Tables[0].Filed != 2 || r.Tables[1].Filed != 3 {
			b.Fatalf("got %+v", r)
		}
		b.sound()
	})
}

// TestDeferredKeys closes where foreign keys are checked at the commit, as those
// are that Django makes, and a trigger writes into the child.
func TestDeferredKeys(t *testing.T) {
	b := &anyBase{T: t, engine: engines[0], ids: map[string]int64{}}
	b.url, b.db = b.make(t)
	b.f = family(t, `{"name": "calls", "tables": [{"type": 1, "name": "calls", "date": "at", "id_order": true}, {"type": 2, "name": "legs", "parent": "calls", "parent_key": "call_id", "id_order": true}]}`)
	b.inOne(`CREATE TABLE calls (id serial PRIMARY KEY, at integer, UNIQUE (id, at) DEFERRABLE INITIALLY DEFERRED);
		CREATE TABLE legs (id serial PRIMARY KEY, call_id integer REFERENCES calls DEFERRABLE INITIALLY DEFERRED);
		CREATE FUNCTION legged() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.legs (call_id) VALUES (NEW.id); RETURN NULL; END';
		CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER legged AFTER INSERT ON calls FOR EACH ROW EXECUTE FUNCTION legged();
		CREATE CONSTRAINT TRIGGER seen AFTER INSERT OR DELETE ON legs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION seen();
		INSERT INTO calls (at) SELECT g FROM generate_series(1, 3000) g`)
	for _, end := range []int64{1000, 2500, 2800} { // rows that stay are put back behind the swap, and then under the lock
		b.must(end)
		b.sound()
	}
	b.exec("INSERT INTO calls (at) VALUES (4000)")
	if all, now := b.number("SELECT count(*) FROM legs_all"), b.number("SELECT count(*) FROM legs"); all != 3001 || now != 201 {
		t.Errorf("%d legs, %d of them in the current table; want 3001, 201", all, now)
	}
	b.refused(b.db, "a key that is no call's", "INSERT INTO legs (call_id) VALUES (90000)")
	if n := b.number("SELECT count(*) FROM pg_constraint WHERE conrelid = 'legs'::regclass AND contype = 'f' AND condeferred"); n != 1 {
		t.Errorf("the foreign key of the new table is not checked at the commit")
	}
}
