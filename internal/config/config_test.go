package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const full = `data: /var/lib/holdfast
listen: {pg: 127.0.0.1:6433, http: "[::1]:0"}
tables: {auto: true}
streams:
  main:
    hot: "/srv/main=200 GB"
    history: 100 GB
    min_free: 7.5%
    on_full: refuse
    wait: 250ms
    keep: rolled
  calls:
    tables: [acc, "missed_*"]
    hot: "/srv/calls==1.5t"
    keep: delivered
  quiet:
    tables: [acc_cdrs]
sinks:
  billing: {type: sqlite, path: /srv/billing.db, streams: [main, calls]}
  other: {type: sqlite, url: "sqlite:/srv/other.db", on_rewind: replay}
drain: 1m
scrub: 1 MB/s
scrub_pause: 48h
log: {format: json, level: debug}
max_connections: 64
`

func parse1(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFullFile(t *testing.T) {
	c := parse1(t, full)
	want := &Config{
		Path:   "test.yaml",
		Data:   "/var/lib/holdfast",
		Listen: Listen{PG: "127.0.0.1:6433", HTTP: "[::1]:0"},
		HTTP:   defaultWeb,
		Tables: Tables{Auto: true, Zone: "UTC"},
		Streams: map[string]*Stream{
			"main": {Hot: Hot{Place: Place{Path: "/srv/main", Size: 200 << 30}}, History: 100 << 30, MinFree: MinFree{Percent: 7.5},
				OnFull: Refuse, Wait: Duration(250 * time.Millisecond), Keep: KeepRolled},
			"calls": {Tables: []Glob{"acc", "missed_*"}, Hot: Hot{Place: Place{Path: "/srv/calls", Size: 3 << 39, Exist: true}},
				MinFree: defaultMinFree, OnFull: Refuse, Wait: defaultWait, Keep: KeepDelivered},
			"quiet": {Tables: []Glob{"acc_cdrs"}, Hot: Hot{Place: Place{Path: "/var/lib/holdfast/streams/quiet"}}, History: 1 << 30,
				MinFree: defaultMinFree, OnFull: Refuse, Wait: defaultWait, Keep: KeepRolled},
			"rejects": {Hot: Hot{Place: Place{Path: "/var/lib/holdfast/streams/rejects", Size: 1 << 30}}, History: 1 << 30,
				MinFree: defaultMinFree, OnFull: Refuse, Wait: defaultWait, Keep: KeepRolled},
		},
		Sinks: map[string]*Sink{
			"billing": {Type: SQLite, File: "/srv/billing.db", Create: CreateAuto, Streams: []string{"main", "calls"}, Start: StartOldest,
				OnRewind: StopOnRewind, RejectUnit: UnitRow, RejectBudget: 10_000, RejectFlood: 1},
			"other": {Type: SQLite, File: "/srv/other.db", Create: CreateAuto, Streams: []string{"calls", "main", "quiet"}, Start: StartOldest,
				OnRewind: ReplayOnRewind, RejectUnit: UnitRow, RejectBudget: 10_000, RejectFlood: 1},
		},
		Drain: Duration(time.Minute), Scrub: 1 << 20, ScrubPause: Days(48 * time.Hour), Roll: Roll{Undo: defaultUndo}, Log: Log{Format: "json", Level: "debug"}, MaxConnections: 64, Limits: defaultLimits(),
	}
	c.given = nil
	if !reflect.DeepEqual(c, want) {
		var got, expected bytes.Buffer
		c.Print(&got)
		want.Print(&expected)
		t.Errorf("got\n%s\nwant\n%s", &got, &expected)
	}
}

func TestDefaults(t *testing.T) {
	none, empty := Default(), parse1(t, "")
	if !none.Tables.Auto {
		t.Error("without a file tables.auto is false")
	}
	if empty.Tables.Auto {
		t.Error("with a file that is silent on tables, auto is true")
	}
	for name, c := range map[string]*Config{"no file": none, "empty file": empty} {
		s := c.Streams["main"]
		if c.Data != "./holdfast-data" || c.Listen.PG != "127.0.0.1:5433" || c.Listen.HTTP != "127.0.0.1:8433" {
			t.Errorf("%s: data %q, listen %+v", name, c.Data, c.Listen)
		}
		if s == nil || !reflect.DeepEqual(s.Hot, Hot{Place: Place{Path: "holdfast-data/streams/main"}}) || s.History != 1<<30 || s.Wait != Duration(5*time.Second) {
			t.Errorf("%s: main is %+v", name, s)
		}
		if len(c.Sinks) != 1 || c.Sinks["default"] == nil || c.Sinks["default"].File != "holdfast-data/holdfast.db" {
			t.Errorf("%s: sinks are %v", name, c.Sinks)
		}
		if c.Drain != Duration(10*time.Second) || c.AdminSocket() != "holdfast-data/admin.sock" {
			t.Errorf("%s: drain %v, socket %q", name, c.Drain, c.AdminSocket())
		}
	}
	if h := parse1(t, "streams: {main: {hot: /x=64MB}}").Streams["main"].History; h != 64<<20 {
		t.Errorf("history is %d where hot names 64 MB, want the whole budget", h)
	}
	if s := parse1(t, "streams:\n  main:\n"); s.Streams["main"] == nil {
		t.Error("a stream without keys is lost")
	}
}

func TestProblems(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "dat: /x\n", `f:1:1: unknown key "dat" (hint: did you mean "data"?)`},
		{"unknown key deep", "streams:\n  main:\n    histroy: 1 GB\n", `f:3:5: unknown key "histroy" in streams.main (hint: did you mean "history"?)`},
		{"unknown key in flow", "listen: {pg: 127.0.0.1:1, htp: 127.0.0.1:2}", `f:1:27: unknown key "htp" in listen (hint: did you mean "http"?)`},
		{"far from any key", "log: {colour: red}", `f:1:7: unknown key "colour" in log (hint: known here: format, level)`},
		{"key of a later version", "families: {a: {close: 1}}", `f:1:16: "close" comes with a later version (hint: remove it for now)`},
		{"a bucket", "streams: {a: {tables: [a], cold: \"s3://b/x\"}}", `f:1:34: "b" cannot be the name of a bucket (hint: write it like s3://bucket/prefix)`},
		{"a bucket's prefix", "streams: {a: {tables: [a], cold: \"s3://abc/x/../y\"}}", `f:1:34: "x/../y" cannot stand before names in a bucket (hint: write it like s3://bucket/prefix)`},
		{"a bucket's size", "streams: {a: {tables: [a], cold: \"s3://abc/x=1 TB\"}}", `f:1:34: the size of bucket "abc" is not known here (hint: bound it on the server, with a quota, or have the server remove what is old)`},
		{"another scheme", "streams: {a: {tables: [a], cold: \"gs://abc/x\"}}", `f:1:34: cold "gs://abc/x" is neither a directory nor a bucket (hint: name a directory, or a bucket like s3://bucket/prefix)`},
		{"cold among segments", "streams: {a: {tables: [a], hot: /a, cold: /a/b}}", `f:1:43: directory "/a/b" overlaps with that of stream "a" (hint: give it a directory of its own)`},
		{"cold as the data", "{data: /d, streams: {a: {tables: [a], cold: /d}}}", `f:1:45: directory "/d" is the data directory, or holds it (hint: give it a directory of its own, best on another disk)`},
		{"cold among the data", "{data: /d, streams: {a: {tables: [a], cold: /d/streams/a/x}}}", `f:1:45: directory "/d/streams/a/x" overlaps with that of stream "a" (hint: give it a directory of its own)`},
		{"a bucket without TLS", "buckets: {abc: {endpoint: \"http://s3.example.net\"}}", `f:1:27: endpoint "s3.example.net" would carry rows unencrypted over a network (hint: use https, with ca_file where it is needed; or a tunnel on this machine)`},
		{"keys in an endpoint", "buckets: {abc: {endpoint: \"https://id:key@s3.example.net\"}}", `f:1:27: the endpoint is not one (hint: write it like https://s3.example.net, and keys into keys_file)`},
		{"a region", "buckets: {abc: {region: \"EU/1\"}}", `f:1:25: "EU/1" cannot be a region (hint: like eu-central-1)`},
		{"two cold directories", "streams: {a: {tables: [a], cold: \"/a;/b\"}}", `f:1:34: cold takes one directory, not 2 (hint: name one)`},
		{"no cold tier", "streams: {a: {tables: [a], on_cold_full: drop}}", `f:1:42: stream "a" has no cold tier (hint: name a directory in cold, or remove the key)`},
		{"on_cold_full", "streams: {a: {tables: [a], cold: /a, on_cold_full: wait}}", `f:1:52: on_cold_full "wait" is not known (hint: one of block, drop, hold)`},
		{"profile", "profile: kamalio", `f:1:10: profile "kamalio" is not known (hint: did you mean "kamailio"?)`},
		{"zone", "tables: {zone: Vienna}", `f:1:16: time zone "Vienna" is not known (hint: name it like "Europe/Vienna", or "UTC")`},
		{"zone of the machine", "tables: {zone: Local}", `f:1:16: time zone "Local" is not known (hint: name it like "Europe/Vienna", or "UTC")`},
		{"times", "sinks: {a: {type: flat, url: \"flatstore:/x\", times: seconds}}", `f:1:53: times "seconds" is not known (hint: one of zoned, clock, epoch)`},
		{"times elsewhere", "sinks: {a: {type: sqlite, path: x, times: epoch}}", `f:1:43: "times" is not for a sink of type "sqlite" (hint: remove it)`},
		{"declared column", "tables: {declared: {acc: {columns: [method]}}}", `f:1:37: column "method" has no type: write it like "caller varchar(64) not null"`},
		{"declared without columns", "tables: {declared: {acc: {version: 5}}}", `f:1:26: table "acc" has no columns (hint: add "columns: [...]")`},
		{"duplicate key", "data: /a\ndata: /b\n", `f:2:1: mapping key "data" already defined at [1:1]`},
		{"no unit", "streams: {main: {history: 100}}", `f:1:27: size "100" has no unit (hint: ` + sizeHint + `)`},
		{"wrong unit", "streams: {main: {history: 100 Gbit}}", `f:1:27: size "100 Gbit" has the unknown unit "Gbit" (hint: ` + sizeHint + `)`},
		{"no number", "streams: {main: {history: lots}}", `f:1:27: size "lots" is not a number with a unit (hint: ` + sizeHint + `)`},
		{"too large", "streams: {main: {history: 99999999 TB}}", `f:1:27: size "99999999 TB" is too large (hint: the largest size is 65536 TB)`},
		{"two dots", "streams: {main: {history: 1.2.3 TB}}", `f:1:27: size "1.2.3 TB" is not a number with a unit (hint: ` + sizeHint + `)`},
		{"small budget", "streams: {main: {hot: /x=1MB}}", `f:1:23: budget "1MB" is too small for a stream (hint: give it at least 32 MB)`},
		{"budget without size", "streams: {main: {hot: \"/x=\"}}", `f:1:23: size "" is not a number with a unit (hint: ` + sizeHint + `)`},
		{"a path twice", "streams: {main: {hot: /x;/x=1TB}}", `f:1:23: directory "/x" is named twice (hint: name each directory once)`},
		{"warm within hot", "streams: {main: {hot: /x, warm: /x/w=1TB}}", `f:1:23: directory "/x/w" overlaps with "/x" (hint: name directories beside each other)`},
		{"warm and history", "streams: {main: {warm: /w=1TB, history: 1GB}}", `f:1:41: with a warm tier the sizes of the tiers say what is kept, and nothing else (hint: give sizes in hot and warm)`},
		{"an empty path", "streams: {main: {hot: /x;}}", `f:1:23: the path is empty`},
		{"a path in another", "streams: {main: {hot: /x;/x/y}}", `f:1:23: directory "/x/y" overlaps with "/x" (hint: name directories beside each other)`},
		{"hot beside and within", "streams: {a: {tables: [a], hot: /x;/y}, main: {hot: /z;/y/z}}", `f:1:53: directory "/y/z" overlaps with that of stream "a" (hint: give each stream a directory of its own)`},
		{"hot without path", "streams: {main: {hot: \"=1TB\"}}", `f:1:23: the path is empty`},
		{"hot is data", "data: /x\nstreams: {main: {hot: /x}}", `f:2:23: directory "/x" is the data directory itself (hint: leave "hot" out for the default)`},
		{"data with grammar", "data: /x=1", `f:1:7: data "/x=1" holds a character that means something else in hot (hint: choose a path without = and ;)`},
		{"data ends in a space", "data: '/x '", `f:1:7: path "/x " begins or ends with a space`},
		{"hot within hot", "streams: {a: {tables: [a], hot: /x/y}, main: {hot: /x}}", `f:1:52: directory "/x" overlaps with that of stream "a" (hint: give each stream a directory of its own)`},
		{"percent", "streams: {main: {min_free: 120%}}", `f:1:28: percentage "120%" is not one that can be kept free (hint: write a percentage from 0 to 90, like "5%")`},
		{"parent without link", "streams: {a: {tables: [a]}, b: {tables: [b], parent: a}}", `f:1:54: stream "b" and its parent "a" are not tied by the same link (hint: give both the same "link")`},
		{"unknown parent", "streams: {b: {tables: [b], link: id, parent: x}}", `f:1:46: parent "x" is no stream that "b" can belong to (hint: name another stream that is configured)`},
		{"link and keep: delivered", "streams: {b: {tables: [b], link: id, keep: delivered}}", `f:1:44: "keep: delivered" removes each row by itself, and "link" ties rows to those of other streams (hint: remove one of them)`},
		{"not scheduled", `schedule: [{cron: "1 2 3 4 5", run: "rotate x"}]`, `f:1:12: "rotate x" cannot be scheduled (hint: roll size, roll time and archive run can; write roll size --type a,b --max-size 25TB, or roll time --days 7)`},
		{"scheduled stream", `schedule: ['pathname=/index minutes=5 msg=sizeRoll params="type=meta maxSize=25TB"']`, `f:1:12: type "meta" is no stream that rolls (hint: name streams that are configured)`},
		{"on_full", "streams: {main: {on_full: refuze}}", `f:1:27: on_full "refuze" is not known (hint: did you mean "refuse"?)`},
		{"keep", "streams: {main: {keep: forever}}", `f:1:24: keep "forever" is not known (hint: one of rolled, delivered)`},
		{"keeping less than nothing", "streams: {main: {keep_at_least: {files: -2}}}", `f:1:41: -2 segments cannot be kept (hint: how many of the newest segments stay, like 10)`},
		{"keeping more than there is room", "streams: {main: {hot: /x=40MB, keep_at_least: {bytes: 5GB}}}", `f:1:55: 5368709120 B of segments do not fit into the budget of stream "main" (hint: at most 41943040 B; what is kept for good leaves no room for rows)`},
		{"nearly a bucket", "streams: {a: {tables: [a], cold: \"s3:bucket\"}}", `f:1:34: cold "s3:bucket" is neither a directory nor a bucket (hint: name a directory, or a bucket like s3://bucket/prefix)`},
		{"manifests in a stream", "manifest_dir: /x/m\nstreams: {main: {hot: /x=1GB}}", `f:1:15: directory "/x/m" is in that of stream "main", "/x" (hint: name a directory of their own)`},
		{"manifests in the data", "data: /x\nmanifest_dir: /x", `f:2:15: directory "/x" is the data directory itself (hint: name a directory of their own)`},
		{"a family where there is none", `schedule: [{cron: "1 2 3 4 5", run: "archive run utm5"}]`, `f:1:12: there is no family "utm5", and no "families" at all (hint: add "families:" with it)`},
		{"history and delivered", "streams: {main: {keep: delivered, history: 1 GB}}", `f:1:44: history "1073741824 B" cannot be kept with "keep: delivered" (hint: remove one of them)`},
		{"history over budget", "streams: {main: {hot: /x=1GB, history: 2 GB}}", `f:1:40: history "2147483648 B" does not fit into the budget of "1073741824 B" (hint: at most 1073741824 B)`},
		{"duration", "streams: {main: {wait: 5}}", `f:1:24: "5" is not a length of time (hint: write a number and a unit, like "5s" or "500ms")`},
		{"negative duration", "drain: -5s", `f:1:8: length of time "-5s" is out of range (hint: from 0s to 1h)`},
		{"bool", "tables: {auto: yes}", `f:1:16: "yes" is neither true nor false (hint: write true or false)`},
		{"number", "max_connections: many", `f:1:18: "many" is not a whole number up to 2147483647`},
		{"number out of range", "max_connections: 0", `f:1:18: max_connections "0" is out of range (hint: from 1 to 10000)`},
		{"list for value", "data: [/a]", `f:1:7: "data" takes a single value, not a list`},
		{"value for list", "streams: {a: {tables: acc}}", `f:1:23: "tables" takes a list, not "acc" (hint: write it like "[a, b]")`},
		{"value for mapping", "listen: 127.0.0.1:5433", `f:1:9: "listen" takes keys and values, not "127.0.0.1:5433" (hint: write keys and values, like "key: value")`},
		{"no value", "data:\ndrain: 1s\n", `f:1:6: "data" has no value (hint: write a value, or remove the key)`},
		{"whole file is a list", "- data\n", `f:1:1: the file takes keys and values, not a list (hint: write keys and values, like "key: value")`},
		{"anchor", "data: &a /x", `f:1:7: anchors, aliases and tags are not used in a configuration (hint: write the value itself)`},
		{"merge key", "listen: {<<: {pg: 127.0.0.1:1}}", `f:1:10: "<<" cannot be a key here`},
		{"two documents", "data: /a\n---\ndrain: 1s\n", `f:3:1: a configuration is one document, and this begins another (hint: remove the "---")`},
		{"outside address", "listen: {pg: 0.0.0.0:5433}", `f:1:14: address "0.0.0.0:5433" can be reached from outside, where nobody may come in unknown, and there are no users (hint: add "users:" (holdfast config verifier), or listen on 127.0.0.1)`},
		{"any address", "listen: {pg: \":5433\"}", `f:1:14: address ":5433" can be reached from outside, where nobody may come in unknown, and there are no users (hint: add "users:" (holdfast config verifier), or listen on 127.0.0.1)`},
		{"host name", "listen: {pg: example.net:5433}", `f:1:14: "example.net" in address "example.net:5433" is not an IP address (hint: write an IP address, like "127.0.0.1")`},
		{"no port", "listen: {pg: 127.0.0.1}", `f:1:14: "127.0.0.1" is not an address (hint: write host:port, like "127.0.0.1:5433")`},
		{"bad port", "listen: {pg: 127.0.0.1:99999}", `f:1:14: address "127.0.0.1:99999" has no usable port (hint: a port is a number from 0 to 65535)`},
		{"no body", "http: {max_body: 0}", `f:1:18: max_body "0 B" lets no row in (hint: like "64 MB")`},
		{"no key", "tables: {dedupe: {acc: {window: 1h}}}", `f:1:24: table "acc" has no key, so nothing tells what a repeat is (hint: like "key: [callid, method, time]")`},
		{"no window", "tables: {dedupe: {acc: {key: [id]}}}", `f:1:24: window "0s" of table "acc" cannot be (hint: like "1h"; from 1s to 168h)`},
		{"too long a window", "tables: {dedupe: {acc: {key: [id], window: 169h}}}", `f:1:44: window "169h0m0s" of table "acc" cannot be (hint: like "1h"; from 1s to 168h)`},
		{"too few keys", "tables: {dedupe: {acc: {key: [id], window: 1h, keys: 10}}}", `f:1:54: keys "10" of table "acc" is out of range (hint: from 1000 to 20000000)`},
		{"a key twice", "tables: {dedupe: {acc: {key: [id, id], window: 1h}}}", `f:1:35: column "id" stands twice in the key of table "acc" (hint: name each column once)`},
		{"a key that is not declared", "tables: {dedupe: {acc: {key: [ide], window: 1h}}, declared: {acc: {columns: [id text, idea text]}}}", `f:1:31: column "ide" is none of table "acc" (hint: name columns that are declared)`},
		{"same address", "listen: {pg: 127.0.0.1:1, http: 127.0.0.1:1}", `f:1:33: pg and http cannot both listen on "127.0.0.1:1" (hint: give each its own port)`},
		{"stream name", "streams: {../x: {tables: [a]}}", `f:1:11: "../x" cannot be a name in streams (hint: use a-z, 0-9, _ and -, at most 63 of them, beginning with a letter or digit)`},
		{"rejects take no table", "streams: {rejects: {tables: [a]}}", `f:1:29: "rejects" takes no table: Holdfast alone writes to it (hint: it has hot, min_free and wait)`},
		{"rejects are kept", "streams: {rejects: {keep: delivered}}", `f:1:20: "rejects" keeps rejects until they are settled, so it has no history and no other keep (hint: it has hot, min_free and wait)`},
		{"stream without tables", "streams: {calls: {wait: 1s}}", `f:1:18: stream "calls" names no table, so nothing would ever go there (hint: add "tables: [...]")`},
		{"tables of main", "streams: {main: {tables: [a]}}", `f:1:26: "main" takes every table that no other stream names, so it cannot name any (hint: name them in another stream, or remove the key)`},
		{"table twice", "streams: {a: {tables: [x]}, b: {tables: [y, x]}}", `f:1:45: table "x" is already named by stream "a" (hint: a table goes to one stream)`},
		{"pattern", `streams: {a: {tables: ["x[a"]}}`, `f:1:24: pattern "x[a" does not end (hint: * stands for any characters, ? for any one, [a-z] for one of a range)`},
		{"sink type", "sinks: {a: {type: sqllite}}", `f:1:19: sink type "sqllite" is not known (hint: did you mean "sqlite"?)`},
		{"on_rewind", "sinks: {a: {type: sqlite, path: a, on_rewind: replya}}", `f:1:47: on_rewind "replya" is not known (hint: did you mean "replay"?)`},
		{"sink without type", "sinks: {a: {path: /x}}", `f:1:12: sink "a" has no type (hint: add "type: sqlite")`},
		{"sink without file", "sinks: {a: {type: sqlite}}", `f:1:12: sink "a" does not say where its file is (hint: add "path: FILE")`},
		{"sink with other url", "sinks: {a: {type: sqlite, url: \"mysql://u:pw@h/\"}}", `f:1:32: the url of sink "a" is not one of an sqlite sink (hint: write it like "sqlite:/var/lib/holdfast/rows.db")`},
		{"sink stream", "streams: {calls: {tables: [a]}}\nsinks: {a: {type: sqlite, path: /x, streams: [call]}}", `f:2:47: stream "call" is not configured (hint: did you mean "calls"?)`},
		{"sinks share a file", "sinks:\n  a: {type: sqlite, path: /x}\n  b: {type: sqlite, path: /y/../x}\n", `f:3:6: sink "b" writes to where sink "a" does, where each row would arrive twice (hint: give each sink a place of its own)`},
		{"log format", "log: {format: xml}", `f:1:15: log format "xml" is not known (hint: one of text, json)`},
		{"not utf-8", "data: /x\nlog: \xff\n", `f:2:6: the file is not UTF-8 (hint: save it as UTF-8)`},
		{"nul", `data: "a\0b"`, `f:1:7: path "a\x00b" holds a control character`},
		{"bracket bomb", strings.Repeat("[", 100000), `f: the file nests deeper than any configuration`},
		{"dash bomb", strings.Repeat("- ", 100000), `f: the file nests deeper than any configuration`},
		{"large file", strings.Repeat("#\n", maxFile), `f: the file is larger than 262144 bytes`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("f", []byte(test.text))
			var p Problems
			if !errors.As(err, &p) {
				t.Fatalf("got %v, want Problems", err)
			}
			if err.Error() != test.want {
				t.Errorf("\n got %s\nwant %s", err, test.want)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Parse("f", []byte("drain: 5\ndat: /x\nlog: {level: loud}\n"))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "f:1:") || !strings.HasPrefix(lines[1], "f:2:") || !strings.HasPrefix(lines[2], "f:3:") {
		t.Errorf("want one line for each of three problems, in order:\n%s", err)
	}
}

func TestSecretsStayHidden(t *testing.T) {
	with := func(password string) *Config {
		c := Default()
		c.Sinks["a"] = &Sink{Type: SQLite, URL: URL("mysql://u:" + password + "@h/x?password=" + password)}
		return c
	}
	var b bytes.Buffer
	if err := with("geheim").Print(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "mysql://u:xxxxx@h/x?password=xxxxx") {
		t.Errorf("the url is not printed:\n%s", &b)
	}
	if shown := URL("https://u:geheim@h/x?token=geheim&level=3").String(); shown != "https://u:xxxxx@h/x?level=xxxxx&token=xxxxx" {
		t.Errorf("a receiver's token is shown: %s", shown)
	}
	changes := Diff(with("geheim"), with("anders"))
	if len(changes) != 1 || changes[0].Key != "sinks.a.url" {
		t.Errorf("a changed password makes the changes %v", changes)
	}
	for _, change := range changes {
		b.WriteString(change.Old + change.New)
	}
	for _, text := range []string{"mysql://u:geheim@h/x", "mysql://u:geheim@h:x/"} {
		_, err := Parse("f", []byte("sinks: {a: {type: sqlite, url: \""+text+"\"}}"))
		b.WriteString(err.Error())
	}
	if strings.Contains(b.String(), "geheim") {
		t.Errorf("a password shows:\n%s", &b)
	}
}

func TestPrintLoadsAgain(t *testing.T) {
	for _, text := range []string{"", full, "streams: {main: {min_free: 0, keep: delivered, wait: 0s}}", "data: 'a \"b\" ä 007'\n"} {
		c := parse1(t, text)
		var first, second bytes.Buffer
		if err := c.Print(&first); err != nil {
			t.Fatal(err)
		}
		if err := parse1(t, first.String()).Print(&second); err != nil {
			t.Fatal(err)
		}
		if first.String() != second.String() {
			t.Errorf("printed\n%s\nand loaded, it prints as\n%s", &first, &second)
		}
	}
}

func TestOverride(t *testing.T) {
	c := Default()
	if err := c.Override(Override{Data: "/d", PG: "127.0.0.1:0", Log: "json,debug"}); err != nil {
		t.Fatal(err)
	}
	if c.Sinks["default"].File != "/d/holdfast.db" || c.Streams["main"].Hot.Path != "/d/streams/main" {
		t.Errorf("what derives from data did not follow it: %+v %+v", c.Sinks["default"], c.Streams["main"])
	}
	if c.Listen.PG != "127.0.0.1:0" || c.Listen.HTTP != "127.0.0.1:8433" || c.Log != (Log{"json", "debug"}) {
		t.Errorf("listen %+v, log %+v", c.Listen, c.Log)
	}
	for _, bad := range []Override{{PG: "0.0.0.0:1"}, {Data: "a\nb"}, {Data: "a=b"}, {HTTP: "x"}, {Log: "jsn"}, {PG: "127.0.0.1:8433"}} {
		before := *c
		if err := c.Override(bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
		if !reflect.DeepEqual(before, *c) {
			t.Errorf("%+v changed the configuration though refused", bad)
		}
	}
	given := parse1(t, "streams: {main: {hot: /h}}\nsinks: {s: {type: sqlite, path: /s}}")
	if err := given.Override(Override{Data: "/d"}); err != nil {
		t.Fatal(err)
	}
	if given.Streams["main"].Hot.Path != "/h" || given.Sinks["s"].File != "/s" {
		t.Error("another data directory moves what the file names itself")
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	there := t.TempDir()
	for _, test := range []struct{ name, text, want string }{
		{"fine", "data: " + dir + "/new/deep\n", ""},
		{"data is a file", "data: " + file, `f:1:7: data "` + file + `": "` + file + `" is not a directory`},
		{"data below a file", "data: " + file + "/x", `f:1:7: data "` + file + `/x": "` + file + `" is not a directory`},
		{"unmounted", "data: " + dir + "\nstreams: {main: {hot: " + dir + "/no==1TB}}", `f:2:23: directory "` + dir + `/no" is missing`},
		{"unmounted warm tier", "data: " + dir + "/d\nstreams: {main: {warm: " + dir + "/no==1TB, hot: " + dir + "/h=1TB}}", `f:2:24: directory "` + dir + `/no" is missing`},
		{"unmounted index", "data: " + dir + "/d\nstreams: {main: {index: {columns: [a], dir: " + dir + "/no==1TB}}}", `f:2:45: directory "` + dir + `/no" is missing`},
		{"unmounted warm index", "data: " + dir + "/d\nstreams: {main: {index: {columns: [a], warm: " + dir + "/no==1TB}}}", `f:2:46: directory "` + dir + `/no" is missing`},
		{"mounted index", "data: " + dir + "/d\nstreams: {main: {index: {columns: [a], dir: " + there + "==1TB}}}", ""},
		{"index in a file", "data: " + dir + "/d\nstreams: {main: {index: {columns: [a], dir: " + file + "=1TB}}}", `f:2:45: directory "` + file + `": "` + file + `" is not a directory`},
		{"manifests in a file", "data: " + dir + "/d\nmanifest_dir: " + file, `f:2:15: directory "` + file + `": "` + file + `" is not a directory`},
		{"mounted", "data: " + dir + "/d\nstreams: {main: {hot: " + dir + "==1TB}}\n", ""},
		{"made at start", "data: " + dir + "/d\nstreams: {main: {hot: " + dir + "/no=1TB}}\n", ""},
		{"sink is a directory", "data: " + dir + "/d\nsinks: {a: {type: sqlite, path: " + dir + "}}", `f:2:33: path "` + dir + `" is not a file`},
	} {
		c, err := Parse("f", []byte(test.text))
		if err == nil {
			err = c.Check()
		}
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
			t.Errorf("%s:\n got %v\nwant %s", test.name, err, test.want)
		}
	}
	if _, err := os.Stat(dir + "/new"); err == nil {
		t.Error("Check made a directory")
	}
}

func TestDiff(t *testing.T) {
	old := parse1(t, full)
	for _, test := range []struct {
		from, to string
		want     []Change
	}{
		{"", "", nil},
		{"drain: 1m", "drain: 2m", []Change{{"drain", `"1m0s"`, `"2m0s"`, false}}},
		{"level: debug", "level: warn", []Change{{"log.level", "debug", "warn", false}}},
		{"history: 100 GB", "history: 10 GB", []Change{{"streams.main.history", `"107374182400 B"`, `"10737418240 B"`, false}}},
		{"data: /var/lib/holdfast", "data: /x", []Change{
			{"data", "/var/lib/holdfast", "/x", true},
			{"streams.quiet.hot", "/var/lib/holdfast/streams/quiet", "/x/streams/quiet", true},
			{"streams.rejects.hot", `"/var/lib/holdfast/streams/rejects=1073741824 B"`, `"/x/streams/rejects=1073741824 B"`, true}}},
		{"[acc, ", "[", []Change{{"streams.calls.tables", `[acc, "missed_*"]`, `["missed_*"]`, true}}},
		{"  other: {type: sqlite, url: \"sqlite:/srv/other.db\", on_rewind: replay}\n", "", []Change{
			{"sinks.other.create", "auto", "", true}, {"sinks.other.on_rewind", "replay", "", true},
			{"sinks.other.path", "/srv/other.db", "", true}, {"sinks.other.reject_budget", "10000", "", true},
			{"sinks.other.reject_flood", `"1%"`, "", true}, {"sinks.other.reject_unit", "row", "", true},
			{"sinks.other.start", "oldest", "", true}, {"sinks.other.streams", "[calls, main, quiet]", "", true},
			{"sinks.other.type", "sqlite", "", true}}},
	} {
		got := Diff(old, parse1(t, strings.Replace(full, test.from, test.to, 1)))
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q to %q:\n got %v\nwant %v", test.from, test.to, got, test.want)
		}
	}
}

func TestRoute(t *testing.T) {
	c := parse1(t, `streams: {a: {tables: ["acc*"]}, b: {tables: [acc_cdrs, "acc_m*"]}, c: {tables: ["*_z"]}}`)
	for table, want := range map[string]string{"acc": "a", "acc_cdrs": "b", "acc_missed": "b", "other": "main", "x_z": "c", "": "main"} {
		if got := c.Route(table); got != want {
			t.Errorf("table %q goes to %q, want %q", table, got, want)
		}
	}
}

func TestMinFreeOf(t *testing.T) {
	for _, test := range []struct {
		m           MinFree
		total, want int64
	}{
		{defaultMinFree, 100 << 30, 5 << 30}, {defaultMinFree, 1000 << 30, 10 << 30},
		{MinFree{Percent: 10}, 1000, 100}, {MinFree{Bytes: 7}, 1000, 7}, {MinFree{}, 1000, 0},
	} {
		if got := test.m.Of(test.total); got != test.want {
			t.Errorf("%v of %d is %d, want %d", test.m, test.total, got, test.want)
		}
	}
}

func TestLoadMissing(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "no.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
