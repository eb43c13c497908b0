package pgwire

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/fault"
)

// send queues messages and returns what they are answered up to the next Sync.
func (c *client) send(ms ...pgproto3.FrontendMessage) string {
	c.t.Helper()
	for _, m := range ms {
		c.fe.Send(m)
	}
	return c.until()
}

func parse(name, sql string, oids ...uint32) *pgproto3.Parse {
	return &pgproto3.Parse{Name: name, Query: sql, ParameterOIDs: oids}
}

// bind binds texts; "\x00" stands for NULL.
func bind(portal, name string, params ...string) *pgproto3.Bind {
	b := &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: name}
	for _, p := range params {
		v := []byte(p)
		if p == "\x00" {
			v = nil
		}
		b.Parameters = append(b.Parameters, v)
	}
	return b
}

func describe(kind byte, name string) *pgproto3.Describe {
	return &pgproto3.Describe{ObjectType: kind, Name: name}
}
func execute(portal string) *pgproto3.Execute { return &pgproto3.Execute{Portal: portal} }

var syncMessage = &pgproto3.Sync{}

func TestExtended(t *testing.T) {
	store := newMemStore(true).table(t, "k", "a int4, b text, c numeric, d mood, e timestamptz, f varchar(8)[]")
	_, addr := startServer(t, store)
	c := connect(t, addr)
	steps := []struct {
		name     string
		messages []pgproto3.FrontendMessage
		answer   string
		rows     string
	}{
		{"the usual", []pgproto3.FrontendMessage{parse("", "insert into k(a,b) values ($1,$2)"), describe('S', ""), bind("", "", "1", "x"), describe('P', ""), execute(""), syncMessage},
			"parsed; parameters [23 25]; no data; bound; no data; INSERT 0 1; ready I", "k(a,b)=1|x"},
		{"OIDs by column, cast and declaration", []pgproto3.FrontendMessage{parse("", "insert into k(a,b,c,d,e,f) values ($1,$2,$3,$4,$5,$6),($7::int8,$8,3,null,now(),'{}')", 0, 1043), describe('S', ""), syncMessage},
			"parsed; parameters [23 1043 1700 0 1184 1015 20 25]; no data; ready I", ""},
		{"unknown table", []pgproto3.FrontendMessage{parse("", "insert into u(a,b) values ($1,$2)", 0, 705), describe('S', ""), bind("", "", "1", "\x00"), execute(""), syncMessage},
			"parsed; parameters [0 0]; no data; bound; INSERT 0 1; ready I", "u(a,b)=1|NULL"},
		{"numbers by OID", []pgproto3.FrontendMessage{parse("", "insert into v(a,b) values ($1,$2)", 23, 25), bind("", "", "1", "2"), execute(""), syncMessage},
			"parsed; bound; INSERT 0 1; ready I", "v(a,b)=1|2"},
		{"once known", []pgproto3.FrontendMessage{parse("", "insert into v(a,b) values ($1,$2)"), describe('S', ""), syncMessage}, "parsed; parameters [1700 25]; no data; ready I", ""},
		{"named, run twice", []pgproto3.FrontendMessage{parse("n", "insert into k(b,a) values ('it''s',$1),($2,2)"), bind("p", "n", "1", "y"), execute("p"), bind("", "n", "3", "z"), execute(""), syncMessage},
			"parsed; bound; INSERT 0 2; bound; INSERT 0 2; ready I", "k(b,a)=it's|1\nk(b,a)=y|2\nk(b,a)=it's|3\nk(b,a)=z|2"},
		{"a name taken", []pgproto3.FrontendMessage{parse("n", "select 1"), syncMessage}, `ERROR 42P05 prepared statement "n" already exists; ready I`, ""},
		{"closed", []pgproto3.FrontendMessage{&pgproto3.Close{ObjectType: 'S', Name: "n"}, bind("", "n", "1"), syncMessage}, `closed it; ERROR 26000 prepared statement "n" does not exist; ready I`, ""},
		{"skip to Sync, nothing stored", []pgproto3.FrontendMessage{parse("", "insert into k(a) values ($1)"), bind("", "", "1"), execute(""), parse("", "nonsense"), bind("", "", "2"), execute(""), &pgproto3.Query{String: "insert into k(a) values (3)"}, syncMessage},
			`parsed; bound; INSERT 0 1; ERROR 42601 at 1 syntax error at or near "nonsense"; ready I`, ""},
		{"a simple query ends a pipeline too", []pgproto3.FrontendMessage{parse("", "insert into k(a) values (1)"), bind("", ""), execute(""), &pgproto3.Query{String: "insert into k(a) values (2)"}},
			"parsed; bound; INSERT 0 1; INSERT 0 1; ready I", "k(a)=1\nk(a)=2"},
		{"a block by messages", []pgproto3.FrontendMessage{parse("", "BEGIN"), bind("", ""), execute(""), parse("", "insert into k(a) values (1)"), bind("", ""), execute(""), syncMessage},
			"parsed; bound; BEGIN; parsed; bound; INSERT 0 1; ready T", ""},
		{"an error in it", []pgproto3.FrontendMessage{parse("", "delete from k"), execute(""), syncMessage}, `ERROR 0A000 at 1 statement "delete" is not taken; ready E`, ""},
		{"25P02", []pgproto3.FrontendMessage{parse("", "insert into k(a) values (2)"), syncMessage}, "ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block; ready E", ""},
		{"its end", []pgproto3.FrontendMessage{parse("", "COMMIT"), bind("", ""), execute(""), syncMessage}, "parsed; bound; ROLLBACK; ready I", ""},
		{"select in text", []pgproto3.FrontendMessage{parse("", "select 1"), describe('S', ""), bind("", ""), execute(""), syncMessage}, "parsed; parameters []; columns ?column? 23; bound; row 1; SELECT 1; ready I", ""},
		{"empty", []pgproto3.FrontendMessage{parse("", " -- ping"), describe('S', ""), bind("", ""), execute(""), syncMessage}, "parsed; parameters []; no data; bound; empty; ready I", ""},
		{"two statements", []pgproto3.FrontendMessage{parse("", "select 1; select 2"), syncMessage}, "ERROR 42601 cannot insert multiple commands into a prepared statement; ready I", ""},
		{"wrong number", []pgproto3.FrontendMessage{parse("", "insert into k(a) values ($1)"), bind("", "", "1", "2"), syncMessage}, `parsed; ERROR 08P01 bind message supplies 2 parameters, but prepared statement "" requires 1; ready I`, ""},
		{"a portal twice", []pgproto3.FrontendMessage{bind("", "", "1"), execute(""), execute(""), syncMessage}, `bound; INSERT 0 1; ERROR 55000 portal "" cannot be run anymore; ready I`, ""},
		{"portals end with the transaction", []pgproto3.FrontendMessage{bind("q", "", "1"), syncMessage}, "bound; ready I", ""},
		{"so this one is gone", []pgproto3.FrontendMessage{execute("q"), syncMessage}, `ERROR 34000 portal "q" does not exist; ready I`, ""},
		{"a portal's name taken", []pgproto3.FrontendMessage{bind("q", "", "1"), bind("q", "", "1"), syncMessage}, `bound; ERROR 42P03 portal "q" already exists; ready I`, ""},
		{"no NUL in text", []pgproto3.FrontendMessage{bind("", "", "a\x00b"), syncMessage}, `ERROR 22021 invalid byte sequence for encoding "UTF8": 0x00 [parameter $1]; ready I`, ""},
		{"pgx asks for a table's types", []pgproto3.FrontendMessage{parse("", `select "a", "b" ,d from "k"`), describe('S', ""), syncMessage}, "parsed; parameters []; columns a 23, b 25, d 25; ready I", ""},
		{"and cannot read it", []pgproto3.FrontendMessage{bind("", ""), execute(""), syncMessage}, `bound; ERROR 0A000 table "k" cannot be read here; ready I`, ""},
		{"of an unknown table", []pgproto3.FrontendMessage{parse("", `select "a" from "nope"`), describe('S', ""), syncMessage}, `parsed; parameters []; ERROR 42P01 relation "nope" does not exist; ready I`, ""},
		{"set by messages", []pgproto3.FrontendMessage{parse("", "SET extra_float_digits = 3"), bind("", ""), execute(""), syncMessage}, "parsed; bound; SET; ready I", ""},
		{"more than there are", []pgproto3.FrontendMessage{parse("", "insert into k values ($1,$2,$3,$4,$5,$6,$7)"), syncMessage}, `ERROR 42601 INSERT has more expressions than table "k" has columns: 7 and 6; ready I`, ""},
		{"without a list", []pgproto3.FrontendMessage{parse("", "insert into k values ($1,$2)"), describe('S', ""), bind("", "", "5", "x"), execute(""), syncMessage}, "parsed; parameters [23 25]; no data; bound; INSERT 0 1; ready I", "k(a,b)=5|x"},
		{"DEFAULT", []pgproto3.FrontendMessage{parse("", "insert into k(a,b) values (default,$1),($2,default)"), bind("", "", "x", "5"), execute(""), syncMessage}, "parsed; bound; INSERT 0 2; ready I", "k(b)=x\nk(a)=5"},
		{"a function call", []pgproto3.FrontendMessage{&pgproto3.FunctionCall{Function: 1}}, "ERROR 0A000 function calls are not taken; ready I", ""},
	}
	for _, s := range steps {
		want(t, s.name, c.send(s.messages...), s.answer)
		rows := strings.Join(store.taken(), "\n")
		want(t, s.name+": rows", rows, s.rows)
	}
	if ty := store.tables["v"]; ty[0].Type != "numeric" || ty[1].Type != "text" {
		t.Errorf("v has the types %v, want numeric and text", ty)
	}
}

