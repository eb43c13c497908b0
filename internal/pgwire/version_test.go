package pgwire

import "testing"

// TestTableVersion holds that Kamailio's question is answered for tables of the
// profile, and that no other table has a version.
func TestTableVersion(t *testing.T) {
	_, addr := startServer(t, newMemStore(true), func(o *Options) {
		o.TableVersion = func(table string) (int, bool) { return 5, table == "acc" }
	})
	c := connect(t, addr)
	for table, want := range map[string]string{
		"acc":    "columns table_version 23; row 5; SELECT 1; ready I",
		"domain": "columns table_version 23; SELECT 0; ready I",
	} {
		if got := c.query("select table_version from version where table_name='" + table + "'"); got != want {
			t.Errorf("version of %q: %q, want %q", table, got, want)
		}
	}
}
