package closing_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"holdfast/archive"
)

// TestCarriedOver closes a family whose tables have all that a table can have,
// and wants it to work on the new table as on the old one: whoever could write
// still can, and whoever could not still cannot.
func TestCarriedOver(t *testing.T) {
	b := newBase(t)
	f, err := archive.Parse(strings.NewReader(`{"name": "calls", "tables": [
		{"type": 1, "name": "Call log", "date": "at", "id_order": true},
		{"type": 2, "name": "leg", "parent": "Call log", "parent_key": "call", "id_order": true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	b.f = f
	b.exec(`DROP ROLE IF EXISTS app; CREATE ROLE app LOGIN; CREATE TABLE audit (what text);
		CREATE TABLE tariff (id integer PRIMARY KEY); INSERT INTO tariff VALUES (1);
		CREATE TABLE "Call log" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at integer NOT NULL, who text DEFAULT current_user, tariff integer REFERENCES tariff,
			cost numeric(10, 2) CHECK (cost >= 0), tax numeric GENERATED ALWAYS AS (cost * 0.2) STORED, note varchar(40) COLLATE "C", tags text[] DEFAULT '{}') WITH (fillfactor = 70);
		CREATE TABLE leg (id serial PRIMARY KEY, call bigint NOT NULL REFERENCES "Call log" ON DELETE CASCADE, UNIQUE (call, id));
		CREATE UNIQUE INDEX "by who" ON "Call log" (lower(who), id) WHERE who IS NOT NULL;
		COMMENT ON TABLE "Call log" IS 'it''s calls'; COMMENT ON COLUMN "Call log".at IS 'seconds'; COMMENT ON INDEX "by who" IS 'idx';
		CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.audit VALUES (TG_OP); RETURN NEW; END$$;
		CREATE TRIGGER note AFTER INSERT OR DELETE ON "Call log" FOR EACH ROW EXECUTE FUNCTION noted();
		CREATE TRIGGER never BEFORE INSERT ON leg FOR EACH ROW EXECUTE FUNCTION noted(); ALTER TABLE leg DISABLE TRIGGER never;
		ALTER TABLE "Call log" ENABLE ROW LEVEL SECURITY;
		CREATE POLICY own ON "Call log" FOR ALL TO app USING (who = current_user) WITH CHECK (who = current_user);
		ALTER TABLE "Call log" REPLICA IDENTITY FULL; ALTER TABLE "Call log" ALTER who SET STATISTICS 500, ALTER who SET (n_distinct = -0.5), SET (toast.autovacuum_enabled = false);
		GRANT SELECT, INSERT ON "Call log" TO app; GRANT SELECT (call), INSERT ON leg TO app; GRANT USAGE ON SEQUENCE leg_id_seq TO app; GRANT INSERT ON audit TO app;
		CREATE VIEW dear WITH (security_barrier = true) AS SELECT c.id, c.cost, l.id AS leg FROM "Call log" c JOIN leg l ON l.call = c.id WHERE c.cost > 1;
		GRANT SELECT ON dear TO app; CREATE PUBLICATION p FOR TABLE leg;
		INSERT INTO "Call log" (at, cost, tariff) SELECT 1000 + g, g, 1 FROM generate_series(1, 100) g;
		INSERT INTO leg (call) SELECT g FROM generate_series(1, 100) g; TRUNCATE audit`)
	config, err := pgx.ParseConfig(strings.Replace(b.url, "postgres@", "app@", 1))
	if err != nil {
		t.Fatal(err)
	}
	app, err := pgx.ConnectConfig(context.Background(), config) // prepares what it runs, and keeps it
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close(context.Background())
	insert := func() (id int64) {
		t.Helper()
		if err := app.QueryRow(context.Background(), `INSERT INTO "Call log" (at, cost) VALUES (2000, $1) RETURNING id`, 7).Scan(&id); err != nil {
			t.Fatal(err)
		}
		if _, err := app.Exec(context.Background(), `INSERT INTO leg (call) VALUES ($1)`, id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	last := insert()
	if last != 101 {
		t.Fatalf("id %d", last)
	}
	rises := func(when string) { // refused inserts use numbers up, and nothing else does
		t.Helper()
		if id := insert(); id <= last || id > last+4 {
			t.Errorf("%s: id %d comes after %d", when, id, last)
		} else {
			last = id
		}
	}
	for i, end := range []int64{1050, 1090} {
		if r := b.must(end); r.Window.End != end || r.Tables[0].Filed != 50-10*int64(i) {
			t.Fatalf("got %+v", r)
		}
		b.sound()
		rises(fmt.Sprint("after closing ", i+1))
		for query, want := range map[string]int64{
			`SELECT count(*) FROM audit WHERE what = 'INSERT'`:                   2 + int64(i), // what was put back is no insert of anybody
			`SELECT count(*) FROM audit WHERE what = 'DELETE'`:                   0,
			`SELECT count(*) FROM dear`:                                          50 - 40*int64(i) + 2 + int64(i),
			`SELECT count(*) FROM "Call log_all"`:                                102 + int64(i),
			`SELECT count(*) FROM leg_all`:                                       102 + int64(i),
			`SELECT count(*) FROM "Call log" WHERE tax = cost * 0.2`:             52 - 40*int64(i) + int64(i),
			`SELECT count(*) FROM pg_publication_tables WHERE tablename = 'leg'`: 1,
			`SELECT count(*) FROM pg_publication_tables`:                         1,
			`SELECT count(*) FROM pg_class WHERE oid = '"Call log"'::regclass AND relrowsecurity AND relreplident = 'f' AND 'fillfactor=70' = ANY(reloptions)`: 1,
			`SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_class x ON x.oid = c.reltoastrelid WHERE c.oid = '"Call log"'::regclass AND attname = 'who'
				AND attstattarget = 500 AND attoptions::text = '{n_distinct=-0.5}' AND x.reloptions::text = '{autovacuum_enabled=false}'`: 1,
			`SELECT count(*) FROM pg_class WHERE oid = '"by who"'::regclass AND obj_description(oid) = 'idx'`:               1,
			`SELECT count(*) FROM pg_class WHERE oid = '"Call log"'::regclass AND obj_description(oid) = 'it''s calls'`:     1,
			`SELECT count(*) FROM pg_trigger WHERE tgrelid = 'leg'::regclass AND tgname = 'never' AND tgenabled = 'D'`:      1,
			`SELECT count(*) FROM pg_class WHERE oid = 'dear'::regclass AND 'security_barrier=true' = ANY(reloptions)`:      1,
			`SELECT count(*) FROM pg_constraint WHERE conrelid = 'leg'::regclass AND confrelid = '"Call log"'::regclass`:    1,
			`SELECT count(*) FROM pg_constraint WHERE conrelid = '"Call log"'::regclass AND confrelid = 'tariff'::regclass`: 1,
		} {
			if got := b.number(query); got != want {
				t.Errorf("closing %d: %s: got %d, want %d", i+1, query, got, want)
			}
		}
		var own int64 // of what a policy hides, the view shows nothing either
		if err := app.QueryRow(context.Background(), `SELECT count(*) FROM "Call log_all"`).Scan(&own); err != nil || own != 2+int64(i) {
			t.Errorf("closing %d: another role sees %d rows, %v", i+1, own, err)
		}
		for _, refused := range []string{`DELETE FROM "Call log"`, `INSERT INTO "Call log" (at, who) VALUES (2000, 'another')`, `INSERT INTO "Call log" (at, cost) VALUES (2000, -1)`,
			`INSERT INTO "Call log" (id, at) VALUES (7, 2000)`, `INSERT INTO leg (call) VALUES (900001)`, `SELECT id FROM leg`} {
			if _, err := app.Exec(context.Background(), refused); err == nil {
				t.Errorf("closing %d: %s is no longer refused", i+1, refused)
			}
		}
	}
	oldest := `"` + b.first("Call log") + `"`
	for _, change := range []string{"DELETE FROM ", "TRUNCATE "} {
		if _, err := b.c.Exec(context.Background(), change+oldest); err == nil || !strings.Contains(err.Error(), "can only be read") && !strings.Contains(err.Error(), "truncate a table referenced") {
			t.Errorf("%s an archive as its owner: %v", change, err)
		}
		if _, err := app.Exec(context.Background(), change+oldest); err == nil {
			t.Errorf("%s an archive as another role", change)
		}
	}
	b.exec("DROP TABLE " + oldest + " CASCADE") // an archive is nobody's
	rises("without the archive")
}

// first returns the name of the oldest archived table.
func (b *base) first(table string) (name string) {
	b.Helper()
	if err := b.c.QueryRow(context.Background(), "SELECT table_name FROM archives WHERE table_name LIKE $1 ORDER BY start_date LIMIT 1", table+"%").Scan(&name); err != nil {
		b.Fatal(err)
	}
	return name
}
