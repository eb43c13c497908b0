package flatlog

import (
	"os"
	"strings"
	"testing"

	"holdfast/internal/fault"
	"holdfast/row"
)

// accColumns are the columns of the Kamailio whose lines these are.
var accColumns = map[string][]string{
	"acc":          strings.Fields("method from_tag to_tag callid sip_code sip_reason time src_user src_domain src_ip dst_ouser dst_user dst_domain ua tag"),
	"missed_calls": strings.Fields("method from_tag to_tag callid sip_code sip_reason time src_user src_domain src_ip dst_ouser dst_user dst_domain ua tag"),
}

// real is a line as Kamailio wrote it, with another user agent and tag.
func real(agent, tag string) string {
	return "INVITE|24202SIPpTag0026|23617SIPpTag0126|26-24202@127.0.0.1|200|OK|1795218473|bob|example.net|127.0.0.1|9002|9002|127.0.0.1|" + agent + "|" + tag
}

// TestKamailioFailures feeds in what a real Kamailio left when it was broken in
// each of the ways of its failure tests: nothing is lost and nothing is guessed.
// A step is one look at what was appended since. What is not here: 8, files that
// are links to /dev/full, in TestStrangeFiles; 9 and 11, in TestDirectoryAway; 10,
// a torn end whose writer is gone, in TestFinished; 12, in TestTableOfTheDay; 13, in
// the end-to-end TestKamailioDoors.
func TestKamailioFailures(t *testing.T) {
	folded := []string{real("evil\r", "")[:len(real("evil\r", ""))-1], " INVITE%7Cforged%7C1%7C2%7C|premium"}
	for _, c := range []struct {
		name   string
		decode bool
		steps  []string // appended to acc_129.log; a step "mv" rotates, "restart" kills
		rows   []string // without the table
		bad    []string // raw lines
	}{
		{"2. idle workers go on in renamed files", false,
			[]string{real("a", "") + "\n", "mv", "old:" + real("b", "") + "\n", real("c", "") + "\n", "restart", "old:" + real("d", "") + "\n"},
			[]string{real("a", ""), real("b", ""), real("c", ""), real("d", "")}, nil},
		{"1. rows come one at a time", false,
			[]string{real("a", "") + "\n", real("b", "") + "\n", "restart", real("c", "") + "\n"}, []string{real("a", ""), real("b", ""), real("c", "")}, nil},
		{"2. files of all tables are made again, and stay empty", false,
			[]string{"", real("a", "") + "\n", "mv", "", "restart", "", real("b", "") + "\n"}, []string{real("a", ""), real("b", "")}, nil},
		{"3. a folded header makes two lines of one row", false,
			[]string{real("x", "") + "\n" + folded[0] + "\n", folded[1] + "\n" + real("y", "") + "\n"},
			[]string{real("x", ""), real("y", "")}, folded},
		{"3. a forged row in a folded header, where bars are not encoded", false,
			[]string{real("evil|tag\r", "")[:len(real("evil|tag\r", ""))-1] + "\n" + " " + real("forged", "premium") + "\n"},
			nil, []string{real("evil|tag\r", "")[:len(real("evil|tag\r", ""))-1], " " + real("forged", "premium")}},
		{"3. a forged row that needs no blank", false,
			[]string{real("evil", "tag\r") + "\n" + real("forged", "premium") + "\n" + real("good", "") + "\n"},
			[]string{real("good", "")}, []string{real("evil", "tag\r"), real("forged", "premium")}},
		{"3. the same over a restart", false,
			[]string{real("evil", "tag\r") + "\n", "restart", real("forged", "premium") + "\n" + real("good", "") + "\n"},
			[]string{real("good", "")}, []string{real("evil", "tag\r"), real("forged", "premium")}},
		{"4. a percent sign stays what it is", false,
			[]string{real("Percent%7C and %7C literal", "") + "\n"}, []string{real("Percent%7C and %7C literal", "")}, nil},
		{"4. decode: kamailio makes bars of all of them", true,
			[]string{real("Percent%7C and %7C literal%7c", "") + "\n"}, []string{real("Percent| and | literal%7c", "")}, nil},
		{"5. encode_delimiter=0", false,
			[]string{real("Pipe|in|UA", "premium") + "\n" + real("z", "") + "\n"}, []string{real("z", "")}, []string{real("Pipe|in|UA", "premium")}},
		{"6. field_delimiter=;", true,
			[]string{real("Pipe|in;UA", "premium") + "\n" + real("semi;colon", "") + "\n"}, []string{real("semi;colon", "")}, []string{real("Pipe|in;UA", "premium")}},
		{"7. freed memory instead of NULL", false,
			[]string{real("a", "\x80\xa7\x02\x90") + "\n" + real("b", "\x00\x00") + "\n" + real("c", "premium") + "\n"},
			[]string{real("c", "premium")}, []string{real("a", "\x80\xa7\x02\x90"), real("b", "\x00\x00")}},
		{"7. another call's value instead of NULL looks like any other, and is stored", false,
			[]string{real("a", "premium") + "\n" + real("b", "premium") + "\n"}, []string{real("a", "premium"), real("b", "premium")}, nil},
		{"8. a row that was cut by a full disk, and the next one behind it", false,
			[]string{real("a", "") + "\n" + real("b", "")[:60], "restart", real("c", "") + "\n" + real("d", "") + "\n"},
			[]string{real("a", ""), real("d", "")}, []string{real("b", "")[:60] + real("c", "")}},
		{"10. flush=0: torn, and whole later", false,
			[]string{real("a", "") + "\nBYE|9644SIPpTag0039|23617SIPpTag01172|39", "restart", strings.TrimPrefix(real("-39", ""), "INVITE|24202SIPpTag0026|23617SIPpTag0126|26-24202") + "\n"},
			[]string{real("a", ""), "BYE|9644SIPpTag0039|23617SIPpTag01172|39" + strings.TrimPrefix(real("-39", ""), "INVITE|24202SIPpTag0026|23617SIPpTag0126|26-24202")}, nil},
		{"10. flush=0: the rest was lost with the process, and the next one goes on behind it", false,
			[]string{real("a", "") + "\nBYE|9644SIPpTag0039|23617SIPpTag01172|39", real("b", "") + "\n" + real("c", "") + "\n"},
			[]string{real("a", ""), real("c", "")}, []string{"BYE|9644SIPpTag0039|23617SIPpTag01172|39" + real("b", "")}},
		{"an empty line, and one of bars", false, []string{"\n||||||||||||||\n"}, []string{"||||||||||||||"}, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, Options{Columns: accColumns, Decode: c.decode})
			b.round()
			for _, step := range c.steps {
				switch old, found := strings.CutPrefix(step, "old:"); {
				case step == "mv":
					b.rename("acc_129.log", "acc_129.log.1")
				case step == "restart":
					b.state = b.state.Kill()
					b.restart()
				case found:
					b.add("acc_129.log.1", old)
				default:
					b.add("acc_129.log", step)
				}
				b.round()
			}
			var rows, bad []string
			for _, one := range b.store.rows {
				rows = append(rows, strings.TrimPrefix(one, "acc|"))
			}
			for _, one := range b.store.bad {
				if bad = append(bad, string(one.Raw)); one.Why == "" || one.Table != "acc" || !strings.Contains(one.File, "acc_129.log") {
					t.Errorf("set aside as %+v", one)
				}
			}
			if strings.Join(rows, "\n") != strings.Join(c.rows, "\n") {
				t.Errorf("stored are\n%q\nwant\n%q", rows, c.rows)
			}
			if strings.Join(bad, "\n") != strings.Join(c.bad, "\n") {
				t.Errorf("set aside are\n%q\nwant\n%q", bad, c.bad)
			}
			if p := b.f.Status().Pending; p != 0 {
				t.Errorf("%d bytes are left", p)
			}
		})
	}
}

