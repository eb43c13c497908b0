package clients

import (
	"fmt"
	"net/url"
	"os/exec"
	"sync"
	"testing"
)

// jdbcJar is the driver, where Debian puts it.
const jdbcJar = "/usr/share/java/postgresql.jar"

// jdbcClients are JDBC as it comes, and with batches rewritten to one INSERT of
// many rows.
func jdbcClients(dir string) (all []client) {
	compile := sync.OnceValues(func() ([]byte, error) {
		return exec.Command("javac", "-J-XX:TieredStopAtLevel=1", "-cp", jdbcJar, "-d", dir, "testdata/JdbcClient.java").CombinedOutput()
	})
	for _, c := range []struct{ name, table, option string }{
		{"JDBC", "jdbc", ""}, {"JDBC, batches rewritten", "jdbc_rewritten", "&reWriteBatchedInserts=true"},
	} {
		one := client{
			name: c.name, needs: has("java", "javac", jdbcJar), ddl: zoo(c.table), tables: []string{c.table},
			known: map[string]string{
				"generated keys": noReturning, "SELECT": noReading, "String into d": textTaken,
				"DatabaseMetaData": "0A000: the catalogue is asked of the database behind",
			},
			run: func(t *testing.T, p place) seen {
				if out, err := compile(); err != nil {
					t.Fatalf("javac: %v\n%s", err, out)
				}
				at := fmt.Sprintf("jdbc:postgresql://%s:%s/%s?sslmode=disable%s", p.host, p.port, url.PathEscape(database), c.option)
				return script(t, p, "java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", dir+":"+jdbcJar, "JdbcClient", at, c.table, p.user, p.password)
			},
		}
		if c.option != "" {
			one.settings = "`reWriteBatchedInserts=true`"
		}
		all = append(all, one)
	}
	return all
}
