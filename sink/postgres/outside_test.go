package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
	"holdfast/test/servers"
)

// eventually delivers rows in at most two attempts: the first one may find
// that somebody changed something.
func eventually(t *testing.T, n sink.Session, rows ...row.Row) *sinktest.Rejects {
	t.Helper()
	j, err := deliver(n, rows...)
	var refused *sink.RowError
	if errors.As(err, &refused) || len(j.Rows) > 0 && err == nil {
		t.Fatalf("the first attempt refused %v, error %v", j.Rows, err)
	}
	if err != nil {
		return mustDeliver(t, n, rows...)
	}
	return j
}

// TestChangedOutside changes tables behind the sink's back.
func TestChangedOutside(t *testing.T) {
	p, c := text("p", "id"), text("c", "id", "p")
	n, at := start(t)
	seq := uint64(0)
	both := func() []row.Row { // the child first
		seq += 2
		return []row.Row{values(seq-1, c, fmt.Sprint(seq), fmt.Sprint(seq)), values(seq, p, fmt.Sprint(seq))}
	}
	mustDeliver(t, n, both()...)
	for _, change := range []string{
		"DROP TABLE c",
		"DROP TABLE c; CREATE TABLE c (x text, p text, id text)",
		"ALTER TABLE c DROP COLUMN p",
		"ALTER TABLE c RENAME COLUMN id TO other",
		"ALTER TABLE c RENAME TO d",
		"ALTER TABLE p ADD PRIMARY KEY (id); TRUNCATE c; ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p",
		"ALTER TABLE c DROP CONSTRAINT c_p_fkey; ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p DEFERRABLE INITIALLY DEFERRED",
	} {
		mustExec(t, at, change)
		if j := eventually(t, n, both()...); len(j.Rows) > 0 {
			t.Fatalf("after %s: set aside %v: %v", change, j.Rows, j.Why)
		}
		if got := column(t, at, fmt.Sprintf("SELECT c.id FROM c JOIN p ON p.id = c.p WHERE c.id = '%d'", seq)); got != fmt.Sprint(seq) {
			t.Fatalf("after %s: found %q", change, got)
		}
	}
	mustExec(t, at, "ALTER TABLE c ADD g text GENERATED ALWAYS AS (id || '!') STORED")
	seq++
	mine := values(seq, text("c", "id", "g"), "1", "mine")
	j, err := deliver(n, mine)
	if err != nil { // the plan was older than the column's change
		j = mustDeliver(t, n, mine)
	}
	if len(j.Rows) != 1 || j.Why[0].Code != "428C9" {
		t.Fatalf("a value for a generated column: set aside %v: %v", j.Rows, j.Why)
	}
}

// TestCreatedTypes creates columns with whatever a client declared.
func TestCreatedTypes(t *testing.T) {
	n, at := start(t)
	s := &row.Schema{Table: "t"}
	var got, want []string
	for declared, typ := range map[string]string{
		"": "text", "integer": "integer", "varchar(64)": "character varying(64)", "numeric(10,2)": "numeric(10,2)", "timestamptz": "timestamp with time zone",
		"text[]": "text[]", "interval day to second": "interval day to second", "no such type": "text", "text); DROP TABLE holdfast_cursor;--": "text",
		"double precision": "double precision", "jsonb": "jsonb", "myenum": "text", "text default 'x'": "text", "text\nNOT NULL": "text",
	} {
		s.Columns = append(s.Columns, row.Column{Name: declared + "!", Type: declared})
		want = append(want, typ)
	}
	mustDeliver(t, n, row.Row{Seq: 1, Schema: s, Values: slices.Repeat([]row.Value{row.Null}, len(want))})
	for _, r := range mustQuery(t, at, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum") {
		got = append(got, r[0].String())
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the columns are %q, want %q", got, want)
	}
	// A type that the server refuses makes the columns text, and the row goes in.
	mustDeliver(t, n, row.Row{Seq: 2, Schema: &row.Schema{Table: "u", Columns: []row.Column{{Name: "v", Type: "varchar(0)"}}}, Values: []row.Value{row.Text("x")}})
	if got := column(t, at, "SELECT v FROM u"); got != "x" {
		t.Fatalf("u holds %q", got)
	}
	// Rows without columns are rows.
	empty := &row.Schema{Table: "e"}
	mustDeliver(t, n, row.Row{Seq: 3, Schema: empty}, row.Row{Seq: 4, Schema: empty})
	if got := column(t, at, "SELECT count(*) FROM e"); got != "2" {
		t.Fatalf("e holds %s rows, want 2", got)
	}
}

