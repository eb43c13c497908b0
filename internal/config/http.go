package config

import (
	"fmt"
	"time"
)

// Web is how the HTTP door takes rows.
type Web struct {
	MaxBody     Size        `yaml:"max_body" doc:"Bytes that the rows of one request may have, unpacked."`
	Idempotency Idempotency `yaml:"idempotency" doc:"How long a request with an Idempotency-Key is known again."`
}

// Idempotency says how long a request that names itself is known again.
type Idempotency struct {
	Window Days `yaml:"window" doc:"How long after it was stored a request with the same key gets the same answer, and stores nothing."`
	Keys   int  `yaml:"keys" doc:"Keys that are remembered at most in each stream, for about 100 bytes each; with more, requests with a new key are refused."`
}

// defaultWeb takes as much as a transaction does. Producers try again for
// minutes, and who was away for a day looks first.
var defaultWeb = Web{MaxBody: 1 << 30, Idempotency: Idempotency{Window: Days(24 * time.Hour), Keys: 100_000}}

func (c *Config) judgeWeb(add report) {
	if c.HTTP.MaxBody < 1 {
		add("http.max_body", "like \"64 MB\"", "max_body %q lets no row in", c.HTTP.MaxBody.String())
	}
	if i := c.HTTP.Idempotency; i.Keys < 1000 || i.Keys > mostKeys {
		add("http.idempotency.keys", fmt.Sprintf("from 1000 to %d", mostKeys), "keys %q is out of range", fmt.Sprint(i.Keys))
	} else if i.Window > longestWindow {
		add("http.idempotency.window", "from 1s to 168h", "window %q is too long", i.Window.String())
	}
}
