package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// twoStreams writes a configuration of two linked streams and returns its file.
func twoStreams(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "holdfast.yaml")
	text := fmt.Sprintf("data: %q\nstreams:\n  a: {tables: [a], link: id}\n  b: {tables: [b], link: id, parent: a}\n", filepath.Join(dir, "data"))
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestRollTypesAddUp holds that no --type is forgotten where it is given twice:
// what is counted and rolled must be what was asked for.
func TestRollTypesAddUp(t *testing.T) {
	config := twoStreams(t)
	for _, test := range []struct{ args, want string }{
		{"roll size --type a --type b --max-size 1TB", "rule: /database sizeRoll type=a,b maxSize=1TB\n"},
		{"roll size --type a,b --max-size 1TB", "rule: /database sizeRoll type=a,b maxSize=1TB\n"},
		{"roll time --type b --days 7", "rule: /database timeRoll type=b days=7\n"},
	} {
		r := runWith(&Env{Context: t.Context(), Getenv: lookup(nil), Offline: offline}, append(strings.Fields(test.args), "--config", config)...)
		if r.code != exitDone || !strings.HasPrefix(r.out, test.want) {
			t.Errorf("%q: %+v, want %q", test.args, r, test.want)
		}
	}
	r := run(t, "", nil, "roll", "size", "--type", "", "--max-size", "1TB")
	if r.code != exitUsage || !strings.Contains(r.errors, "is not a list of streams") {
		t.Errorf("an empty --type: %+v", r)
	}
}

// TestHoldTimes holds that a day given as the end of a hold is held to its end,
// as manifest search takes it, and what hold says of one that is on everything.
func TestHoldTimes(t *testing.T) {
	config := twoStreams(t)
	for _, test := range []struct{ args, want string }{
		{"hold add day --from 2026-01-31 --to 2026-01-31", "hold day is in force\n"},
		{"hold add second --to 2026-01-31T12:00:00Z", "hold second is in force\n"},
		{"hold add link --link 4711", "hold link is in force\n"},
		{"hold add all", "hold all is in force, on all rows of all streams: nothing can leave until it is removed\n"},
		{"hold add both --stream a,b", "hold both is in force, on all rows of a, b: none of them can leave until it is removed\n"},
		{"hold list --json", `"from":"2026-01-31T00:00:00Z","to":"2026-01-31T23:59:59.999999Z"}`},
		{"hold list --json", `"to":"2026-01-31T12:00:00.999999Z"}`},
		{"hold list --json", `"links":[4711,4711]}`},
	} {
		r := runWith(&Env{Context: t.Context(), Getenv: lookup(nil), Offline: offline}, append(strings.Fields(test.args), "--config", config)...)
		if r.code != exitDone || r.out != test.want && !(strings.HasSuffix(test.want, "}") && strings.Contains(r.out, test.want)) {
			t.Errorf("%q: %+v, want %q", test.args, r, test.want)
		}
	}
}

// TestRangeUsage holds what is refused of ranges and limits before anybody is
// asked, with the value as it was given.
func TestRangeUsage(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"hold add x --from 2026-02-01 --to 2026-01-01", `--from "2026-02-01" is later than --to "2026-01-01"`},
		{"hold add x --to bogus", `--to "bogus" is no time`},
		{"hold add x --link abc", `--link "abc" is no range`},
		{"hold add x --seq 5-1", `--seq "5-1" is no range`},
		{"hold add x --family f --archive 0", `--archive 0 is no archive's number`},
		{"hold add x --family f --archive -1", `--archive -1 is no archive's number`},
		{"manifest search --time 2026-02-30", `--time "2026-02-30" is no time`},
		{"manifest search --link abc", `--link "abc" is no range`},
		{"manifest search --limit -3", `--limit -3 is below 0`},
		{"cat --limit -1", `--limit -1 is below 0`},
		{"cat --from 99999999999999999999", `invalid argument "99999999999999999999" for "--from": value out of range`},
		{"cat --from x", `invalid argument "x" for "--from": invalid syntax`},
		{"archive run --profile utm5 --url sqlite:x --backup y --no-backup", `--backup "y" and --no-backup contradict each other`},
	} {
		r := run(t, "", nil, strings.Fields(test.args)...)
		if r.code != exitUsage || !strings.Contains(r.errors, test.want) || !strings.Contains(r.errors, "\nhint: ") || r.out != "" {
			t.Errorf("%q: %+v, want %q", test.args, r, test.want)
		}
	}
}
