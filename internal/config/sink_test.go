package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// allKinds has a sink of every type, with every key that the type has.
const allKinds = `streams:
  calls: {tables: ["acc*"]}
sinks:
  billing:
    type: postgres
    url: "postgres://holdfast@db.example.net/billing?sslmode=require"
    password_file: /run/secrets/pg
    schema: accounting
    create: never
    streams: [main]
    tables: ["acc*", cdrs]
    authority: ["*"]
    rename: {tables: {acc: calls}, columns: {acc.src: source, "acc.dst ip": destination}}
    add: {site: "vie1", seq_no: $seq, at: $received_at, node: $host, price: $$5, n: 7}
    start: now
    on_rewind: replay
    reject_unit: transaction
    reject_budget: 500
    reject_flood: 2.5%
  shop: {type: mysql, url_file: /run/secrets/shop, schema: own, timeout: 2m, authority: ["acc*"], reject_flood: off}
  files: {type: flat, url: "flatstore:/var/log/acc", writer: 3, file: "{table}_{n}-%Y%m%d.log", marks: kamailio, times: clock, zone: local, columns: {acc: [method, "from tag"]}, rotate_size: 1 GB, rotate_every: 24h, mode: 0644}
  web: {type: http, url: "https://rows.example.net/v1", token_file: /run/secrets/t, ca_file: /etc/ca.pem, headers_file: /run/secrets/h, compress: gzip, timeout: 5s}
`

func TestAllKindsOfSinks(t *testing.T) {
	c := parse1(t, allKinds)
	b := c.Sinks["billing"]
	if b.Rename.Tables["acc"] != "calls" || b.Rename.Columns["acc.dst ip"] != "destination" || b.Add["seq_no"] != "$seq" || b.Add["n"] != "7" {
		t.Errorf("renamed %+v, added %+v", b.Rename, b.Add)
	}
	if b.Start != StartNow || b.RejectUnit != UnitTransaction || b.RejectBudget != 500 || b.RejectFlood != 2.5 || b.Create != CreateNever || b.Schema != "accounting" {
		t.Errorf("billing is %+v", b)
	}
	if s := c.Sinks["shop"]; s.RejectFlood != 0 || s.RejectBudget != 10_000 || s.Start != StartOldest || strings.Join(s.Streams, " ") != "calls main" {
		t.Errorf("shop is %+v", s)
	}
	if f := c.Sinks["files"]; f.Directory() != "/var/log/acc" || f.Writer != 3 || f.Mode != 0o644 || f.RotateSize != 1<<30 || f.RotateEvery != Days(24*time.Hour) || f.Marks != MarksKamailio || f.Times != TimesClock || f.Zone != ZoneLocal || len(f.Columns["acc"]) != 2 {
		t.Errorf("files is %+v", f)
	}
	if w := c.Sinks["web"]; w.Timeout != Duration(5*time.Second) || w.Compress != CompressGzip {
		t.Errorf("web is %+v", w)
	}
	plain := parse1(t, "sinks: {f: {type: flat, url: flatstore:/x}, h: {type: http, url: http://h/}}")
	if f, h := plain.Sinks["f"], plain.Sinks["h"]; f.Writer != 1 || f.Mode != 0o640 || h.Timeout != defaultTimeout || h.Compress != CompressNone {
		t.Errorf("defaults are %+v and %+v", f, h)
	}
	if zero := parse1(t, "sinks: {f: {type: flat, url: flatstore:/x, writer: 0}}").Sinks["f"]; zero.Writer != 0 {
		t.Errorf("writer 0 became %d", zero.Writer)
	}
	var first, second bytes.Buffer
	if err := c.Print(&first); err != nil {
		t.Fatal(err)
	}
	if err := parse1(t, first.String()).Print(&second); err != nil || first.String() != second.String() {
		t.Errorf("printed\n%s\nand loaded, it prints as\n%s (%v)", &first, &second, err)
	}
	if got := Diff(c, parse1(t, strings.Replace(allKinds, "acc.src: source", "acc.src: origin", 1))); len(got) != 1 || got[0].Key != "sinks.billing.rename.columns.acc.src" || !got[0].Restart {
		t.Errorf("a renamed column makes the changes %v", got)
	}
}

