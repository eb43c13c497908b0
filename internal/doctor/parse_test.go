package doctor

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func TestCleanings(t *testing.T) {
	for line, want := range map[string]bool{
		"d /var/spool/x 0755 root root 10d": true, "d /var/spool/x 0755 root root -": false, "d /var/spool/x": false, "D /var/spool/x 0755 root root -": true,
		"R! /var/spool/*": true, "x /var/spool/x": true, "L /a - - - - /b": false, "# R /": false, "": false, "f /a 0644 root root 10d": false,
	} {
		if _, ok := cleaningOf(line); ok != want {
			t.Errorf("%q: %v", line, ok)
		}
	}
	for _, test := range []struct {
		glob, dir string
		want      bool
	}{{"/var/tmp", "/var/tmp/a/b", true}, {"/var/spool/*", "/var/spool/x", true}, {"/var/tmp", "/var/tmpx", false}, {"/var/tmp/a", "/var/tmp", false}, {"/", "/a", true}, {"[", "/a", false}} {
		if got := hits(test.glob, test.dir); got != test.want {
			t.Errorf("%q hits %q: %v", test.glob, test.dir, got)
		}
	}
}

func TestRotations(t *testing.T) {
	got := rotations("weekly\n# /x/* {\n\"/var/log/a b.log\" /var/log/b/*.log\n{\n  daily\n  postrotate\n    kill -USR1 ${PID}\n  endscript\n}\n/c.log {\n copytruncate\n}\ninclude /etc/x\n")
	if len(got) != 2 || got[0].globs[len(got[0].globs)-1] != "/var/log/b/*.log" || !reflect.DeepEqual(got[1], rotation{[]string{"/c.log"}, "\ncopytruncate"}) {
		t.Errorf("%q", got)
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]time.Duration{"60": time.Minute, "1min 30s": 90 * time.Second, "5sec": 5 * time.Second} {
		if got, err := seconds(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	if got, err := seconds("infinity"); err == nil {
		t.Errorf("infinity is %v", got)
	}
	place := func(dir string) *place { return &place{Place: Place{Dir: dir}, real: dir} }
	for _, test := range []struct{ unit, dir, want string }{
		{"ProtectSystem=strict\nStateDirectory=holdfast", "/var/lib/holdfast/x", ""},
		{"ProtectSystem=strict\nStateDirectory=holdfast", "/srv/x", "ProtectSystem=strict"},
		{"ProtectSystem=strict\nReadWritePaths=-/srv/x /srv/y", "/srv/y/z", ""},
		{"ProtectSystem=full", "/srv/x", ""},
		{"ProtectSystem=full", "/etc/x", "ProtectSystem=full"},
		{"ProtectHome=yes", "/home/me", "ProtectHome"},
		{"PrivateTmp=yes\nReadWritePaths=/tmp/x", "/tmp/x", "PrivateTmp=yes"},
		{"PrivateTmp=no", "/tmp/x", ""},
		{"#ProtectSystem=strict", "/srv", ""},
	} {
		if got := hidden(directives(test.unit), place(test.dir)); got != test.want {
			t.Errorf("%q: %s is kept away by %q, want %q", test.unit, test.dir, got, test.want)
		}
	}
}

func TestSeverityInJSON(t *testing.T) {
	text, err := json.Marshal(Finding{Severity: Critical})
	var back Finding
	if err != nil || json.Unmarshal(text, &back) != nil || back.Severity != Critical || json.Unmarshal([]byte(`{"severity":"dire"}`), &back) == nil {
		t.Errorf("%s, %v, %+v", text, err, back)
	}
}

func TestQuote(t *testing.T) {
	for name, want := range map[string]string{"/a/b-c": "/a/b-c", "/a b": "'/a b'", "/it's": `'/it'\''s'`, "": "''", "/$(x)": "'/$(x)'"} {
		if got := quote(name); got != want {
			t.Errorf("%q is quoted %s", name, got)
		}
	}
}