// TestFixed creates nothing, and delivers once somebody else did.
func TestFixed(t *testing.T) {
	at := newDatabase(t)
	n := mustAttach(t, mustOpen(t, Options{URL: at, Fixed: true}))
	for _, make := range []string{"CREATE TABLE t ()", "ALTER TABLE t ADD v text"} {
		_, err := deliver(n, numbers(1, 2)...)
		var refused *sink.RowError
		if err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), `table "t"`) {
			t.Fatalf("Apply gave %v, want an error about the table", err)
		}
		mustExec(t, at, make)
	}
	mustDeliver(t, n, numbers(1, 2)...)
	wantOnce(t, at, n, 2)
}

// TestGrants runs the statements of docs/delivery.md, and delivers as a role
// that has no right beside them.
func TestGrants(t *testing.T) {
	text, err := os.ReadFile("../../docs/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## PostgreSQL\n")
	_, section, _ = strings.Cut(section, "```sql\n")
	script, _, ok := strings.Cut(section, "```")
	if !ok {
		t.Fatal("docs/delivery.md has no statements for PostgreSQL")
	}
	at := newDatabase(t)
	mustExec(t, at, "REVOKE ALL ON SCHEMA public FROM PUBLIC", "CREATE TABLE acc (v text CHECK (v <> '2'))", script)
	t.Cleanup(func() { mustExec(t, at, "DROP OWNED BY holdfast; DROP ROLE holdfast") })
	as := strings.Replace(at, "postgres@", "holdfast@", 1)
	// A language that this role cannot change, and commits that promise nothing.
	mustExec(t, at, "ALTER ROLE holdfast SET synchronous_commit = off", "ALTER ROLE holdfast SET lc_messages = 'C.UTF-8'", "ALTER ROLE holdfast SET timezone = 'Asia/Tokyo'")
	s := mustOpen(t, Options{URL: as, Fixed: true})
	n := mustAttach(t, s)
	rows := numbers(1, 3)
	for i := range rows {
		rows[i].Schema = &row.Schema{Table: "acc", Columns: rows[i].Schema.Columns}
	}
	if j := mustDeliver(t, n, rows...); len(j.Rows) != 1 || j.Rows[0].Seq != 2 {
		t.Fatalf("set aside %v", j.Rows)
	}
	for name, want := range map[string]string{"synchronous_commit": "on", "timezone": "UTC", "application_name": "holdfast", "statement_timeout": "1min"} {
		results, err := n.conn.run(context.Background(), statement{sql: "SHOW " + name})
		if err != nil || string(results[0].Rows[0][0]) != want {
			t.Errorf("%s: got %v, error %v, want %q", name, results, err, want)
		}
	}
	if err := n.Move(context.Background(), row.Position{Seq: 9}, []row.Damage{{First: 4, Last: 9, What: "gone\x00\xff"}}); err != nil {
		t.Error(err)
	}
	if err := n.Retry(context.Background(), sinktest.NewBatch(rows[:1], row.Position{}), new(sinktest.Rejects)); err != nil {
		t.Error(err)
	}
	if all, err := s.Describe(context.Background()); err != nil || len(all) != 1 || all[0].Name != "acc" {
		t.Errorf("got %v, error %v, want table acc", all, err)
	}
	if err := errors.Join(s.Rename(context.Background(), main, "other"), s.Retire(context.Background(), sink.ID{StreamID: "id", Sink: "other"})); err != nil {
		t.Error(err)
	}
}

