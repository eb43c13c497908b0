package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// repaired is what `repair --json` says of one place.
type repaired struct {
	damage
	Length     int64  `json:"length"`
	Do         string `json:"do"`
	Quarantine string `json:"quarantine"`
	Done       bool   `json:"done"`
}

// perSegment is how many rows each of the three segments of a backlog holds.
const perSegment = 20

// backlog leaves three sealed segments of rows which no sink has: the sink's
// database is locked while they are written. The tables exist in the sink.
func backlog(t *testing.T) (data string) {
	t.Helper()
	data = dataDir(t)
	s := start(t, data, options{config: configure(t, data, quick)})
	c := s.client()
	execute(t, c, "INSERT INTO calls (caller) VALUES ('needle-0001-needle')") // makes the table in the sink
	s.delivered(20 * time.Second)
	release := holdExclusive(t, data)
	for i := 2; i <= 3*perSegment; i++ {
		execute(t, c, fmt.Sprintf("INSERT INTO calls (caller) VALUES ('needle-%04d-needle')", i))
		if i%perSegment == 0 {
			seal(s, i/perSegment)
		}
	}
	s.stop()
	release()
	if n := len(segments(t, data, "main")); n != 3 {
		t.Fatalf("the backlog has %d segments, want 3", n)
	}
	return data
}

// quick stops at once, so that a backlog is left.
const quick = "tables: {auto: true}\ndrain: 100ms\n"

// seal closes the active segment, the n-th of the run.
func seal(s *server, n int) {
	s.t.Helper()
	s.signal(syscall.SIGUSR2)
	eventually(s.t, 10*time.Second, "the segment to be sealed", func() (bool, string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		have := strings.Count(strings.Join(s.log, "\n"), "the active segments are sealed")
		return have >= n, fmt.Sprintf("%d of %d", have, n)
	})
}

// overwrite puts zeros into a file.
func overwrite(t *testing.T, file string, at, n int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, n), at); err != nil {
		t.Fatal(err)
	}
}

// readRepairs decodes what repair prints with --json.
func readRepairs(t *testing.T, text string) (all []repaired) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var one repaired
		if err := d.Decode(&one); err != nil {
			t.Fatalf("read %q: %v", text, err)
		}
		all = append(all, one)
	}
	return all
}

// disasters are what can happen to the second of three segments, and the seqs
// that it costs: 0 where it is up to the test to see which.
var disasters = []struct {
	name string
	do   func(t *testing.T, data string)
	lost []uint64
}{
	{"row", func(t *testing.T, data string) { flip(t, data, "needle-0030-needle") }, []uint64{30}},
	{"two rows", func(t *testing.T, data string) {
		flip(t, data, "needle-0025-needle")
		flip(t, data, "needle-0041-needle")
	}, []uint64{25, 41}},
	{"block", func(t *testing.T, data string) {
		content, err := os.ReadFile(segments(t, data, "main")[1])
		if err != nil {
			t.Fatal(err)
		}
		at := strings.Index(string(content), "needle-0033-needle")
		overwrite(t, segments(t, data, "main")[1], int64(at)&^4095, 4096)
	}, []uint64{33}},
	{"header and footer", func(t *testing.T, data string) {
		file := segments(t, data, "main")[1]
		i, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		overwrite(t, file, 0, 8192)
		overwrite(t, file, i.Size()-4096, 4096)
	}, seqs(21, 40)},
	{"segment", func(t *testing.T, data string) { unlink(t, segments(t, data, "main")[1]) }, seqs(21, 40)},
	{"first segment", func(t *testing.T, data string) { unlink(t, segments(t, data, "main")[0]) }, seqs(2, 20)},
	{"MANIFEST", func(t *testing.T, data string) {
		overwrite(t, filepath.Join(data, "streams", "main", "MANIFEST"), 10, 8)
	}, nil},
}

func seqs(from, to uint64) (all []uint64) {
	for ; from <= to; from++ {
		all = append(all, from)
	}
	return all
}