// TestDirectoryAway is failure test 9 and 11: the directory is moved away, is
// missing, and comes back; and a store that is not there meanwhile.
func TestDirectoryAway(t *testing.T) {
	b := newBench(t, Options{Dir: t.TempDir() + "/acc"})
	if err := b.f.round(t.Context()); err == nil {
		t.Error("a directory that is missing is followed")
	}
	mkdir := func() {
		t.Helper()
		if err := os.Mkdir(b.o.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mkdir()
	b.round()
	b.add("acc_1.log", "1||\n")
	b.round()
	if err := os.Rename(b.o.Dir, b.o.Dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := b.f.round(t.Context()); err == nil || !strings.Contains(err.Error(), b.o.Dir) {
		t.Errorf("round: %v", err)
	}
	b.restart()
	mkdir() // empty, as a mount point without its volume is
	b.add("acc_2.log", "2||\n")
	b.round()
	if err := os.RemoveAll(b.o.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(b.o.Dir+".away", b.o.Dir); err != nil {
		t.Fatal(err)
	}
	b.add("acc_1.log", "3||\n")
	b.store.before = func() error { return fault.New(fault.DiskFull, "no room") }
	if err := b.f.round(t.Context()); fault.Code(err) != fault.DiskFull {
		t.Errorf("round: %v", err)
	}
	b.store.before = nil
	b.restart()
	b.round()
	b.want("acc|1||", "acc|2||", "acc|3||")
}

// TestTableOfTheDay is failure test 12: tables whose name holds the time, each
// with files of its own, routed to streams of their own.
func TestTableOfTheDay(t *testing.T) {
	b := newBench(t, Options{
		Columns: map[string][]string{"acc_01": {"a"}, "acc_02": {"a"}, "other": {"a"}},
		Stream:  func(table string) string { return table[:1] },
	})
	b.store.refuse = func(table string, values []row.Value) error { return nil }
	b.add("acc_01_129.log", "1\n")
	b.add("acc_02_129.log", "2\n")
	b.add("other_129.log", "3\n")
	b.round()
	if len(b.store.rows) != 3 || b.store.commits != 3 {
		t.Errorf("%d rows in %d commits, want 3 in 2, behind the first", len(b.store.rows), b.store.commits)
	}
}

// TestParse holds what is a row, byte by byte.
func TestParse(t *testing.T) {
	for line, why := range map[string]string{
		"a|b|c": "", "||": "", "ü|☎|\x01": "", "a|b": "2 fields, not 3", "a|b|c|d": "4 fields, not 3", "": "1 fields",
		"a|\x00|c": "NUL", "a|\xff|c": "UTF-8", "a|b|c\r": "carriage return", "a|\r|c": "carriage return", " a|b|c": "blank", "\ta|b|c": "blank",
	} {
		values, got := parse(nil, []byte(line), 3, false)
		if (why == "") != (got == "") || !strings.Contains(got, why) || why == "" && len(values) != 3 {
			t.Errorf("%q: %q, %v, want %q", line, got, values, why)
		}
	}
	if _, why := parse(nil, []byte("a|b|c"), 3, true); why == "" {
		t.Error("the rest of a folded header is a row")
	}
}
