package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// post stores rows of acc, with seconds from one number to another.
func post(t *testing.T, s *server, from, to int) {
	t.Helper()
	var body strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&body, "{\"src_ip\": \"192.0.2.%d\", \"seconds\": %d}\n", i%10, i)
	}
	r, err := http.Post(s.url("/v1/tables/acc/rows"), "application/x-ndjson", strings.NewReader(body.String()))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode/100 != 2 {
		t.Fatal(r.Status)
	}
}

// secondsIn returns the last column of lines of words.
func secondsIn(lines string) (all []string) {
	for line := range strings.Lines(lines) {
		_, value, _ := strings.Cut(strings.TrimSpace(line), "seconds=")
		all = append(all, value)
	}
	return all
}

// TestTailWhere takes the same conditions as cat, with the same errors: the last
// rows that match, and with -f each new one, with an index and without a server.
func TestTailWhere(t *testing.T) {
	data := dataDir(t)
	config := configure(t, data, strings.ReplaceAll(indexedStream, "DATA", data))
	o := options{config: config}
	s := start(t, data, o)
	post(t, s, 1, 100)
	s.stop() // which seals the segment
	s = start(t, data, o)
	post(t, s, 101, 120)
	eventually(t, time.Minute, "a slice", func() (bool, string) {
		r := holdfast(t, 0, "status", "--config", config)
		return strings.Contains(r.stdout, "index of main: 1 slice"), r.stdout
	})
	ask := func(code int, verb, where string, more ...string) result {
		t.Helper()
		return holdfast(t, code, append([]string{verb, "--config", config, "--table", "acc", "--where", where}, more...)...)
	}
	check := func(when string) {
		t.Helper()
		for _, c := range []struct {
			where, n string
			want     []string
		}{
			{`src_ip == "192.0.2.3"`, "3", []string{"93", "103", "113"}},
			{`src_ip == "192.0.2.3" and seconds < 50`, "2", []string{"33", "43"}},
			{`seconds > 118`, "10", []string{"119", "120"}},
			{`seconds > 1000`, "10", nil},
			{`seconds > 5`, "0", nil},
		} {
			if r := ask(0, "tail", c.where, "-n", c.n); fmt.Sprint(secondsIn(r.stdout)) != fmt.Sprint(c.want) || r.stderr != "" {
				t.Errorf("%s: tail -n %s of %s: %q, %q; want %v", when, c.n, c.where, r.stdout, r.stderr, c.want)
			}
		}
		if r := ask(0, "tail", `seconds > 115`, "-n", "2", "--explain"); !strings.Contains(r.stderr, "1 segment opened, 1 skipped") {
			t.Errorf("%s: --explain tells %q", when, r.stderr)
		}
		if r := ask(0, "tail", `seconds > 115`, "-n", "1", "--explain", "--json"); !strings.Contains(r.stdout, "\n{\"explained\":{\"opened\":1,\"skipped\":1,") {
			t.Errorf("%s: --explain --json tells %q", when, r.stdout)
		}
		for where, code := range map[string]int{`scr_ip == "x"`: 1, `src_ip == 5`: 1, `src_ip = "x"`: 1, `src_ip matches "("`: 1, `"src_ip" == "x"`: 1, "": 2, strings.Repeat("a", 5000): 1} {
			cat := ask(code, "cat", where)
			for _, n := range []string{"10", "0"} {
				if tail := ask(code, "tail", where, "-n", n); tail.stderr != cat.stderr || !strings.Contains(tail.stderr, "hint: ") || tail.stdout != "" {
					t.Errorf("%s: %.50q: tail -n %s says %q, cat %q", when, where, n, tail.stderr, cat.stderr)
				}
			}
		}
		holdfast(t, 2, "tail", "--config", config, "--where", "true")
		holdfast(t, 2, "tail", "--config", config, "--since", "yesterday")
	}
	check("with a server")
	if r := ask(1, "tail", "nope == 1", "-f"); !strings.Contains(r.stderr, `column "nope"`) {
		t.Errorf("tail -f of a column that is not there: %q", r.stderr)
	}
	s.stop()
	check("without one")
	follow(t, start(t, data, o), config)
}

// follow holds that -f goes on with rows that match, and with those alone.
func follow(t *testing.T, s *server, config string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "tail", "-f", "-n", "1", "--config", config, "--table", "acc", "--where", `src_ip == "192.0.2.3"`)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(out)
	for _, want := range []string{"113", "503", "513"} {
		if !lines.Scan() || !strings.HasSuffix(lines.Text(), "seconds="+want) {
			t.Fatalf("tail -f gives %q, want seconds=%s", lines.Text(), want)
		}
		if want == "113" {
			post(t, s, 500, 515)
		}
	}
}
