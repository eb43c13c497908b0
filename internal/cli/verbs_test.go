package cli

import (
	"strings"
	"testing"
)

// TestSinkUsage holds what verbs about sinks and rejects refuse before they ask
// anybody.
func TestSinkUsage(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"sink pause", `"holdfast sink pause" takes 1 name, not 0`},
		{"sink pause a b", `"holdfast sink pause" takes 1 name, not 2`},
		{"sink rename a", `"holdfast sink rename" takes 2 names, not 1`},
		{"sink seek a x", `"x" is not a seq`},
		{"sink drain a --timeout -1s", `--timeout "-1s" is no time to wait`},
		{"sink remove a", `unknown verb "remove"`},
		{"rotate a b", `"holdfast rotate" takes one sink's or source's name, not 2`},
		{"rejects show", `"holdfast rejects show" takes the number of a reject`},
		{"rejects show x", `"x" is not the number of a reject`},
		{"rejects show 1 2", `argument "2" is not taken`},
		{"rejects edit 1", `nothing is to be changed`},
		{"rejects edit 1 a", `"a" is not a column and its value`},
		{"rejects edit 1 a=1 --null a", `column "a" is changed twice`},
		{"rejects retry", `"holdfast rejects retry" does not say which rejects are meant`},
		{"rejects retry 1 --all", `--all and a choice contradict each other`},
		{"rejects discard", `"holdfast rejects discard" does not say which rejects are meant`},
		{"rejects list --limit -1", `--limit "-1" is out of range`},
		{"rejects list 7", `argument "7" is not taken`},
	} {
		r := run(t, "", nil, strings.Fields(test.args)...)
		if r.code != exitUsage || !strings.Contains(r.errors, test.want) || !strings.Contains(r.errors, "\nhint: ") || r.out != "" {
			t.Errorf("%q: %d %q %q, want %q", test.args, r.code, r.errors, r.out, test.want)
		}
	}
}

// TestOrdersNeedAnOperator holds that a database which takes no orders says so.
func TestOrdersNeedAnOperator(t *testing.T) {
	dir := server(t, &memory{})
	for _, args := range []string{"sink pause a", "sink drain a", "rotate", "rejects list", "rejects show 1", "rejects retry --all", "rejects discard 1 --apply"} {
		r := run(t, "", nil, append(strings.Fields(args), "--data", dir)...)
		if r.code != exitFailed || !strings.Contains(r.errors, "this server ") {
			t.Errorf("%q: %d %q %q", args, r.code, r.errors, r.out)
		}
	}
	if r := run(t, "", nil, "sink", "list", "--data", dir); r.code != exitDone || !strings.Contains(r.out, "default  main    sqlite  waiting") || !strings.Contains(r.out, "sink default is waiting: database is locked") {
		t.Errorf("list: %+v", r)
	}
	if r := run(t, "", nil, "sink", "list", "--json", "--data", dir); r.code != exitDone || strings.Count(r.out, "\n") != 1 || !strings.Contains(r.out, `"lag_rows":41`) {
		t.Errorf("list --json: %+v", r)
	}
}