func unlink(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// lostIn returns the seqs that a list names.
func lostIn(all []repaired) (lost []uint64) {
	for _, r := range all {
		if r.First != 0 {
			lost = append(lost, seqs(r.First, r.Last)...)
		}
	}
	return lost
}

// TestRepair damages a backlog, in each way, and holds that the sink halts
// there and says so, that the plan names exactly what is lost and changes
// nothing, and that after repair --apply on the running server the sink has
// every other row and nothing else.
func TestRepair(t *testing.T) {
	for _, d := range disasters {
		t.Run(d.name, func(t *testing.T) {
			data := backlog(t)
			d.do(t, data)
			r := holdfast(t, 3, "verify", "--json", "--data", data)
			found := readRepairs(t, r.stdout)
			if got := lostIn(found); !slices.Equal(got, d.lost) {
				t.Fatalf("verify names %v, want %v:\n%s", got, d.lost, r.stdout)
			}
			s := start(t, data, options{})
			if d.lost == nil { // the verify before has made the MANIFEST anew
				s.delivered(20 * time.Second)
				delivers(t, data, d.lost)
				holdfast(t, 0, "repair", "--data", data)
				return
			}
			s.halted("damage", fmt.Sprint(d.lost[0]))
			plan := readRepairs(t, holdfast(t, 3, "repair", "--json", "--http", s.http).stdout)
			if got := lostIn(plan); !slices.Equal(got, d.lost) {
				t.Fatalf("the plan gives up %v, want %v", got, d.lost)
			}
			s.halted("damage", fmt.Sprint(d.lost[0])) // and nothing has changed
			if _, err := os.Stat(filepath.Join(data, "streams", "main", "GAPS")); err == nil {
				t.Fatal("the plan made a gap")
			}
			done := readRepairs(t, holdfast(t, 0, "repair", "--apply", "--json", "--data", data).stdout)
			settled(t, data, done, d.lost)
			s.delivered(5 * time.Second) // at once, not after the pause of a halted sink
			s.logged(time.Second, "given up by repair", fmt.Sprintf(`"first":%d`, d.lost[0]))
			delivers(t, data, d.lost)
			again := holdfast(t, 0, "repair", "--apply", "--data", data)
			if !strings.Contains(again.stdout, "nothing to do") {
				t.Errorf("a second repair says %q", again.stdout)
			}
			// One in front of all rows goes with the last sink that passes it.
			if r := holdfast(t, 0, "verify", "--data", data); d.name != "first segment" && !strings.Contains(r.stdout, "gap") {
				t.Errorf("verify does not tell of the gap: %s", r.stdout)
			}
			s.stop()
		})
	}
}

// TestRepairOffline does the same without a server: the sink goes on at the
// next start.
func TestRepairOffline(t *testing.T) {
	for _, d := range disasters {
		if d.lost == nil {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			data := backlog(t)
			d.do(t, data)
			plan := readRepairs(t, holdfast(t, 3, "repair", "--json", "--data", data).stdout)
			if got := lostIn(plan); !slices.Equal(got, d.lost) {
				t.Fatalf("the plan gives up %v, want %v", got, d.lost)
			}
			done := readRepairs(t, holdfast(t, 0, "repair", "--apply", "--json", "--data", data).stdout)
			settled(t, data, done, d.lost)
			if r := holdfast(t, 0, "repair", "--data", data); !strings.Contains(r.stdout, "nothing to do") {
				t.Errorf("a second repair says %q", r.stdout)
			}
			s := start(t, data, options{})
			s.delivered(20 * time.Second)
			delivers(t, data, d.lost)
			execute(t, s.client(), "INSERT INTO calls (caller) VALUES ('behind the gap')")
			s.delivered(20 * time.Second)
		})
	}
}

// TestVerifyTakesTurns holds that a data directory whose server cannot be
// reached through its socket is refused, and says why.
func TestVerifyTakesTurns(t *testing.T) {
	s := start(t, dataDir(t), options{})
	unlink(t, filepath.Join(s.data, "admin.sock"))
	for _, verb := range []string{"verify", "repair"} {
		r := holdfast(t, 1, verb, "--data", s.data)
		if !strings.Contains(r.stderr, "in use by another process") {
			t.Errorf("%s says %q", verb, r.stderr)
		}
	}
}

// halted waits until a sink is halted, with each of texts in its last error.
func (s *server) halted(texts ...string) {
	s.t.Helper()
	eventually(s.t, 20*time.Second, fmt.Sprintf("a sink to halt at %q", texts), func() (bool, string) {
		st, err := s.status()
		if err != nil || len(st.Sinks) != 1 {
			return false, fmt.Sprint(err)
		}
		k := st.Sinks[0]
		ok := k.State == "halted"
		for _, text := range texts {
			ok = ok && strings.Contains(k.LastError, text)
		}
		return ok, fmt.Sprintf("it is %s at seq %d: %s", k.State, k.Seq, k.LastError)
	})
}

