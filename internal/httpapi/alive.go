package httpapi

import (
	"context"
	"net/http"
	"time"

	"holdfast/internal/fault"
)

// answerTime is how long a server may take to answer what needs no work. One that
// is stopped, or has no descriptor left for a connection, lets clients connect and
// never answers.
const answerTime = 15 * time.Second

// Alive returns nil where the server answers, and else, after a while, why not.
func (c *Client) Alive(ctx context.Context) error {
	return c.soon(ctx, func(ctx context.Context) error {
		r, err := c.do(ctx, http.MethodGet, "/ping", "", nil)
		if err != nil {
			return err
		}
		return r.Body.Close()
	})
}

// soon makes a request that takes no work, and gives it up after a while.
func (c *Client) soon(ctx context.Context, ask func(context.Context) error) error {
	most, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	err := ask(most)
	if err == nil || ctx.Err() != nil || most.Err() == nil {
		return err
	}
	return fault.New(fault.ConnectionFailure, "the server does not answer: it lets clients connect, and said nothing for %s", c.patience).Because(err).
		WithHint("it may be stopped (kill -CONT), out of file descriptors, or short of memory or of disk: its log, and holdfast doctor, tell more")
}
