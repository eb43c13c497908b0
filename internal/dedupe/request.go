package dedupe

import (
	"context"
	"crypto/sha256"
	"time"

	"holdfast/internal/fault"
)

// Requests says how long, and how many, answers to requests are remembered. The
// zero Requests remember none.
type Requests struct {
	Window time.Duration
	Keys   int
}

// Answer is what was stored with a request: its body, as a digest, and how many
// rows it had.
type Answer struct {
	Digest [sha256.Size]byte
	Rows   int
}

// request is the key of the request that a claim is for.
type request struct {
	key    Key
	answer Answer // of its rows, once they are handed over
}

// RequestKey returns the key of a request that its sender calls name.
func RequestKey(user, table, name string) Key {
	b := appendText([]byte("request "), user)
	sum := sha256.Sum256(appendText(appendText(b, table), name))
	return Key(sum[:16])
}

// Begin claims the key of a request, or returns the answer that it had; then
// its rows are flushed once those up to seq after are. Another one with the key
// that is under way is waited for, for a while.
func (g *Guard) Begin(ctx context.Context, k Key) (c *Claim, before *Answer, after uint64, err error) {
	if err := g.awaitReady(ctx); err != nil {
		return nil, nil, 0, err
	}
	for {
		g.mu.Lock()
		g.sweepLocked()
		now := g.now().UnixMicro()
		g.requests.forget(now)
		a, known := g.requests.get(k, now)
		other := g.claimed[k]
		full := g.requests.size >= g.requests.max
		if !known && other == nil && !full {
			c = &Claim{request: &request{key: k}, at: now}
			g.claimed[k] = c
		}
		after = g.unflushed
		g.mu.Unlock()
		switch {
		case known:
			return nil, &a, after, nil
		case c != nil:
			return c, nil, 0, nil
		case other == nil:
			return nil, nil, 0, fault.New(fault.ConfigurationLimit, "%d keys of requests are remembered, as many as there is room for", g.requests.max).
				WithHint("nothing was stored; send more rows in one request, or raise http.idempotency.keys")
		}
		if err := g.await(ctx, other); err != nil {
			return nil, nil, 0, err
		}
	}
}

// Answered says what the request of c is answered, once its rows are stored.
func (c *Claim) Answered(a Answer) { c.request.answer = a }

// RequestKey returns the key of the request that c is for.
func (c *Claim) RequestKey() Key { return c.request.key }

// RememberRequest notes a request that was found stored, with its time of
// receipt.
func (g *Guard) RememberRequest(k Key, a Answer, at int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now().UnixMicro()
	if at = min(at, now); at > now-g.requests.window.Microseconds() {
		g.requests.put(k, at, now, a)
	}
}

// RequestsKnown returns how many requests are remembered.
func (g *Guard) RequestsKnown() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sweepLocked()
	g.requests.forget(g.now().UnixMicro())
	return g.requests.size
}
