package dialect

import "testing"

// TestRetitled writes definitions anew under another name: words in texts,
// comments and names of columns are none.
func TestRetitled(t *testing.T) {
	names := map[string]string{"calls": "calls_1"}
	for text, want := range map[string]string{
		"CREATE TABLE legs(id INTEGER, c REFERENCES calls(id))":                                           `CREATE TABLE "x"(id INTEGER, c REFERENCES "calls_1"(id))`,
		`CREATE TABLE "le""gs" (a DEFAULT 'REFERENCES calls', b REFERENCES [Calls] (id))`:                 `CREATE TABLE "x" (a DEFAULT 'REFERENCES calls', b REFERENCES "calls_1" (id))`,
		"CREATE TABLE /* TABLE */ t -- REFERENCES calls\n(a references\n`calls`, calls REFERENCES other)": "CREATE TABLE /* TABLE */ \"x\" -- REFERENCES calls\n(a references\n\"calls_1\", calls REFERENCES other)",
		`CREATE TABLE t (a DEFAULT 'it''s', "REFERENCES" integer, calls integer)`:                         `CREATE TABLE "x" (a DEFAULT 'it''s', "REFERENCES" integer, calls integer)`,
		`CREATE TABLE t (a DEFAULT 'open`:                                                                 `CREATE TABLE "x" (a DEFAULT 'open`,
	} {
		if got := (&lite{}).retitled(text, "x", names); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", text, got, want)
		}
	}
}
