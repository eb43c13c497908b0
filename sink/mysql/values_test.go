package mysql

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

// TestValues puts values, as PostgreSQL would take them, into columns that are
// there, both in one statement of their own and in a prepared one.
func TestValues(t *testing.T) {
	u := database(t)
	db := other(t, u)
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	const refused = "(refused)"
	seq := uint64(0)
	for i, k := range []struct{ column, typ, value, want string }{
		{"TINYINT(1)", "boolean", "t", "1"},
		{"TINYINT(1)", "boolean", "FALSE", "0"},
		{"TINYINT(1)", "", "true", "1"},
		{"INT", "boolean", "f", "0"},
		{"BIT(1)", "boolean", "t", "\x01"},
		{"BIT(1)", "", "1", "\x01"},
		{"BIT(8)", "bit(8)", "01000001", "A"},
		{"BIT(1)", "", "2", refused},
		{"INT", "", "perhaps", refused},
		{"INT", "numeric", "12.000", "12"},
		{"INT", "numeric", "12.5", refused},
		{"INT", "numeric", "1250e-2", refused},
		{"INT", "", ".5", refused},
		{"INT", "", "+1.5", refused},
		{"BIGINT UNSIGNED", "numeric", "18446744073709551615", "18446744073709551615"},
		{"BIGINT UNSIGNED", "", "-1", refused},
		{"DECIMAL(65,30)", "numeric", "0.123456789012345678901234567890", "0.12345678901234567890123456789"},
		{"DECIMAL(65,30)", "numeric", "0.1234567890123456789012345678901", refused},
		{"DECIMAL(65,30)", "numeric", "1e-31", refused},
		{"DECIMAL(65,30)", "numeric", "1.5000000000000000000000000000000000000000", "1.5"},
		{"DECIMAL(65,30)", "numeric", "NaN", refused},
		{"DECIMAL(10,2)", "numeric(10,2)", "1.239", "1.24"},
		{"DATETIME(6)", "timestamptz", "2026-11-21 00:04:56+00", "2026-11-21 00:04:56.000000"},
		{"DATETIME(6)", "timestamptz", "2026-11-21 01:04:56.123456+01", "2026-11-21 00:04:56.123456"},
		{"DATETIME(6)", "timestamptz", "2026-01-01T00:00:00.5+05:30", "2025-12-31 18:30:00.500000"},
		{"DATETIME", "", "2026-11-21T00:04:56Z", "2026-11-21 00:04:56"},
		{"TIMESTAMP(3) NULL", "timestamptz", "2026-03-29 03:30:00.25+02:00", "2026-03-29 01:30:00.250"},
		{"TIMESTAMP NULL", "timestamp", "2026-03-29 02:30:00", "2026-03-29 02:30:00"}, // no such time in much of Europe
		{"DATETIME", "timestamp", "2026-11-21 00:04:56", "2026-11-21 00:04:56"},
		{"DATETIME", "timestamptz", "infinity", refused},
		{"TIMESTAMP NULL", "timestamptz", "2040-01-01 00:00:00+00", refused},
		{"VARCHAR(40)", "timestamptz", "2026-11-21 01:04:56+01", "2026-11-21 01:04:56+01"},
		{"DATE", "date", "0000-00-00", refused},
		{"LONGBLOB", "bytea", `\x00ff27`, "\x00\xff'"},
		{"VARBINARY(3)", "bytea", `\x`, ""},
		{"LONGBLOB", "bytea", `\xzz`, `\xzz`},
		{"LONGTEXT CHARACTER SET utf8mb4", "bytea", `\x00ff`, `\x00ff`},
		{"VARCHAR(5) CHARACTER SET utf8mb4", "text", "🙂🙂é中'", "🙂🙂é中'"},
		{"VARCHAR(20) CHARACTER SET utf8mb4", "boolean", "t", "t"},
		{"CHAR(4)", "text", "", ""},
		{"INT NOT NULL AUTO_INCREMENT, PRIMARY KEY (v)", "integer", "0", "0"},
		{"LONGTEXT", "text", strings.Repeat(`\'"%_`+"\n\t\r\x1a", 100_000), ""}, // a million characters, each with a meaning somewhere
	} {
		table := fmt.Sprintf("t%d", i)
		mustExec(t, db, "CREATE TABLE "+table+" (v "+k.column+") ENGINE=InnoDB")
		if len(k.value) > 1000 {
			k.want = k.value
		}
		schema := &row.Schema{Table: table, Columns: []row.Column{{Name: "v", Type: k.typ}}}
		for _, count := range []int{1, maxRows} {
			if count > 1 && (strings.Contains(k.column, "KEY") || k.want == refused || len(k.value) > 1000) {
				continue
			}
			var rows []row.Row
			for range count {
				seq++
				rows = append(rows, row.Row{Seq: seq, Schema: schema, Values: []row.Value{row.Text(k.value)}})
			}
			rejects := deliver(t, n, rows...)
			got := texts(t, db, table, "v")
			switch {
			case k.want == refused && (len(rejects.Rows) != 1 || len(got) != 0):
				t.Errorf("%s: %.40q is in the table as %.60q, want it refused", k.column, k.value, got)
			case k.want == refused:
			case len(rejects.Rows) > 0:
				t.Errorf("%s: %.40q was refused: %v", k.column, k.value, rejects.Why[0])
			case len(got) != count || got[0] != k.want || got[count-1] != k.want:
				t.Errorf("%s: %.40q is in the table as %.60q, want %.60q", k.column, k.value, got, k.want)
			}
			mustExec(t, db, "DELETE FROM "+table)
		}
	}
}