func TestSinkProblems(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"without url", "sinks: {a: {type: postgres}}", `f:1:12: sink "a" does not say where it is (hint: add "url: postgres://holdfast@db.example.net/billing")`},
		{"other url", "sinks: {a: {type: flat, url: /var/log}}", `f:1:30: the url of sink "a" is not one of a flat sink (hint: write it like "flatstore:/var/log/acc")`},
		{"key of another type", "sinks: {a: {type: sqlite, path: /a, writer: 2}}", `f:1:45: "writer" is not for a sink of type "sqlite" (hint: remove it)`},
		{"url twice", "sinks: {a: {type: mysql, url: mysql://h/d, url_file: /f}}", `f:1:54: sink "a" has both a url and a url_file (hint: remove one of them)`},
		{"password twice", "sinks: {a: {type: mysql, url: mysql://u:p@h/d, password_file: /f}}", `f:1:63: sink "a" has a password in its url and another in a file (hint: keep it in the file alone)`},
		{"start", "sinks: {a: {type: sqlite, path: /a, start: newest}}", `f:1:44: start "newest" is not known (hint: one of oldest, now)`},
		{"unit", "sinks: {a: {type: sqlite, path: /a, reject_unit: rows}}", `f:1:50: reject_unit "rows" is not known (hint: did you mean "row"?)`},
		{"budget", "sinks: {a: {type: sqlite, path: /a, reject_budget: 0}}", `f:1:52: reject_budget "0" is out of range (hint: at least 1)`},
		{"flood", "sinks: {a: {type: sqlite, path: /a, reject_flood: 1}}", `f:1:51: reject_flood "1" is neither a share nor off (hint: write a percentage up to 100, like "1%", or "off")`},
		{"create", "sinks: {a: {type: sqlite, path: /a, create: maybe}}", `f:1:45: create "maybe" is not known (hint: one of auto, never)`},
		{"mode", "sinks: {a: {type: flat, url: flatstore:/a, mode: 0777}}", `f:1:50: mode "0777" does not fit a flat file (hint: like "0640": who writes must read and write, others may at most read, nobody runs it)`},
		{"mode of no file", "sinks: {a: {type: flat, url: flatstore:/a, mode: 0999}}", `f:1:50: mode "0999" is not one of a file (hint: write it in octal, like "0640")`},
		{"writer", "sinks: {a: {type: flat, url: flatstore:/a, writer: 1000000}}", `f:1:52: writer "1000000" is out of range (hint: from 0 to 999999)`},
		{"pattern leads out", "sinks: {a: {type: flat, url: flatstore:/a, file: ../x}}", `f:1:50: file "../x" leads out of the directory (hint: the directory stands in the url)`},
		{"pattern of all tables", "sinks: {a: {type: flat, url: flatstore:/a, file: x.log}}", `f:1:50: file "x.log" lacks {table} or {n}, so that tables or writers would share a file (hint: like "{table}_{n}-%Y%m%d.log")`},
		{"marks", "sinks: {a: {type: flat, url: flatstore:/a, marks: kamalio}}", `f:1:51: marks "kamalio" is not known (hint: did you mean "kamailio"?)`},
		{"one receiver", "sinks:\n  a: {type: http, url: http://h/, tables: [x]}\n  b: {type: http, url: http://h/, tables: [y]}\n", `f:3:6: sink "b" writes to where sink "a" does, where each row would arrive twice (hint: give each sink a place of its own)`},
		{"added", "sinks: {a: {type: sqlite, path: /a, add: {x: $sequence}}}", `f:1:46: nothing is known as "$sequence" (hint: one of $seq, $received_at, $stream, $host; $$ stands for a $)`},
		{"renamed to one", "sinks: {a: {type: sqlite, path: /a, rename: {tables: {x: z, y: z}}}}", `f:1:64: tables "x" and "y" would both be called "z" (hint: give each a name of its own)`},
		{"renamed columns", "sinks: {a: {type: sqlite, path: /a, rename: {columns: {t.x: z, t.y: z, u.x: z}}}}", `f:1:69: columns "t.x" and "t.y" would both be called "z" (hint: give each a name of its own)`},
		{"renamed column without table", "sinks: {a: {type: sqlite, path: /a, rename: {columns: {x: z}}}}", `f:1:59: "x" is not a table and a column (hint: write it like "acc.src_ip")`},
		{"no tables", "sinks: {a: {type: sqlite, path: /a, tables: []}}", `f:1:45: the list of tables is empty, so nothing would ever be delivered (hint: leave the key out to deliver all of them)`},
		{"rejects to a sink", "sinks: {a: {type: sqlite, path: /a, streams: [rejects]}}", `f:1:47: "rejects" is kept by Holdfast itself, and delivered to no sink (hint: holdfast rejects export gets them out)`},
		{"one file", "sinks:\n  a: {type: flat, url: flatstore:/x}\n  b: {type: flat, url: flatstore:/x/}\n", `f:3:6: sink "b" writes to where sink "a" does, where each row would arrive twice (hint: give each sink a place of its own)`},
		{"one database", "sinks:\n  a: {type: mysql, url: mysql://h/d}\n  b: {type: mysql, url: mysql://h/d}\n", `f:3:6: sink "b" writes to where sink "a" does, where each row would arrive twice (hint: give each sink a place of its own)`},
		{"two authorities", "sinks:\n  a: {type: mysql, url: mysql://h/d, authority: [x]}\n  b: {type: sqlite, path: /b, authority: [y, x]}\n", `f:3:46: sink "a" is already the authority for "x" (hint: one sink's definitions hold for a table)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("f", []byte(test.text))
			var p Problems
			if !errors.As(err, &p) || err.Error() != test.want {
				t.Errorf("\n got %v\nwant %s", err, test.want)
			}
		})
	}
	parse1(t, "sinks:\n  a: {type: flat, url: flatstore:/x}\n  b: {type: flat, url: flatstore:/x, writer: 2}\n")
	parse1(t, "sinks:\n  a: {type: mysql, url: mysql://h/d, tables: [x]}\n  b: {type: mysql, url: mysql://h/d, tables: [y]}\n")
}

// TestSecretFiles holds that a secret which others can read is refused, that
// one which is fine gets into the url, and that it never shows.
func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", "ge/h@im\n", 0o400)
	url := file("url", "mysql://u:geheim@h/d\n", 0o600)
	for _, test := range []struct{ key, path, want string }{
		{"password_file", good, ""},
		{"password_file", file("group", "x", 0o640), "may be read by others than its owner (mode 0640)"},
		{"password_file", file("world", "x", 0o604), "may be read by others than its owner (mode 0604)"},
		{"password_file", file("empty", "\n", 0o600), "is empty, or not text"},
		{"password_file", filepath.Join(dir, "missing"), "no such file"},
		{"password_file", dir, "is not a file"},
	} {
		c := parse1(t, "data: "+dir+"/d\nsinks: {a: {type: postgres, url: \"postgres://holdfast@h/d?sslmode=require\", "+test.key+": "+test.path+"}}")
		err := c.Check()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "test.yaml:2:")) {
			t.Errorf("%s %s: %v, want %q", test.key, test.path, err, test.want)
		}
		if _, terr := c.Sinks["a"].Target(); (terr == nil) != (test.want == "") {
			t.Errorf("%s: checked %v, but used %v", test.path, err, terr)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir) // as a systemd unit has it
	if _, err := Secret(filepath.Join(dir, "group")); err != nil {
		t.Errorf("a credential: %v", err)
	}
	if _, err := Secret(filepath.Join(dir, "world")); err == nil {
		t.Error("a credential that all may read is taken")
	}
	c := parse1(t, "sinks: {a: {type: postgres, url: \"postgres://holdfast@h/d?sslmode=require\", password_file: "+good+"}, b: {type: mysql, url_file: "+url+"}, c: {type: http, url_file: "+url+"}}")
	if got, err := c.Sinks["a"].Target(); err != nil || got != "postgres://holdfast:ge%2Fh%40im@h/d?sslmode=require" {
		t.Errorf("target %q, %v", got, err)
	}
	if got, err := c.Sinks["b"].Target(); err != nil || got != "mysql://u:geheim@h/d" {
		t.Errorf("target %q, %v", got, err)
	}
	if _, err := c.Sinks["c"].Target(); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a url of another kind of sink: %v", err)
	}
	var b bytes.Buffer
	if err := c.Print(&b); err != nil || strings.Contains(b.String(), "geheim") || strings.Contains(b.String(), "ge/h") {
		t.Errorf("printed %s, %v", &b, err)
	}
}

func TestFlatDirectory(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]bool{dir: true, dir + "/missing": false} {
		c := parse1(t, "data: "+dir+"/d\nsinks: {a: {type: flat, url: \"flatstore:"+path+"\"}}")
		if err := c.Check(); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}
