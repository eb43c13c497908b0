package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
)

// door sends a message and returns the answer, or what it is refused with.
type door func(r *rollScript, node, name, params string) (met bool, refused string)

// byVerb is the verb roll.
func byVerb(r *rollScript, node, name, params string) (met bool, refused string) {
	r.t.Helper()
	args := []string{"roll", strings.TrimSuffix(name, "Roll"), "--node", node, "--config", r.config(), "--apply", "--json"}
	flags := map[string]string{"maxSize": "--max-size", "maxPercent": "--max-percent", "minFree": "--min-free", "maxSizeWarm": "--max-size-warm"}
	for _, word := range strings.Fields(params) {
		key, value, isPair := strings.Cut(word, "=")
		switch {
		case !isPair:
			args[len(args)-1] += " " + word
			continue
		case flags[key] != "":
			key = flags[key]
		default:
			key = "--" + key
		}
		if key == "--by" && (value == "file" || value == "row") {
			value += "-time"
		}
		args = append(args, key, value)
	}
	out := command(r.t, r.dir, nil, program, args...)
	var a struct{ Met bool }
	if err := json.Unmarshal([]byte(out.stdout), &a); err != nil {
		if out.code == 0 {
			r.t.Fatalf("%s: exit code 0: %s %v", r.line, out.stdout, err)
		}
		return false, out.stderr
	}
	if (out.code == 0) != a.Met {
		r.t.Errorf("%s: exit code %d, met %t", r.line, out.code, a.Met)
	}
	return a.Met, ""
}

// bySocket is POST /v1/roll at the admin socket.
func bySocket(r *rollScript, node, name, params string) (met bool, refused string) {
	r.t.Helper()
	order, err := json.Marshal(map[string]any{"pathname": node, "msg": name, "params": params, "by": "test", "apply": true})
	if err != nil {
		r.t.Fatal(err)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(r.dir, "data", "admin.sock"))
	}}}
	got, err := c.Post("http://localhost/v1/roll", "application/json", bytes.NewReader(order))
	if err != nil {
		r.t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if got.StatusCode != http.StatusOK {
		var f struct{ Error struct{ Message string } }
		if json.Unmarshal(text, &f) == nil && f.Error.Message != "" {
			return false, f.Error.Message
		}
		return false, string(text)
	}
	var a struct{ Met bool }
	if err := json.Unmarshal(text, &a); err != nil {
		r.t.Fatal(err)
	}
	return a.Met, ""
}
