package e2e

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const callsFamily = `{"name": "calls", "settle": 1, "tables": [{"type": 1, "name": "calls", "date": "at", "id_order": true}]}`

// closingServer has a family in the file that its own sink writes to.
const closingServer = `
data: DATA
tables: {auto: true}
sinks: {billing: {type: sqlite, path: "FILE"}}
families:
  calls: {profile: "JSON", url: "sqlite:FILE", backup: {command: "CHECK good"}SIZE}
SCHEDULE`

// familyStatus is what status --json tells of a family.
type familyStatus struct {
	State     string
	Archive   int64     `json:"archive_id"`
	Next      time.Time `json:"next"`
	LastError string    `json:"last_error"`
	Closings  int
	Failures  int
}

func (s *server) family() (f familyStatus, all string) {
	r, err := http.Get(s.url("/v1/status"))
	if err != nil {
		return f, err.Error()
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	var st struct{ Families []familyStatus }
	if err == nil {
		err = json.Unmarshal(text, &st)
	}
	if err != nil || len(st.Families) != 1 {
		return f, fmt.Sprint(err, string(text))
	}
	return st.Families[0], fmt.Sprintf("%+v", st.Families[0])
}

// TestClosings has a server close a family whose table its own sink fills: by
// size, then a time of its schedule that passed while no server ran, which is
// made up for once, and only with a backup.
func TestClosings(t *testing.T) {
	data, dir := dataDir(t), t.TempDir()
	file, family, check := filepath.Join(dir, "billing.db"), filepath.Join(dir, "calls.json"), filepath.Join(dir, "check")
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(family, callsFamily, 0o600)
	write(check, "#!/bin/sh\necho the dump is $1\ntest -e "+dir+"/dump\n", 0o700)
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE calls (id INTEGER PRIMARY KEY AUTOINCREMENT, at integer)"); err != nil {
		t.Fatal(err)
	}
	config := func(size, schedule string) options {
		text := strings.NewReplacer("FILE", file, "JSON", family, "CHECK", check, "SIZE", size, "SCHEDULE", schedule).Replace(closingServer)
		return options{config: configure(t, data, text)}
	}
	s := start(t, data, config(", max_rows: 20, check: 1s", ""))
	put := func(rows int, at time.Time) {
		t.Helper()
		lines := strings.Repeat(fmt.Sprintf("{\"at\": %d}\n", at.Unix()), rows)
		r, err := http.Post(s.url("/v1/tables/calls/rows"), "application/x-ndjson", strings.NewReader(lines))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode/100 != 2 {
			t.Fatal(r.Status)
		}
		s.delivered(time.Minute)
	}
	put(19, time.Now().Add(-10*time.Second))
	put(5, time.Now().Add(-10*time.Second))
	eventually(t, time.Minute, "a failure", func() (bool, string) {
		f, all := s.family()
		return f.State == "failing" && strings.Contains(f.LastError, "the dump is good"), all
	})
	write(filepath.Join(dir, "dump"), "", 0o600)
	eventually(t, time.Minute, "a closing by size", func() (bool, string) {
		f, all := s.family()
		return f.State == "waiting" && f.Archive == 1 && f.Closings == 1, all
	})
	s.logged(time.Minute, "archived", "table calls has 20 rows or more")
	if out := holdfast(t, 0, "status", "--data", data).stdout; !strings.Contains(out, "FAMILY") {
		t.Errorf("status says nothing:\n%s", out)
	}
	count := func(query string) (n int) {
		t.Helper()
		if err := db.QueryRow(query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n, all := count("SELECT count(*) FROM calls"), count("SELECT count(*) FROM calls_all"); n != 0 || all != 24 {
		t.Errorf("%d rows are current, of %d", n, all)
	}
	r, err := http.Get(s.url("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(r.Body)
	r.Body.Close()
	if !strings.Contains(string(text), `holdfast_archive_closings_total{family="calls"} 1`) {
		t.Error("the metrics do not count the closing")
	}
	s.stop()

	// A schedule that is new has missed nothing; one that passed has.
	yearly := "schedule: [{cron: \"0 0 1 1 *\", run: \"archive run calls\"}]\n"
	s = start(t, data, config("", yearly))
	late := time.Now()
	put(3, late)
	if f, all := s.family(); f.Archive != 0 || f.State != "waiting" || f.Next.Before(time.Now()) {
		t.Errorf("got %s", all)
	}
	s.stop()
	eventually(t, time.Minute, "rows that can be closed", func() (bool, string) { return time.Since(late) > 3*time.Second, "" })
	write(filepath.Join(data, "closings.json"), `{"calls": "2020-05-05T00:00:00Z"}`, 0o600)
	s = start(t, data, config("", yearly))
	eventually(t, time.Minute, "the closing that was missed", func() (bool, string) {
		f, all := s.family()
		return f.Archive == 2 && f.Next.After(time.Now()), all
	})
	s.stop()
	s = start(t, data, config("", yearly))
	if f, all := s.family(); f.Next.Before(time.Now()) {
		t.Errorf("it is made up for twice: %s", all)
	}
	s.stop()
	holdfast(t, 0, "archive", "verify", "--url", "sqlite:"+file, "--profile", family)
	if n := count("SELECT count(*) FROM calls_all"); n != 27 {
		t.Errorf("%d rows, want 27", n)
	}
}
