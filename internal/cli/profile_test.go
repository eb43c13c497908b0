package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProfile(t *testing.T) {
	t.Setenv("TZ", "Pacific/Apia")
	cfg := filepath.Join(t.TempDir(), "kamailio.cfg")
	text := "include_file \"site.cfg\"\n#!ifdef EXTRA\nmodparam(\"acc\", \"db_extra\", EXTRA)\n#!endif\n"
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(cfg), "site.cfg"), []byte("modparam(\"acc\", \"time_mode\", 1)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args       string
		code       int
		want, lack string
	}{
		{"profile list", 0, "kamailio\t", ""},
		{"profile list --json", 0, `"name":"acc","version":5`, ""},
		{"profile kamailio", 0, `"sip_code varchar(3) not null default"`, "time_attr"},
		{"profile kamailio --cfg " + cfg, 0, `"time_attr integer"`, "caller"},
		{"profile kamailio --cfg " + cfg + " --define EXTRA='caller=$fu'", 0, `"caller text"`, ""},
		{"profile kamailio --cfg " + cfg + " --define EXTRA=caller", 1, `"caller" is not defined`, ""},
		{"profile kamailio --cfg " + cfg + "x", 1, "no such file", ""},
		{"profile kamailio --zone Asia/Kolkata", 0, `zone: "Asia/Kolkata"`, ""},
		{"profile kamailio --zone Vienna", 2, `time zone "Vienna" is not known`, ""},
		{"profile kamailio", 0, `zone: "Pacific/Apia"`, ""},
		{"profile kamailio --define A", 2, "--define", ""},
		{"profile kamailo", 2, "did you mean kamailio", ""},
	} {
		got := run(t, "", nil, strings.Fields(c.args)...)
		all := got.out + got.errors
		if got.code != c.code || !strings.Contains(all, c.want) || c.lack != "" && strings.Contains(all, c.lack) {
			t.Errorf("%s: exit code %d\n%s", c.args, got.code, all)
		}
	}
}
