package flatlog

import (
	"regexp"
	"slices"
	"strings"
)

// names tells what files are by what they are called.
type names struct{ live, rotated *regexp.Regexp }

// newNames returns those of files <table>_<n><suffix>. A table's name may hold
// what looks like a number: missed_calls_2_129.log is of table missed_calls_2.
func newNames(suffix string) names {
	s := regexp.QuoteMeta(suffix)
	return names{
		live:    regexp.MustCompile(`^(.+)_(\d+)` + s + `$`),
		rotated: regexp.MustCompile(`^(.+)_(\d+)(?:` + s + `[.~_-].+|-\d[\dTZ:-]*` + s + `)$`),
	}
}

// packed are endings of files that hold something else than lines, or that
// somebody is still making.
var packed = []string{".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip", ".tmp", ".swp", "~"}

// of returns the table and the writer that a file's name says, and whether it
// is what a writer opens, or what a rotation has made of that. ok is false for
// names that say nothing.
func (n names) of(name string) (table, writer string, live, ok bool) {
	if m := n.live.FindStringSubmatch(name); m != nil {
		return m[1], m[2], true, true
	}
	if slices.ContainsFunc(packed, func(end string) bool { return strings.HasSuffix(name, end) }) {
		return "", "", false, false
	}
	if m := n.rotated.FindStringSubmatch(name); m != nil {
		return m[1], m[2], false, true
	}
	return "", "", false, false
}
