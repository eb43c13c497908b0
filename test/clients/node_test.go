package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// nodeClients are node-postgres. Debian's node comes with Debian's node-pg; a
// node from elsewhere cannot have that beside it, but brings npm, which fetches
// what testdata/node/package-lock.json names into dir.
func nodeClients(dir string) []client {
	const debian = "/usr/share/nodejs"
	packaged := has("node", debian+"/pg")() == ""
	needs := has("node", "npm")
	if packaged {
		needs = has("node")
	}
	install := sync.OnceValues(func() ([]byte, error) {
		for _, name := range []string{"client.js", "package.json", "package-lock.json"} {
			text, err := os.ReadFile(filepath.Join("testdata/node", name))
			if err != nil {
				return nil, err
			}
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				return nil, err
			}
		}
		if packaged {
			return nil, nil
		}
		npm := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")
		npm.Dir = dir
		return npm.CombinedOutput()
	})
	return []client{{
		name: "node-postgres", needs: needs, ddl: zoo("node"), tables: []string{"node"},
		known: map[string]string{"RETURNING": noReturning, "SELECT": noReading},
		run: func(t *testing.T, p place) seen {
			if out, err := install(); err != nil {
				t.Fatalf("npm ci: %v\n%s", err, out)
			}
			return script(t, p, "env", "NODE_PATH="+debian, "node", filepath.Join(dir, "client.js"), p.host, p.port, p.user, database)
		},
	}}
}
