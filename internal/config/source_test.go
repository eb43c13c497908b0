package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestSources holds what a source may have.
func TestSources(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{calls: {type: flatstore, url: "flatstore:/var/log/kamailio/acc"}}`, ""},
		{`{calls: {type: flatstore, url: "flatstore:/a", decode: kamailio, suffix: .txt, start: now, poll: 5s, olddir: /b, archive: /c}}`, ""},
		{`{calls: {type: flatstore, url: "flatstore:/a", rotate: {every: 1h, size: 1GB, rpc: "jsonrpc:/run/k.sock"}, finished: remove}}`, ""},
		{`{calls: {type: flatstore, url: "flatstore:/a", rotate: {every: 1h, command: [kamcmd, flatstore.k_rotate]}}}`, ""},
		{`{calls: {type: flatstore, url: "flatstore:/a", columns: {acc: [method, callid]}}}`, ""},
		{`{calls: {}}`, `source "calls" has no type`},
		{`{calls: {type: flatstor}}`, `did you mean "flatstore"`},
		{`{calls: {type: flatstore}}`, `flatstore:/var/log/kamailio/acc`},
		{`{calls: {type: flatstore, url: "flatstore:"}}`, `flatstore:/var/log/kamailio/acc`},
		{`{calls: {type: flatstore, url: "mcache:/a"}}`, `does not say which directory`},
		{`{calls: {type: flatstore, url: "flatstore:/a", decod: kamailio}}`, `unknown key "decod"`},
		{`{calls: {type: flatstore, url: "flatstore:/a", finished: archive}}`, `has no archive`},
		{`{calls: {type: flatstore, url: "flatstore:/a", archive: /a}}`, `cannot use its archive`},
		{`{calls: {type: flatstore, url: "flatstore:/a", rotate: {every: 1h}}}`, `cannot tell its writers`},
		{`{calls: {type: flatstore, url: "flatstore:/a", rotate: {rpc: "udp:1"}}}`, `is no control socket`},
		{`{calls: {type: flatstore, url: "flatstore:/a", columns: {acc: [a, b, a]}}}`, `is there twice`},
		{`{calls: {type: flatstore, url: "flatstore:/a"}, b: {type: flatstore, url: "flatstore:/a/"}}`, `stored twice`},
		{`{logs: {type: syslog, listen: ["udp:127.0.0.1:5514", "tcp:[::1]:0"], table: log, max_line: 8 KB, max_connections: 5}}`, ""},
		{`{logs: {type: syslog, listen: ["udp:0.0.0.0:514"], allow: [10.0.0.0/8, 192.0.2.7, "2001:db8::/32"]}}`, ""},
		{`{logs: {type: syslog}}`, "listens nowhere"},
		{`{logs: {type: syslog, listen: ["udp:0.0.0.0:514"]}}`, "nobody may come in unknown"},
		{`{logs: {type: syslog, listen: ["tls:127.0.0.1:6514"]}}`, "needs a certificate"},
		{`{logs: {type: syslog, listen: ["sctp:127.0.0.1:6514"]}}`, "how syslog comes in"},
		{`{logs: {type: syslog, listen: ["udp:127.0.0.1"]}}`, "is not an address"},
		{`{logs: {type: syslog, listen: ["udp:127.0.0.1:1", "udp:127.0.0.1:1"]}}`, "is there twice"},
		{`{logs: {type: syslog, listen: ["udp:127.0.0.1:1"], allow: [10.0.0.0/33]}}`, "is no network"},
		{`{logs: {type: syslog, listen: ["udp:127.0.0.1:1"], max_line: 2 MB}}`, "from 1 KB to 1 MB"},
		{`{logs: {type: syslog, listen: ["udp:127.0.0.1:1"], max_connections: -1}}`, "from 1 to 10000"},
		{`{logs: {type: syslog, listen: ["udp:127.0.0.1:1"], poll: 1s}}`, `"poll" is not for a source of type "syslog"`},
		{`{calls: {type: flatstore, url: "flatstore:/a", listen: ["udp:127.0.0.1:1"]}}`, `"listen" is not for a source of type "flatstore"`},
		{`{calls: {type: spool, url: "spool:/mnt/a==", spare: "spool:/mnt/b==", intake: /var/spool/holdfast/calls}}`, ""},
		{`{calls: {type: spool, url: "spool:/mnt/a", spare: "spool:/mnt/b"}}`, "no intake that could be switched"},
		{`{calls: {type: spool, url: "spool:/mnt/a", intake: /c}}`, "no spare that it could be switched to"},
		{`{calls: {type: spool, url: "spool:/mnt/a", spare: "/mnt/b", intake: /c}}`, "does not say which directory its spare is"},
		{`{calls: {type: spool, url: "spool:/mnt/a", spare: "spool:/mnt/a/b", intake: /c}}`, `reads what source "calls" reads`},
		{`{calls: {type: spool, url: "spool:/mnt/a", spare: "spool:/mnt/b", intake: c}}`, "is no absolute path"},
		{`{calls: {type: spool, url: "spool:/mnt/a", spare: "spool:b", intake: /c}}`, "is no absolute path"},
		{`{calls: {type: spool, url: "spool:/mnt/a", spare: "spool:/mnt/b", intake: /mnt/a/c}}`, "is not outside of"},
		{`{calls: {type: flatstore, url: "flatstore:/a", spare: "spool:/b"}}`, `"spare" is not for a source of type "flatstore"`},
	} {
		read, err := Parse("test.yaml", []byte("sources: "+c.text+"\n"))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.text, err, c.want)
		}
		if err != nil {
			continue
		}
		var printed strings.Builder
		if err := read.Print(&printed); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("test.yaml", []byte(printed.String()))
		if err != nil || len(Diff(read, again)) > 0 {
			t.Errorf("%s: printed and read again: %v, %v", c.text, err, Diff(read, again))
		}
	}
	_, err := Parse("test.yaml", []byte("sources: {a: {type: flatstore, url: 'flatstore:/x'}}\nsinks: {b: {type: flat, url: 'flatstore:/x'}}\n"))
	if err == nil || !strings.Contains(err.Error(), "go round for ever") {
		t.Errorf("a sink that writes to what a source follows: %v", err)
	}
}

// TestLineColumns holds that columns come from the declared table without what
// the database numbers, or from the source's own list.
func TestLineColumns(t *testing.T) {
	c, err := Parse("test.yaml", []byte("profile: kamailio\nsources: {a: {type: flatstore, url: 'flatstore:/x', columns: {own: [b, a], missed_calls: [m]}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.LineColumns(c.Sources["a"])
	want := "map[acc:[method from_tag to_tag callid sip_code sip_reason time] acc_cdrs:[start_time end_time duration] missed_calls:[m] own:[b a]]"
	if fmt.Sprint(got) != want || err != nil {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
}
