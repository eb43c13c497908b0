package e2e

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// accColumns are the columns of Kamailio's acc table, in the order in which
// its flat files have them.
const accColumns = "method,from_tag,to_tag,callid,sip_code,sip_reason,time,src_user,src_domain,src_ip,dst_ouser,dst_user,dst_domain,ua,tag"

// TestKamailioStatements sends what a real Kamailio sent, through psql, and
// finds every value of every row.
func TestKamailioStatements(t *testing.T) {
	need(t, "psql")
	file, err := filepath.Abs("../../testdata/kamailio/pg_inserts.sql")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, dataDir(t), options{})
	r := s.psql(t, "-v", "ON_ERROR_STOP=1", "-f", file)
	if r.code != 0 {
		t.Fatalf("psql -f pg_inserts.sql: exit code %d\n%s", r.code, r.stderr)
	}
	s.delivered(20 * time.Second)
	db := openSink(t, s.data)
	want := map[string][]insert{}
	for line := range strings.Lines(string(text)) {
		if i, ok := parseInsert(t, line); ok {
			want[i.table] = append(want[i.table], i)
		}
	}
	if len(want) != 3 {
		t.Fatalf("the file fills %d tables, want 3", len(want))
	}
	if told, sent := strings.Count(r.stdout, "INSERT 0 1\n"), strings.Count(string(text), "insert into"); told != sent {
		t.Errorf("psql was told of %d inserts, the file has %d", told, sent)
	}
	for table, rows := range want {
		if n := count(t, db, table); n != len(rows) {
			t.Errorf("%s: %d rows arrived of %d", table, n, len(rows))
		}
		for i, row := range rows {
			got := query(t, db, "SELECT "+strings.Join(row.columns, ",")+" FROM "+table+" ORDER BY rowid LIMIT 1 OFFSET ?", i)
			if len(got) != 1 {
				t.Fatalf("%s: row %d is missing", table, i)
			}
			for k, value := range row.values {
				if !sameValue(got[0][k], value) {
					t.Errorf("%s: row %d: column %s is %q, sent was %q", table, i, row.columns[k], got[0][k], value.text)
				}
			}
		}
	}
}

// insert is one INSERT statement taken apart.
type insert struct {
	table   string
	columns []string
	values  []literal
}

// literal is a value as it was sent.
type literal struct {
	text   string // without quotes; null for NULL
	quoted bool
}

var (
	insertForm = regexp.MustCompile(`^insert into (\w+) \(([\w,]+) *\) values \((.*)\);?\s*$`)
	valueForm  = regexp.MustCompile(`^\s*(?:'((?:[^']|'')*)'|(NULL)|([-0-9.]+))\s*(?:,|$)`)
)

// parseInsert takes a line of Kamailio's apart, with none of the product's
// own code.
func parseInsert(t *testing.T, line string) (insert, bool) {
	t.Helper()
	m := insertForm.FindStringSubmatch(line)
	if m == nil {
		return insert{}, false
	}
	i := insert{table: m[1], columns: strings.Split(m[2], ",")}
	for rest := m[3]; rest != ""; {
		v := valueForm.FindStringSubmatch(rest)
		if v == nil {
			t.Fatalf("read the values of %q at %q", line, rest)
		}
		switch {
		case v[2] != "":
			i.values = append(i.values, literal{text: null})
		case v[3] != "":
			i.values = append(i.values, literal{text: v[3]})
		default:
			i.values = append(i.values, literal{text: strings.ReplaceAll(v[1], "''", "'"), quoted: true})
		}
		rest = rest[len(v[0]):]
	}
	if len(i.values) != len(i.columns) {
		t.Fatalf("%d values for %d columns in %q", len(i.values), len(i.columns), line)
	}
	return i, true
}

// sameValue compares text byte for byte, and numbers as numbers.
func sameValue(got string, want literal) bool {
	if want.quoted || want.text == null {
		return got == want.text
	}
	g, err1 := strconv.ParseFloat(got, 64)
	w, err2 := strconv.ParseFloat(want.text, 64)
	return err1 == nil && err2 == nil && g == w
}

// TestKamailioFlatFile feeds a flat file through `holdfast put` and finds
// every field byte for byte.
func TestKamailioFlatFile(t *testing.T) {
	text, err := os.ReadFile("../../testdata/kamailio/acc_129.log")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, dataDir(t), options{})
	// One half through the HTTP door, the other through the data directory.
	lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
	half := len(lines) / 2
	put := func(rows []string, how ...string) {
		t.Helper()
		args := append([]string{"put", "--table", "acc", "--format", "flat", "--columns", accColumns}, how...)
		feed(t, 0, strings.NewReader(strings.Join(rows, "")), args...)
	}
	put(lines[:half], "--http", s.http)
	put(lines[half:], "--data", s.data)
	s.delivered(20 * time.Second)

	got := query(t, openSink(t, s.data), "SELECT "+accColumns+" FROM acc ORDER BY rowid")
	if len(got) != len(lines) {
		t.Fatalf("%d rows arrived of %d lines", len(got), len(lines))
	}
	for i, line := range lines {
		if back := strings.Join(got[i], "|"); back != strings.TrimSuffix(line, "\n") {
			t.Errorf("line %d came back changed:\n got %q\nwant %q", i+1, back, line)
		}
	}
}

// TestFlatFileWrongLine gives a line with a field too few: it must be named,
// and it must be clear what is stored.
func TestFlatFileWrongLine(t *testing.T) {
	s := start(t, dataDir(t), options{})
	r := feed(t, 1, strings.NewReader("a|b\nc\nd|e\n"), "put", "--http", s.http, "--table", "pairs", "--format", "flat", "--columns", "x,y")
	if !strings.Contains(r.stderr, "line 2") {
		t.Errorf("the message does not name line 2: %s", r.stderr)
	}
	st, err := s.status()
	if err != nil {
		t.Fatal(err)
	}
	if end := st.end("main"); end > 1 {
		t.Errorf("%d rows are stored, though a batch is whole or refused", end)
	}
}

// psql runs psql against the server.
func (s *server) psql(t *testing.T, args ...string) result {
	t.Helper()
	host, port, err := net.SplitHostPort(s.pg)
	if err != nil {
		t.Fatal(err)
	}
	return command(t, t.TempDir(), nil, "psql", append([]string{"-X", "-h", host, "-p", port}, args...)...)
}