// settled checks what repair --apply has done: all of it, and the bytes of
// what was given up are kept.
func settled(t *testing.T, data string, done []repaired, lost []uint64) {
	t.Helper()
	if got := lostIn(done); !slices.Equal(got, lost) {
		t.Errorf("repair gave up %v, want %v", got, lost)
	}
	for _, r := range done {
		if !r.Done && r.Do != "leave" {
			t.Errorf("not done: %+v", r)
		}
		if r.Quarantine == "" {
			continue
		}
		i, err := os.Stat(filepath.Join(data, "streams", "main", r.Quarantine))
		if err != nil || i.Size() != r.Length || i.Mode().Perm() != 0o600 {
			t.Errorf("quarantined %d bytes: %v, %v", r.Length, i, err)
		}
	}
}

// delivers checks that the sink has each row of the backlog but the lost ones,
// once.
func delivers(t *testing.T, data string, lost []uint64) {
	t.Helper()
	var want [][]string
	for i := uint64(1); i <= 3*perSegment; i++ {
		if !slices.Contains(lost, i) {
			want = append(want, []string{fmt.Sprintf("needle-%04d-needle", i)})
		}
	}
	got := query(t, openSink(t, data), "SELECT caller FROM calls WHERE caller LIKE 'needle%' ORDER BY caller")
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the sink has %d rows, want %d: lost are %v\ngot %v", len(got), len(want), lost, got)
	}
}

// TestScrubber damages a row under a running server: the scrubber names it, in
// log, status and metrics, and what comes after is delivered as ever.
func TestScrubber(t *testing.T) {
	data := dataDir(t)
	s := start(t, data, options{config: configure(t, data, "tables: {auto: true}\nscrub: 1 GB/s\nscrub_pause: 1s\n")})
	c := s.client()
	for i := 1; i <= 50; i++ {
		execute(t, c, fmt.Sprintf("INSERT INTO calls (caller) VALUES ('needle-%04d-needle')", i))
	}
	s.delivered(20 * time.Second)
	seal(s, 1)
	_, offset := flip(t, data, "needle-0017-needle")
	s.logged(20*time.Second, "damage found", `"segment":1`, `"first":17`, `"last":17`)
	eventually(t, 10*time.Second, "status to tell of a round", func() (bool, string) {
		out := holdfast(t, 0, "status", "--data", data).stdout
		return strings.Contains(out, "last full round") && strings.Contains(out, "seq 17"), out
	})
	metrics := command(t, t.TempDir(), nil, "curl", "-s", s.url("/metrics")).stdout
	for _, want := range []string{`holdfast_stream_scrub_damage_total{stream="main"} 1`, `holdfast_stream_damaged_places{stream="main"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	found := readRepairs(t, holdfast(t, 3, "verify", "--json", "--data", data).stdout)
	if len(found) != 1 || found[0].Offset > int64(offset) || found[0].Offset+found[0].Length <= int64(offset) {
		t.Errorf("the byte changed is at %d, verify names %+v", offset, found)
	}
	execute(t, c, "INSERT INTO calls (caller) VALUES ('after the damage')")
	s.delivered(20 * time.Second)
}

// TestRepairExchangedFiles gives two segments' files each other's names: the plan
// says what to rename, --apply does it, and the sink has every row.
func TestRepairExchangedFiles(t *testing.T) {
	data := backlog(t)
	files := segments(t, data, "main")
	for _, move := range [][2]string{{files[0], files[0] + ".x"}, {files[1], files[0]}, {files[0] + ".x", files[1]}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, data, options{config: configure(t, data, quick)})
	first, second := filepath.Base(files[0]), filepath.Base(files[1])
	if r := holdfast(t, 3, "verify", "--data", data); !strings.Contains(r.stdout, "it is in the file "+second+", and has to be "+first) {
		t.Errorf("verify says %s", r.stdout)
	}
	want := "rename " + second + " to " + first + "; nothing is lost"
	if r := holdfast(t, 3, "repair", "--data", data); !strings.Contains(r.stdout, "to do: "+want) || strings.Contains(r.stdout, "gap") {
		t.Errorf("the plan is %s", r.stdout)
	}
	if r := holdfast(t, 0, "repair", "--apply", "--data", data); !strings.Contains(r.stdout, "done: "+want) || strings.Contains(r.stdout, "gap") {
		t.Errorf("repair says %s", r.stdout)
	}
	holdfast(t, 0, "verify", "--data", data)
	s.delivered(time.Minute)
	delivers(t, data, nil)
}
