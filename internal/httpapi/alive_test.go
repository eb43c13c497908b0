package httpapi

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/fault"
)

// TestAlive asks a server that lets clients connect, and never answers, as one
// that is stopped: who asks is told so after a while. One that is asked to end
// does, at once.
func TestAlive(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, ask := range map[string]func(context.Context, *Client) error{
		"ping":   func(ctx context.Context, c *Client) error { return c.Alive(ctx) },
		"status": func(ctx context.Context, c *Client) error { _, err := c.Status(ctx); return err },
	} {
		c := NewUnix(socket)
		c.patience = 50 * time.Millisecond
		err := ask(t.Context(), c)
		if fault.Code(err) != fault.ConnectionFailure || !strings.Contains(err.Error(), "does not answer") {
			t.Errorf("%s: it says %v", name, err)
		}
		c.patience = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := ask(ctx, c); err == nil || fault.Code(err) == fault.ConnectionFailure {
			t.Errorf("%s: asked to end, it says %v", name, err)
		}
		cancel()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
