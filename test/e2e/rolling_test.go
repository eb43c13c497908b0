package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestRollStatus has a roll that a hold stands in the way of told by status, on
// the console's topic of the same, in the metrics, and over a restart.
func TestRollStatus(t *testing.T) {
	data := dataDir(t)
	config := configure(t, data, rollingStreams)
	s := start(t, data, options{config: config})
	family(t, s, 1, 25)
	type rolling struct {
		PinnedBy  string `json:"pinned_by"`
		Watermark *int64
		Link      string
		Tiers     []struct {
			Tier       string
			Bytes      int64
			LimitBytes int64 `json:"limit_bytes"`
		}
		LastRoll *struct {
			Rule     string
			By       string
			Roll     uint64
			Segments int
		} `json:"last_roll"`
		LastTry *struct {
			InTheWay []string `json:"in_the_way"`
		} `json:"last_try"`
	}
	now := func() map[string]rolling {
		var st struct {
			Streams []struct {
				Name    string
				Rolling *rolling
			}
		}
		if err := json.Unmarshal([]byte(holdfast(t, 0, "status", "--config", config, "--json").stdout), &st); err != nil {
			t.Fatal(err)
		}
		all := map[string]rolling{}
		for _, one := range st.Streams {
			if one.Rolling != nil {
				all[one.Name] = *one.Rolling
			}
		}
		return all
	}
	if r := now()["packet"]; r.Watermark != nil || r.LastRoll != nil || len(r.Tiers) != 1 || r.Tiers[0].Tier != "hot" || r.Tiers[0].LimitBytes != 32<<20 {
		t.Errorf("before a roll: %+v", r)
	}
	if _, told := now()["rejects"]; told {
		t.Error("rejects are told to roll")
	}
	holdfast(t, 0, "roll", "size", "--config", config, "--max-size", "5MB", "--apply")
	r := now()["packet"]
	if r.Watermark == nil || *r.Watermark < 2 || r.Link != "session_id" || r.LastRoll == nil || r.LastRoll.Roll != 1 || r.LastRoll.Segments < 1 ||
		!strings.Contains(r.LastRoll.Rule, "sizeRoll maxSize=5MB") || r.LastTry == nil || len(r.LastTry.InTheWay) != 0 {
		t.Errorf("after a roll: %+v", r)
	}
	holdfast(t, 0, "hold", "add", "case-7", "--config", config)
	if r := holdfast(t, 1, "roll", "size", "--config", config, "--max-size", "1MB", "--apply"); !strings.Contains(r.stdout, "a hold keeps") {
		t.Errorf("a roll of what is held says %s %s", r.stdout, r.stderr)
	}
	eventually(t, time.Minute, "status to tell of the hold", func() (bool, string) {
		out := holdfast(t, 0, "status", "--config", config).stdout
		return strings.Contains(out, "hold case-7") && strings.Contains(out, "in the way of a roll of packet") && strings.Contains(out, "last roll of packet"), out
	})
	metrics := s.metrics()
	for _, want := range []string{
		`holdfast_stream_pinned{reason="held",stream="packet",who="case-7"} 1`, `holdfast_stream_watermark{link="session_id",stream="packet"} `,
		`holdfast_stream_tier_limit_bytes{stream="packet",tier="hot"} 3.3554432e+07`, `holdfast_stream_oldest_row_time_seconds{stream="packet"} 1.`,
		`holdfast_stream_last_roll_time_seconds{stream="packet"} 1.`, `holdfast_stream_roll_in_the_way{stream="packet"} `,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	s.stop()
	s = start(t, data, options{config: config})
	if r := now()["packet"]; r.LastRoll == nil || r.LastRoll.Roll != 1 || r.LastRoll.Segments < 1 {
		t.Errorf("after a restart: %+v", r)
	}
	s.stop()
	s = start(t, data, options{config: configure(t, data, strings.Replace(rollingStreams, "hot: \"DATA/packet=32 MB\"", "hot: \"DATA/packet=32 MB\", cold: \"DATA/cold=1 GB\"", 1))})
	told, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics = s.metrics()
	for _, name := range regexp.MustCompile(`\bholdfast_stream_[a-z_]+`).FindAllString(string(told), -1) {
		if !strings.Contains(metrics, name+"{") {
			t.Errorf("docs/operations.md names %s, which is not there", name)
		}
	}
	s.stop()
}

// metrics returns what /metrics says.
func (s *server) metrics() string {
	s.t.Helper()
	a, err := http.Get(s.url("/metrics"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// rolls returns the rows of SHOW ROLLS, by column.
func (s *server) rolls() (rows []map[string]string) {
	s.t.Helper()
	c, err := pgconn.Connect(s.t.Context(), "postgres://test@"+s.pg+"/holdfast?sslmode=disable")
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close(context.Background())
	r, err := c.Exec(s.t.Context(), "SHOW ROLLS").ReadAll()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, values := range r[0].Rows {
		one := map[string]string{}
		for i, f := range r[0].FieldDescriptions {
			one[f.Name] = string(values[i])
		}
		rows = append(rows, one)
	}
	return rows
}
