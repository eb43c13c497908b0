package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rollingStreams are three linked streams, as the manual has them.
const rollingStreams = `
data: DATA
tables: {auto: true}
streams:
  session: {tables: [session], link: session_id, hot: "DATA/session=32 MB"}
  meta: {tables: [meta], link: session_id, parent: session, hot: "DATA/meta=32 MB"}
  packet: {tables: [packet], link: session_id, parent: session, hot: "DATA/packet=32 MB"}
roll: {undo: 1h}
`

// family stores sessions from one id to another in three tables; every fifth
// ends the segments.
func family(t *testing.T, s *server, from, to int) {
	t.Helper()
	for id := from; id <= to; id++ {
		for _, table := range []string{"session", "meta", "packet"} {
			body := fmt.Sprintf(`{"session_id": %d, "what": %q}`, id, strings.Repeat("x", 100<<10))
			r, err := http.Post(s.url("/v1/tables/"+table+"/rows"), "application/x-ndjson", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			if r.StatusCode/100 != 2 {
				t.Fatalf("session %d: %s", id, r.Status)
			}
		}
		if id%5 == 0 {
			holdfast(t, 0, "rotate", "--data", s.data)
			s.delivered(time.Minute)
		}
	}
}

// linksIn returns a column of all rows of a stream.
func linksIn(t *testing.T, config, stream, column string) (all []string) {
	t.Helper()
	r := command(t, t.TempDir(), nil, program, "cat", "--config", config, "--stream", stream, "--json")
	if r.code != 0 {
		t.Fatalf("cat: exit code %d: %s", r.code, r.stderr)
	}
	for line := range strings.Lines(r.stdout) {
		var one struct {
			Columns []string  `json:"columns"`
			Values  []*string `json:"values"`
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		for i, c := range one.Columns {
			if c == column {
				all = append(all, *one.Values[i])
			}
		}
	}
	return all
}

// oldestLink returns the oldest id that is there in all three streams, "" where
// they do not agree.
func oldestLink(t *testing.T, config string) string {
	t.Helper()
	first := ""
	for i, stream := range []string{"session", "meta", "packet"} {
		all := linksIn(t, config, stream, "session_id")
		if len(all) == 0 || i > 0 && all[0] != first {
			return ""
		}
		first = all[0]
	}
	return first
}

// TestRollVerbs plans, rolls, holds and undoes with the binary, and reads the
// ledger; a start in between changes nothing.
func TestRollVerbs(t *testing.T) {
	data := dataDir(t)
	o := options{config: configure(t, data, rollingStreams)}
	s := start(t, data, o)
	family(t, s, 1, 30)
	size := []string{"roll", "size", "--config", o.config, "--type", "session,meta,packet", "--max-size", "6MB"}
	apply := append(append([]string{}, size...), "--apply")

	if out := holdfast(t, 0, size...).stdout; !strings.Contains(out, "step: remove") || !strings.Contains(out, "nothing was done") || oldestLink(t, o.config) != "1" {
		t.Fatalf("the plan alone, with %q as the oldest:\n%s", oldestLink(t, o.config), out)
	}
	holdfast(t, 2, "roll", "size", "--config", o.config, "--max-size", "85%")
	holdfast(t, 2, "roll", "size", "--config", o.config)
	holdfast(t, 1, "roll", "undo", "--config", o.config)
	holdfast(t, 0, "hold", "add", "case-7", "--config", o.config, "--link", "3-4", "--note", "letter")
	holdfast(t, 1, "hold", "add", "case-7", "--config", o.config)
	if out := holdfast(t, 0, "hold", "list", "--config", o.config, "--json").stdout; !strings.Contains(out, `"case-7"`) || !strings.Contains(out, "letter") {
		t.Errorf("the holds are listed as:\n%s", out)
	}
	if out := holdfast(t, 0, apply...).stdout; !strings.Contains(out, "done: roll 1") {
		t.Fatalf("with a hold:\n%s", out)
	}
	if all := linksIn(t, o.config, "packet", "session_id"); len(all) == 0 || len(all) > 25 {
		t.Fatalf("packets of %v are left", all)
	}
	held := func() bool {
		_, err := os.Stat(filepath.Join(data, "packet", "0000000000000001.seg"))
		return err == nil
	}
	if !held() {
		t.Error("a held segment is gone")
	}
	s.stop()
	s = start(t, data, o)
	holdfast(t, 0, "hold", "remove", "case-7", "--config", o.config)
	if out := holdfast(t, 0, "roll", "undo", "--config", o.config).stdout; !strings.Contains(out, "roll 1 is undone") || oldestLink(t, o.config) != "1" {
		t.Fatalf("undone, with %q as the oldest:\n%s", oldestLink(t, o.config), out)
	}
	holdfast(t, 0, apply...)
	if held() || oldestLink(t, o.config) == "1" || oldestLink(t, o.config) == "" {
		t.Errorf("without a hold %q is the oldest", oldestLink(t, o.config))
	}
	holdfast(t, 0, "roll", "time", "--config", o.config, "--days", "1", "--apply")
	s.stop() // the ledger is written then
	whats, bys := linksIn(t, o.config, "ledger", "what"), linksIn(t, o.config, "ledger", "by")
	count := map[string]int{}
	for i, what := range whats {
		count[what]++
		if bys[i] == "" {
			t.Errorf("entry %d of the ledger, %q, does not tell by whom", i, what)
		}
	}
	if count["roll"] != 2 || count["undo of roll 1"] != 1 || count["to the trash"] < 6 {
		t.Errorf("the ledger tells of %v", count)
	}
}

// TestScheduledRoll has the manual's line act by itself, each second here.
func TestScheduledRoll(t *testing.T) {
	data := dataDir(t)
	line := `
schedule:
  - 'pathname=/index seconds=1 msg=sizeRoll params="type=meta,session,packet maxSize=6MB"'
`
	o := options{config: configure(t, data, rollingStreams+line)}
	s := start(t, data, o)
	family(t, s, 1, 40)
	eventually(t, time.Minute, "the schedule to roll", func() (bool, string) {
		at := oldestLink(t, o.config)
		return at != "" && at != "1", "the oldest is " + at
	})
	s.logged(time.Minute, "rolled", "sizeRoll")
	s.stop()
	if by := linksIn(t, o.config, "ledger", "by"); len(by) == 0 || by[0] != "schedule" {
		t.Errorf("the ledger tells of %v", by)
	}
}

// TestMaxAge has a stream give up what is old, by itself, and another one not.
// It takes more than a minute, because ages are looked at each minute.
func TestMaxAge(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED: takes more than a minute; HOLDFAST_LONG=1 runs it")
	}
	data := dataDir(t)
	o := options{config: configure(t, data, strings.Replace(rollingStreams, "{tables: [packet],", "{tables: [packet], max_age: 5s,", 1))}
	s := start(t, data, o)
	family(t, s, 1, 20)
	eventually(t, 3*time.Minute, "the age to be looked at", func() (bool, string) {
		all := linksIn(t, o.config, "packet", "session_id")
		return len(all) < 20 && len(all) > 0, fmt.Sprint(all)
	})
	if all := linksIn(t, o.config, "session", "session_id"); len(all) != 20 {
		t.Errorf("sessions %v are left, and they may be of any age", all)
	}
	s.stop()
}