// TestSchema keeps Holdfast's own tables in one schema and rows in another.
func TestSchema(t *testing.T) {
	at := newDatabase(t)
	mustExec(t, at, `CREATE SCHEMA "Own"`, `CREATE SCHEMA "rows"`, "CREATE TABLE public.t (v integer)")
	n := mustAttach(t, mustOpen(t, Options{URL: with(t, at, "search_path", "rows,public"), Schema: "Own"}))
	mustDeliver(t, n, numbers(1, 3)...)
	got := column(t, at, "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('Own', 'rows', 'public') ORDER BY schemaname COLLATE \"C\", tablename")
	if got != "Own.holdfast_cursor Own.holdfast_gap Own.holdfast_retry public.t rows.t" {
		t.Fatalf("the tables are %s", got)
	}
	s := mustOpen(t, Options{URL: with(t, at, "search_path", "nowhere")})
	if _, err := s.Attach(context.Background(), main, "a", row.Position{}, nil); err == nil || !strings.Contains(err.Error(), "search_path") {
		t.Fatalf("Attach without a schema gave %v", err)
	}
}

// TestDescribe tells types as the door spells them.
func TestDescribe(t *testing.T) {
	at := newDatabase(t)
	mustExec(t, at, "CREATE DOMAIN price AS numeric(10,2) NOT NULL", "CREATE TYPE mood AS ENUM ('good')",
		`CREATE TABLE t (a varchar(64) NOT NULL, b char(3), c timestamptz(3), d timestamp, e bigserial, f double precision, g price, h mood, i "char",
		 j text[], k int GENERATED ALWAYS AS (length(a)) STORED, l int GENERATED ALWAYS AS IDENTITY, m time with time zone, n varchar[], o text DEFAULT 'x', p "name")`,
		"CREATE TABLE q (id text PRIMARY KEY REFERENCES q)", "CREATE TABLE r (q text REFERENCES q)", "CREATE TABLE none ()", "CREATE VIEW v AS SELECT 1")
	all, err := mustOpen(t, Options{URL: at}).Describe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, table := range all {
		var columns []string
		for _, c := range table.Columns {
			text := c.Name + " " + c.Type
			for flag, set := range map[string]bool{" not null": c.NotNull} {
				if set {
					text += flag
				}
			}
			if c.Default {
				text += " default"
			}
			if c.Generated {
				text += " generated"
			}
			columns = append(columns, text)
		}
		got = append(got, fmt.Sprintf("%s (%s) %v", table.Name, strings.Join(columns, ", "), table.Parents))
	}
	want := []string{"none () []", "q (id text not null) []", "r (q text) [q]",
		"t (a varchar(64) not null, b char(3), c timestamptz(3), d timestamp, e bigint not null default, f double precision, g numeric(10,2) not null, h , i , " +
			"j text[], k integer generated, l integer not null default, m timetz, n varchar[], o text default, p name) []"}
	if !slices.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestRestarted goes on with a session whose server was started again.
func TestRestarted(t *testing.T) {
	server := servers.Postgres(t)
	at := makeDatabase(t, server)
	n := mustAttach(t, mustOpen(t, Options{URL: at}))
	mustDeliver(t, n, numbers(1, 2)...)
	server.Stop()
	if _, err := n.Cursor(context.Background()); err == nil {
		t.Fatal("a server that is stopped told the cursor")
	}
	server.Start()
	mustDeliver(t, n, numbers(3, 4)...)
	server.Stop()
	server.Start()
	eventually(t, n, numbers(5, 6)...)
	wantOnce(t, at, n, 6)
}