// TestCreated creates a column of each type, and reads its description and a
// value back.
func TestCreated(t *testing.T) {
	u := database(t)
	s := mustOpen(t, Options{URL: u})
	n := mustAttach(t, s)
	r := row.Row{Seq: 1, Schema: &row.Schema{Table: "t"}}
	cases := []struct{ typ, value, described, want string }{
		{"", "x", "text", "x"},
		{"text", strings.Repeat("x", 70_000), "text", strings.Repeat("x", 70_000)},
		{"varchar(4)", "abcd", "varchar(4)", "abcd"},
		{"character varying(2000)", "abcd", "text", "abcd"},
		{"smallint", "-32768", "smallint", "-32768"},
		{"integer", "2147483647", "integer", "2147483647"},
		{"bigserial", "-9223372036854775808", "bigint", "-9223372036854775808"},
		{"numeric", "12345678901234567890123456789012345.5", "numeric(65,30)", "12345678901234567890123456789012345.5"},
		{"numeric(10, 2)", "1.5", "numeric(10,2)", "1.5"},
		{"numeric(5)", "12345", "numeric(5,0)", "12345"},
		{"real", "0.1234567", "double precision", "0.1234567"},
		{"double precision", "0.1", "double precision", "0.1"},
		{"boolean", "t", "boolean", "1"},
		{"bytea", `\x0001`, "bytea", "\x00\x01"},
		{"date", "2026-11-21", "date", "2026-11-21"},
		{"time", "23:59:59.5", "time", "23:59:59.500000"},
		{"timestamp(3)", "2026-11-21 00:04:56", "timestamp", "2026-11-21 00:04:56.000000"},
		{"timestamp with time zone", "2026-11-21 00:04:56-08", "timestamptz", "2026-11-21 08:04:56.000000"},
		{"jsonb", `{"a": 1}`, "text", `{"a": 1}`}, // MariaDB's JSON is text with a CHECK
		{"uuid", "123e4567-e89b-12d3-a456-426614174000", "char(36)", "123e4567-e89b-12d3-a456-426614174000"},
		{"integer[]", "{1,2}", "text", "{1,2}"},
		{"text); DROP TABLE t; --", "x", "text", "x"},
	}
	for i, c := range cases {
		r.Schema.Columns = append(r.Schema.Columns, row.Column{Name: fmt.Sprintf("c%d", i), Type: c.typ})
		r.Values = append(r.Values, row.Text(c.value))
	}
	if rejects := deliver(t, n, r); len(rejects.Rows) > 0 {
		t.Fatal(rejects.Why[0])
	}
	tables, err := s.Describe(context.Background())
	if err != nil || len(tables) != 1 || len(tables[0].Columns) != len(cases) {
		t.Fatalf("Describe gave %+v, %v", tables, err)
	}
	for i, c := range cases {
		if got := tables[0].Columns[i].Type; got != c.described {
			t.Errorf("%s is described as %q, want %q", c.typ, got, c.described)
		}
		if got := texts(t, other(t, u), "t", fmt.Sprintf("c%d", i)); got[0] != c.want {
			t.Errorf("%s: %.60q came back as %.60q", c.typ, c.value, got[0])
		}
	}
}

