package profile_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/profile"
	"holdfast/internal/typing"
)

func TestProfiles(t *testing.T) {
	names := profile.Names()
	if len(names) == 0 || names[0] != "kamailio" {
		t.Fatalf("there are %q", names)
	}
	for _, name := range names {
		p, err := profile.Load(name)
		if err != nil || p.Name != name || p.About == "" {
			t.Fatalf("%q: %v, %v", name, p, err)
		}
		for _, table := range p.Tables {
			for _, c := range table.Columns {
				if judge := typing.Compile(c.Type); judge.Any() && c.Type != "text" {
					t.Errorf("type %q of %s.%s is none that the door knows", c.Type, table.Name, c.Name)
				}
				if back, err := profile.ParseColumn(c.String()); err != nil || back.Name != c.Name || back.Type != c.Type || back.NotNull != c.NotNull || back.Default != c.Default {
					t.Errorf("%q is read as %+v, %v", c, back, err)
				}
			}
		}
	}
	if _, err := profile.Load("../kamailio"); err == nil || !strings.Contains(err.Error(), "kamailio") {
		t.Errorf("a profile that does not exist: %v", err)
	}
	p, _ := profile.Load("kamailio")
	for table, want := range map[string]int{"acc": 5, "missed_calls": 4, "acc_cdrs": 3, "version": 1, "subscriber": 0} {
		if got, ok := p.TableVersion(table); got != want || ok != (want > 0) {
			t.Errorf("version of %q is %d, %v", table, got, ok)
		}
	}
}

// columnsOf lists a table's columns behind the id.
func columnsOf(p *profile.Profile, table string) string {
	var names []string
	for _, t := range p.Tables {
		for i, c := range t.Columns {
			if t.Name == table && i > 0 {
				names = append(names, c.Name)
			}
		}
	}
	return strings.Join(names, ",")
}

// TestRealConfiguration derives the columns of the proxy whose lines and
// statements are kept with it.
func TestRealConfiguration(t *testing.T) {
	f, err := os.Open("testdata/kamailio.cfg")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := profile.FromKamailio(profile.Kamailio{Name: "kamailio.cfg", Config: f})
	if err != nil {
		t.Fatal(err)
	}
	// The column lists of the INSERTs that this proxy sent.
	acc := "method,from_tag,to_tag,callid,sip_code,sip_reason,time,src_user,src_domain,src_ip,dst_ouser,dst_user,dst_domain,ua,tag"
	for table, want := range map[string]string{"acc": acc, "missed_calls": acc, "acc_cdrs": "start_time,end_time,duration,caller,callee,call_id"} {
		if got := columnsOf(p, table); got != want {
			t.Errorf("%s has %s, want %s", table, got, want)
		}
	}
	// A line of each table, as the proxy wrote it, has as many fields.
	for table, line := range map[string]string{
		"acc":      `INVITE|24202SIPpTag0026|23617SIPpTag0126|26-24202@127.0.0.1|200|OK|1795218473|bob|example.net|127.0.0.1|9002|9002|127.0.0.1|Pipe%7Cin%7CUA|premium`,
		"acc_cdrs": `1795218404|1795218404|0.000000|sip:alice@example.net|sip:2001@example.net|1-19675@127.0.0.1`,
	} {
		if fields, columns := strings.Count(line, "|"), strings.Count(columnsOf(p, table), ","); fields != columns {
			t.Errorf("%s: %d fields, %d columns", table, fields+1, columns+1)
		}
	}
	var b strings.Builder
	if err := p.WriteConfig(&b, "Europe/Vienna"); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "site.yaml"))
	if err != nil || b.String() != string(want) {
		t.Errorf("%v; the configuration is now\n%s", err, &b)
	}
}

func derive(cfg string, defines map[string]string, included map[string]string) (*profile.Profile, error) {
	return profile.FromKamailio(profile.Kamailio{Name: "k.cfg", Config: strings.NewReader(cfg), Defines: defines, Open: func(name string) (io.ReadCloser, error) {
		if text, ok := included[name]; ok {
			return io.NopCloser(strings.NewReader(text)), nil
		}
		return nil, errors.New("no such file")
	}})
}

