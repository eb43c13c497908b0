package clients

import (
	"path/filepath"
	"testing"
)

// python is Debian's, which Debian's packages are for.
const python = "/usr/bin/python3"

// psycopgClients are both generations of psycopg.
func psycopgClients() []client {
	packages := "/usr/lib/python3/dist-packages/"
	three := func(t *testing.T, table string, p place) seen {
		return script(t, p, python, here(t, "testdata/psycopg3_client.py"), p.params(), table)
	}
	knownThree := map[string]string{"RETURNING": noReturning, "SELECT": noReading, "str into i4 as %b": textTaken, "str into d as %b": textTaken}
	return []client{
		{
			name: "psycopg2", needs: has(python, packages+"psycopg2"), ddl: zoo("psycopg2"), tables: []string{"psycopg2"},
			run: func(t *testing.T, p place) seen {
				return script(t, p, python, here(t, "testdata/psycopg2_client.py"), p.params())
			},
			known: map[string]string{"RETURNING": noReturning, "SELECT": noReading},
		},
		{
			name: "psycopg 3", needs: has(python, packages+"psycopg"), ddl: zoo("psycopg3"), tables: []string{"psycopg3"},
			run:   func(t *testing.T, p place) seen { return three(t, "psycopg3", p) },
			known: knownThree,
		},
		{
			name: "psycopg 3, TLS", needs: has(python, packages+"psycopg"), ddl: zoo("psycopg3_tls"), tables: []string{"psycopg3_tls"}, secure: true,
			run:      func(t *testing.T, p place) seen { return three(t, "psycopg3_tls", p) },
			known:    knownThree,
			settings: "`sslmode=verify-full channel_binding=require`",
		},
	}
}

// here returns the absolute path of a file of this package: programs run
// elsewhere.
func here(t *testing.T, file string) string {
	t.Helper()
	abs, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