// TestStrictTables: without automatic tables Parse says what is not known.
func TestStrictTables(t *testing.T) {
	_, addr := startServer(t, newMemStore(false).table(t, "k", "a int4"))
	c := connect(t, addr)
	want(t, "table", c.send(parse("", "insert into u(a) values ($1)"), syncMessage), `ERROR 42P01 relation "u" does not exist; ready I`)
	want(t, "column", c.send(parse("", "insert into k(x) values ($1)"), syncMessage), `ERROR 42703 column "x" of table "k" does not exist; ready I`)
}

// TestPipeline: everything up to Sync is one commit, and one that fails takes
// the answers of its rows with it.
func TestPipeline(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store)
	c := connect(t, addr)
	c.send(parse("i", "insert into t(a) values ($1)"), syncMessage)
	for range 50 {
		c.fe.Send(bind("", "i", "1"))
		c.fe.Send(execute(""))
	}
	want(t, "answers", c.send(syncMessage), strings.Repeat("bound; INSERT 0 1; ", 50)+"ready I")
	if len(store.commits) != 1 || len(store.rows) != 50 {
		t.Fatalf("%d commits of %d rows, want one of 50", len(store.commits), len(store.rows))
	}
	store.failCommit = fault.New(fault.OutcomeUnknown, "the disk did not answer")
	want(t, "failed", c.send(bind("", "i", "1"), describe('P', ""), execute(""), bind("", "i", "2"), execute(""), syncMessage),
		"bound; no data; ERROR 40003 the disk did not answer; ready I")
}

