package config

import (
	"strings"
	"testing"
)

// TestMcacheSink holds what a sink of message caches may have, and that no two
// fill the same one.
func TestMcacheSink(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{a: {type: mcache, url: "mcache:/var/c", mode: "0640", tables: [xdas]}}`, ""},
		{`{a: {type: mcache}}`, `mcache:/var/lib/xdasd/cache`},
		{`{a: {type: mcache, url: "flatstore:/var/c"}}`, "is not one of a mcache sink"},
		{`{a: {type: mcache, url: "mcache:/var/c", writer: 3}}`, `"writer" is not for a sink of type "mcache"`},
		{`{a: {type: mcache, url: "mcache:/var/c"}, b: {type: mcache, url: "mcache:/var/c/"}}`, "where sink"},
	} {
		_, err := Parse("test.yaml", []byte("sinks: "+c.text+"\n"))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.text, err, c.want)
		}
	}
}
