package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestMillionRows copies a million rows in with psql, watches the lag go to
// zero, and measures the most memory that the server ever had.
func TestMillionRows(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	need(t, "psql")
	const rows = 1_000_000
	file := filepath.Join(t.TempDir(), "rows.tsv")
	writeRows(t, file, rows)
	s := start(t, dataDir(t), options{})

	begun := time.Now()
	r := s.psql(t, "-v", "ON_ERROR_STOP=1",
		"-c", "CREATE TABLE calls (id bigint, caller text, callee text, seconds int)",
		"-c", fmt.Sprintf(`\copy calls (id, caller, callee, seconds) FROM '%s'`, file))
	if r.code != 0 {
		t.Fatalf("psql: exit code %d: %s", r.code, r.stderr)
	}
	copied := time.Since(begun)
	most := uint64(0)
	eventually(t, 3*time.Minute, "status --json to show no lag", func() (bool, string) {
		var st status
		if err := json.Unmarshal([]byte(holdfast(t, 0, "status", "--json", "--data", s.data).stdout), &st); err != nil {
			return false, err.Error()
		}
		most = max(most, st.lag())
		return st.end("main") == rows && len(st.Sinks) == 1 && st.lag() == 0, fmt.Sprintf("seq %d, lag %d", st.end("main"), st.lag())
	})
	arrived := time.Since(begun)
	peak := s.memory("VmHWM")
	t.Logf("%d rows: acknowledged after %v (%.0f rows/s), in the sink after %v (%.0f rows/s); highest lag seen %d rows; peak resident %.1f MiB",
		rows, copied.Round(time.Millisecond), rows/copied.Seconds(), arrived.Round(time.Millisecond), rows/arrived.Seconds(), most, float64(peak)/(1<<20))
	if peak >= 64<<20 {
		t.Errorf("the peak is %.1f MiB, it must stay under 64", float64(peak)/(1<<20))
	}
	s.stop()
	db := openSink(t, s.data)
	got := query(t, db, "SELECT count(*), count(DISTINCT id), min(id), max(id), sum(seconds) FROM calls")[0]
	want := []string{"1000000", "1000000", "1", "1000000", fmt.Sprint(sumSeconds(rows))}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("count, distinct, min, max, sum are %v, want %v", got, want)
			break
		}
	}
	if n := count(t, db, "calls WHERE rowid <> id"); n != 0 {
		t.Errorf("%d rows are out of order", n)
	}
}

// seconds is the last column of row i.
func seconds(i int) int { return i * 7 % 3600 }

func sumSeconds(rows int) (sum int) {
	for i := 1; i <= rows; i++ {
		sum += seconds(i)
	}
	return sum
}

// writeRows writes a file in PostgreSQL's COPY text format.
func writeRows(t *testing.T, file string, rows int) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := 1; i <= rows; i++ {
		fmt.Fprintf(w, "%d\tsip:caller%d@example.net\tsip:callee%d@example.org\t%d\n", i, i%9973, i%7919, seconds(i))
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