// TestFlush: what was asked for is sent before Sync.
func TestFlush(t *testing.T) {
	_, addr := startServer(t, newMemStore(true))
	c := connect(t, addr)
	c.fe.Send(parse("", "select 1"))
	c.fe.Send(describe('S', ""))
	c.fe.Send(&pgproto3.Flush{})
	if err := c.fe.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []string{"parsed", "parameters []", "columns ?column? 23"} {
		m, err := c.fe.Receive()
		if err != nil {
			t.Fatal(err)
		}
		want(t, "before Sync", c.tell(m), wanted)
	}
	want(t, "Sync", c.send(syncMessage), "ready I")
}

func TestBinaryAnswers(t *testing.T) {
	_, addr := startServer(t, newMemStore(true))
	c := connect(t, addr)
	b := bind("", "")
	b.ResultFormatCodes = []int16{1}
	got := c.send(parse("", "select 258, true, 'x', now()"), b, describe('P', ""), execute(""), syncMessage)
	at := binary.BigEndian.AppendUint64(nil, uint64(fixedNow.UnixMicro()-epoch*1e6))
	want(t, "answer", got, "parsed; bound; columns ?column? 23, bool 16, ?column? 25, now 1184; row \x00\x00\x01\x02|\x01|x|"+string(at)+"; SELECT 1; ready I")
}

// TestMalformed: a message that does not hold together is an error, and not
// the connection's end.
func TestMalformed(t *testing.T) {
	_, addr := startServer(t, newMemStore(true))
	c := connect(t, addr)
	raw := func(kind byte, body string) string {
		b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body)))
		if _, err := c.conn.Write(append(b, body...)); err != nil {
			t.Fatal(err)
		}
		if kind == 'Q' {
			return c.until()
		}
		return c.send(syncMessage)
	}
	c.send(parse("", "insert into t(a) values ($1)"), syncMessage)
	for _, m := range []struct {
		kind byte
		body string
		code string
	}{
		{'Q', "select 1", "08P01"}, {'Q', "", "08P01"}, {'Q', "select\x001\x00", "22021"},
		{'P', "", "08P01"}, {'P', "a\x00b", "08P01"}, {'P', "\x00select 1\x00\x00\x02\x00\x00\x00\x01", "08P01"}, {'P', "\x00select 1\x00\xff\xff", "08P01"},
		{'B', "\x00\x00\x00\x00\x00\x01\x00\x00\x00\x09abc\x00\x00", "08P01"}, {'B', "\x00\x00\x00\x00\x00\x01\xff\xff\xff\xfe\x00\x00", "08P01"}, {'B', "\x00\x00\xff\xff", "08P01"},
		{'B', "\x00\x00\x00\x01\x00\x07\x00\x01\x00\x00\x00\x01a\x00\x00", "08P01"}, {'B', "\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01a\x00\x01", "08P01"},
		{'B', "\x00\x00\x00\x01\x00\x01\x00\x01\x00\x00\x00\x01a\x00\x00", "0A000"}, {'B', "\x00\x00\x00\x02\x00\x01\x00\x01\x00\x01\x00\x00\x00\x01a\x00\x00", "08P01"},
		{'D', "", "08P01"}, {'D', "X\x00", "08P01"}, {'D', "S", "08P01"}, {'E', "\x00", "08P01"}, {'E', "\x00\x00\x00\x00\x00\x00", "08P01"}, {'C', "X\x00", "08P01"}, {'C', "", "08P01"},
	} {
		if got := raw(m.kind, m.body); !strings.Contains(got, "ERROR "+m.code) || !strings.HasSuffix(got, "ready I") {
			t.Errorf("%c %q: got %s, want %s", m.kind, m.body, got, m.code)
		}
	}
	want(t, "after all", c.query("select 1"), "columns ?column? 23; row 1; SELECT 1; ready I")
}