func TestKamailio(t *testing.T) {
	base := "method,from_tag,to_tag,callid,sip_code,sip_reason,time"
	for _, c := range []struct {
		name, cfg string
		table     string
		want      string
	}{
		{"nothing set", "", "acc", base},
		{"no table for CDRs", `modparam("acc", "cdr_extra", "a=$var(a)")`, "acc_cdrs", ""},
		{"time mode 1", `modparam("acc", "time_mode", 1)`, "acc", base + ",time_attr,time_exten"},
		{"time mode 2, renamed", "modparam('acc', 'time_attr', 'stamp')\nmodparam('acc', 'time_mode', 2)", "missed_calls", base + ",stamp"},
		{"order of times, extra and legs", `modparam("acc", "multi_leg_info", "leg=$avp(l);") modparam("acc", "db_extra", "a=$si; b=$(ua{s.substr,0,5}) ;") modparam("acc", "time_mode", 3)`,
			"acc", base + ",time_attr,a,b,leg"},
		{"tables and columns renamed", `modparam("acc|dialog", "db_table_acc", "calls")` + "\n" + `modparam("acc", "acc_sip_code_column", "code")`, "calls", strings.Replace(base, "sip_code", "code", 1)},
		{"CDR columns", `modparam("acc", "cdrs_table", "cdrs") modparam("acc", "cdr_start_id", "s") modparam("acc", "cdr_end_id", "e") modparam("acc", "cdr_duration_id", "d")`, "cdrs", "s,e,d"},
		{"the last one counts", "modparam(\"acc\", \"db_extra\", \"a=$si\")\nmodparam(\"acc\", \"db_extra\", \"b=$si\")", "acc", base + ",b"},
		{"comments and strings", "# modparam(\"acc\", \"db_extra\", \"x=$si\")\n/* modparam(\"acc\",\n\"nonsense\", 1) */ // \"\nxlog(\"a # \\\" b\")\nmodparam(\"acc\", # why\n \"db_extra\",\n \"a=$si\")", "acc", base + ",a"},
		{"not in a route", "route { $var(x) = \"modparam(\"; if (1) { modparam(\"acc\", \"nonsense\", 1); } }", "acc", base},
		{"conditions", "#!define A\n#!ifdef A\n#!ifndef B\nmodparam(\"acc\", \"time_mode\", 2)\n#!else\nmodparam(\"acc\", \"nonsense\", 2)\n#!endif\n#!else\n#!subst \"/a/b/\"\n#!endif", "acc", base + ",time_attr"},
		{"definitions", "#!define EXTRA \"a=$si\"\n#!define E2 EXTRA\n#!trydef E2 \"b=$si\"\nmodparam(\"acc\", \"db_extra\", E2)", "acc", base + ",a"},
		{"given definition", "#!ifdef SITE\nmodparam(\"acc\", \"time_mode\", MODE)\n#!endif", "acc", base + ",time_attr"},
		{"included", "include_file \"more.cfg\"\nimport_file \"none.cfg\"\nmodparam(\"acc\", \"db_extra\", EXTRA)", "acc", base + ",inc"},
		{"other modules", "modparam(\"usrloc\", \"db_mode\", WHATEVER)\nmodparam(\"tm\", \"fr_timer\", -1)\nmodparam(\"acc\", \"log_flag\", -1)", "acc", base},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := derive(c.cfg, map[string]string{"SITE": "", "MODE": "3"}, map[string]string{"more.cfg": "#!define EXTRA \"inc=$si\"\n"})
			if err != nil {
				t.Fatal(err)
			}
			if got := columnsOf(p, c.table); got != c.want {
				t.Errorf("%s has %s, want %s", c.table, got, c.want)
			}
		})
	}
}

// TestNotUnderstood holds that what cannot be known is an error with its place,
// and no guess.
func TestNotUnderstood(t *testing.T) {
	for _, c := range []struct{ cfg, want string }{
		{"\nmodparam(\"acc\", \"db_extra\", EXTRA)", `k.cfg:2: "EXTRA" is not defined`},
		{"\n\nmodparam(\"acc\", \"new_column\", \"x\")", `k.cfg:3: parameter "new_column" of acc is "x"`},
		{"modparam(\"acc\", \"db_extra\", \"a\")", `k.cfg:1: parameter "db_extra" of acc is "a"`},
		{"modparam(\"acc\", \"db_extra\", \"a b=$si\")", `"a b=$si" is not like`},
		{"modparam(\"acc\", \"db_table_acc\", \"acc_$time(year)\")", "no name of a table"},
		{"modparam(\"acc\", \"time_mode\", 9)", "none of 0 to 4"},
		{"modparam(\"acc\", \"db_extra\", \"a=$si;a=$ci\")", `column "a"`},
		{"modparam(\"acc\", \"db_extra\", \"a=$si\" + \"b\")", "k.cfg:1: this parameter of acc is not understood"},
		{"modparamx(\"acc\", \"db_extra\", \"$var(x)\")", "k.cfg:1: this parameter of acc is not understood"},
		{"#!ifdef A", "k.cfg:1: a condition is not closed"},
		{"#!endif", "k.cfg:1: there is no condition"},
		{"  #!define A", "k.cfg:1: Kamailio takes"},
		{"#!ifexp A == 1\n#!endif", "k.cfg:1: conditions that are computed"},
		{"#!subst \"/a/b/g\"", "k.cfg:1: substitutions"},
		{"#!strange", "k.cfg:1: this line is not understood"},
		{"#!define A \\\n x", "k.cfg:1: this definition"},
		{"#!define A B\n#!define B A\nmodparam(\"acc\", \"db_extra\", A)", "is not defined"},
		{"include_file \"none.cfg\"", "k.cfg:1: no such file"},
		{"include_file \"loop.cfg\"", "include each other"},
		{"include_file \"bad.cfg\"", "bad.cfg:2: substitutions"},
		{"x = \"never closed", "a string is not closed"},
		{"/* never closed", "a comment is not closed"},
		{"}", "k.cfg:1: a brace"},
		{strings.Repeat("# padding\n", 1<<19), "larger than"},
	} {
		_, err := derive(c.cfg, nil, map[string]string{"loop.cfg": "include_file \"loop.cfg\"", "bad.cfg": "\n#!subst \"/a/b/\"\n"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80q: %v, want %q", c.cfg, err, c.want)
		}
	}
}

func FuzzKamailio(f *testing.F) {
	text, err := os.ReadFile("testdata/kamailio.cfg")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("modparam(\"acc\", \"db_extra\", A\n")
	f.Add("modparam")
	f.Add("modparam(-")
	f.Add("include_file")
	f.Fuzz(func(t *testing.T, cfg string) {
		if p, err := derive(cfg, nil, map[string]string{"a": cfg}); err == nil {
			if err := p.Validate(); err != nil {
				t.Error(err)
			}
		}
	})
}