// TestDescribe describes tables that somebody else made.
func TestDescribe(t *testing.T) {
	u := database(t)
	s := mustOpen(t, Options{URL: u})
	mustAttach(t, s)
	db := other(t, u)
	for _, q := range []string{
		"CREATE TABLE b (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, up INT UNSIGNED, FOREIGN KEY (up) REFERENCES b (id))",
		"CREATE TABLE a (x VARCHAR(5) NOT NULL, y TINYINT DEFAULT 5, z INT GENERATED ALWAYS AS (y + 1) STORED, `n``n` DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP," +
			" b INT UNSIGNED, e ENUM('k'), p POINT, d YEAR, FOREIGN KEY (b) REFERENCES b (id))",
		"CREATE VIEW v AS SELECT * FROM a",
	} {
		mustExec(t, db, q)
	}
	got, err := s.Describe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := []sink.Table{
		{Name: "a", Parents: []string{"b"}, Columns: []sink.Column{
			{Name: "x", Type: "varchar(5)", NotNull: true}, {Name: "y", Type: "smallint", Default: true}, {Name: "z", Type: "integer", Generated: true},
			{Name: "n`n", Type: "timestamp", NotNull: true, Default: true}, {Name: "b", Type: "bigint"}, {Name: "e", Type: "text"}, {Name: "p"}, {Name: "d", Type: "smallint"}}},
		{Name: "b", Columns: []sink.Column{{Name: "id", Type: "bigint", NotNull: true, Default: true}, {Name: "up", Type: "bigint"}}},
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestMegabytes sends values of a megabyte, bytes of every kind among them.
func TestMegabytes(t *testing.T) {
	u := database(t)
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	db := other(t, u)
	raw := make([]byte, 1<<20)
	for i := range raw {
		raw[i] = byte(i * 7)
	}
	s := &row.Schema{Table: "t", Columns: []row.Column{{Name: "b", Type: "bytea"}}}
	for seq := uint64(1); seq <= 3; seq++ {
		deliver(t, n, row.Row{Seq: seq, Schema: s, Values: []row.Value{row.Text(`\x` + hex.EncodeToString(raw))}})
	}
	for _, got := range texts(t, db, "t", "b") {
		if sha256.Sum256([]byte(got)) != sha256.Sum256(raw) {
			t.Fatalf("%d bytes came back otherwise", len(got))
		}
	}
}

// TestWarnsOfFlush has a server that answers before a commit is on disk.
func TestWarnsOfFlush(t *testing.T) {
	u := database(t)
	db := other(t, u)
	mustExec(t, db, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
	t.Cleanup(func() { mustExec(t, db, "SET GLOBAL innodb_flush_log_at_trx_commit = 1") })
	var log bytes.Buffer
	s := mustOpen(t, Options{URL: u, Log: slog.New(slog.NewTextHandler(&log, nil))})
	mustAttach(t, s)
	mustAttach(t, s)
	if got := strings.Count(log.String(), "innodb_flush_log_at_trx_commit=1"); got != 1 {
		t.Errorf("warned %d times, want once:\n%s", got, &log)
	}
}

// TestRights follows docs/delivery.md, as a user who has no other rights.
func TestRights(t *testing.T) {
	u := database(t)
	db := other(t, u)
	text, err := os.ReadFile("../../docs/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	section := text[bytes.Index(text, []byte("## MariaDB and MySQL")):]
	script := regexp.MustCompile("(?s)```sql\n(.*?)```").FindSubmatch(section)
	name := regexp.MustCompile(`[^/]+$`).FindString(u)
	for _, q := range strings.Split(strings.ReplaceAll(string(script[1]), "app", name), ";\n") {
		q = strings.TrimSpace(q)
		if q == "" || strings.HasPrefix(q, "CREATE DATABASE") {
			continue
		}
		mustExec(t, db, strings.Replace(q, "'...'", "'a password'", 1))
	}
	t.Cleanup(func() { mustExec(t, db, "DROP USER 'holdfast'@'%'") })
	s := mustOpen(t, Options{URL: strings.Replace(u, "root@", "holdfast@", 1), Password: "a password"})
	n := mustAttach(t, s)
	deliver(t, n, textRow(1, "t", "v", "1"), textRow(2, "t", "v", "2", "w", "x"))
	if err := n.Move(context.Background(), row.Position{Seq: 9, Chain: 9}, []row.Damage{{First: 3, Last: 9, What: "x"}}); err != nil {
		t.Error(err)
	}
	if tables, err := s.Describe(context.Background()); err != nil || len(tables) != 1 {
		t.Errorf("Describe gave %v, %v", tables, err)
	}
	if err := s.Rename(context.Background(), testID, "new"); err != nil {
		t.Error(err)
	}
	renamed := testID
	renamed.Sink = "new"
	if err := s.Retire(context.Background(), renamed); err != nil {
		t.Error(err)
	}
	if _, err := Open(Options{URL: "mysql://nobody@127.0.0.1:1/x", Timeout: time.Second}); err != nil {
		t.Errorf("Open connects: %v", err)
	}
	wrong := mustOpen(t, Options{URL: strings.Replace(u, "root@", "holdfast@", 1), Password: "hush"})
	_, err = wrong.Attach(context.Background(), testID, "a", row.Position{}, nil)
	wantAboutSink(t, err)
	if strings.Contains(err.Error(), "hush") {
		t.Errorf("the password is in %q", err)
	}
}
